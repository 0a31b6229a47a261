#include "kernels/shape_rules.h"

#include <algorithm>

namespace heddle {

void refuse(ErrorCode code, const std::string& text) { throw Error(code, text); }
void refuse_shape(const std::string& text) { throw Error(ErrorCode::shape_mismatch, text); }
void refuse_dtype(const std::string& text) { throw Error(ErrorCode::dtype_mismatch, text); }
void refuse_argument(const std::string& text) { throw Error(ErrorCode::invalid_argument, text); }

const ValueType& operand(const InferCall& call, size_t i) {
  if (i >= call.inputs.size() || call.inputs[i] == nullptr) {
    refuse_argument("operand " + std::to_string(i) + " is missing; it is not optional");
  }
  return *call.inputs[i];
}

Dims broadcast_dims(const Dims& a, const Dims& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<Dim> dims(static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const int at_a = i - (rank - a.rank()), at_b = i - (rank - b.rank());
    Dim& d = dims[static_cast<size_t>(i)];
    if (at_a < 0) {
      d = b[at_b];
    } else if (at_b < 0 || b[at_b] == Dim(1) || a[at_a] == b[at_b]) {
      d = a[at_a];
    } else if (a[at_a] == Dim(1)) {
      d = b[at_b];
    } else {
      refuse_shape(to_string(a) + " and " + to_string(b) + " do not broadcast: " + to_string(a[at_a]) +
                   " and " + to_string(b[at_b]) + " (axis " + std::to_string(i - rank) +
                   ") are neither equal nor 1");
    }
  }
  return Dims(std::move(dims));
}

bool broadcasts_to(const Dims& from, const Dims& to) {
  const int lead = to.rank() - from.rank();
  if (lead < 0) return false;
  for (int i = 0; i < from.rank(); ++i)
    if (from[i] != Dim(1) && from[i] != to[lead + i]) return false;
  return true;
}

void expect_same_dtype(const char* name_a, const ValueType& a, const char* name_b, const ValueType& b) {
  if (a.dtype != b.dtype) {
    refuse_dtype(std::string(name_a) + " is " + dtype_name(a.dtype) + " but " + name_b + " is " +
                 dtype_name(b.dtype) + "; use convert");
  }
}

void expect_float(const char* name, const ValueType& type) {
  if (!is_float(type.dtype)) {
    refuse_dtype(std::string(name) + " is " + dtype_name(type.dtype) +
                 ", but must be a float dtype; use convert");
  }
}

void expect_integer(const char* name, const ValueType& type) {
  if (!is_integer(type.dtype)) {
    refuse_dtype(std::string(name) + " is " + dtype_name(type.dtype) +
                 ", but must be an integer dtype; use convert");
  }
}

void expect_rank_at_least(const char* name, const ValueType& type, int rank) {
  if (type.dims.rank() < rank) {
    refuse_shape(std::string(name) + " is " + to_string(type.dims) + ", but needs rank " +
                 std::to_string(rank) + " or more");
  }
}

void expect_dims(const char* name, const ValueType& type, const Dims& dims) {
  if (type.dims != dims) {
    refuse_shape(std::string(name) + " is " + to_string(type.dims) + ", but must be " + to_string(dims));
  }
}

int normalise_axis(int64_t axis, int rank) {
  const int64_t positive = axis < 0 ? axis + rank : axis;
  if (positive < 0 || positive >= rank) {
    refuse_argument("axis " + std::to_string(axis) + " is outside rank " + std::to_string(rank));
  }
  return static_cast<int>(positive);
}

std::vector<int64_t> normalise_axes(std::span<const int64_t> axes, int rank) {
  std::vector<int64_t> result;
  for (const int64_t axis : axes) result.push_back(normalise_axis(axis, rank));
  std::sort(result.begin(), result.end());
  if (const auto twice = std::adjacent_find(result.begin(), result.end()); twice != result.end()) {
    refuse_argument("axis " + std::to_string(*twice) + " is given twice");
  }
  return result;
}

int checked_axis(const Attributes& attributes, const char* name, int rank) {
  const int64_t axis = attributes.get<int64_t>(name);
  if (axis < 0 || axis >= rank) {
    refuse_argument(std::string(name) + " " + std::to_string(axis) + " is outside rank " +
                    std::to_string(rank));
  }
  return static_cast<int>(axis);
}

Dims reduced_dims(const Dims& dims, std::span<const int64_t> axes, bool keepdims) {
  Dims result;
  for (int i = 0; i < dims.rank(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end())
      result.push_back(dims[i]);
    else if (keepdims)
      result.push_back(1);
  }
  return result;
}

Dims without_axis(const Dims& dims, int axis) {
  Dims result = dims;
  result.erase(axis);
  return result;
}

std::vector<int64_t> broadcast_axes(const Dims& from, const Dims& to) {
  std::vector<int64_t> axes;
  const int lead = to.rank() - from.rank();
  for (int i = 0; i < to.rank(); ++i)
    if (i < lead || from[i - lead] != to[i]) axes.push_back(i);
  return axes;
}

double elements_of(const ValueType& type) {
  double n = 1;
  for (const Dim& d : type.dims) n *= static_cast<double>(d.number());
  return n;
}

Cost streaming_cost(const CostCall& call, double flops) {
  const auto bytes = [](const ValueType& t) {
    return elements_of(t) * static_cast<double>(size_of(t.dtype));
  };
  Cost cost{flops, 0};
  for (const ValueType* t : call.inputs)
    if (t != nullptr) cost.bytes += bytes(*t);
  for (const ValueType& t : call.outputs) cost.bytes += bytes(t);
  return cost;
}

}  // namespace heddle
