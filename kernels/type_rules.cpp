#include "kernels/type_rules.h"

namespace heddle {
namespace {

std::string got(const ValueType& type) { return ", but got " + to_string(type); }

}  // namespace

void expect_dtype(const char* name, const ValueType& type, DType wanted, const char* why) {
  if (type.dtype != wanted) {
    refuse_dtype(std::string(name) + " must be " + dtype_name(wanted) + " (" + why + ")" + got(type) +
                 "; use convert");
  }
}

void expect_rank(const char* name, const ValueType& type, int rank) {
  if (type.dims.rank() != rank) {
    refuse_shape(std::string(name) + " must have rank " + std::to_string(rank) + got(type));
  }
}

void expect_dims(const char* name, const ValueType& type, const Dims& wanted, const char* why) {
  if (type.dims != wanted) {
    refuse_shape(std::string(name) + " must have shape " + to_string(wanted) + " (" + why + ")" + got(type));
  }
}

void expect_broadcast(const char* name, const ValueType& type, const Dims& to, const char* why) {
  if (!broadcasts_to(type.dims, to)) {
    refuse_shape(std::string(name) + " must broadcast to " + to_string(to) + " (" + why + ")" + got(type));
  }
}

bool positions_before_heads(const Attributes& attributes) {
  const std::string& layout = attributes.get<std::string>("layout");
  if (layout != "bhsd" && layout != "bshd") {
    refuse_argument("layout must be \"bhsd\" or \"bshd\", but got \"" + layout + "\"");
  }
  return layout == "bshd";
}

int64_t axis_from_front(const char* op, int64_t axis, Value x) {
  const int rank = x.rank();
  if (axis < -rank || axis >= rank) {
    refuse_argument(std::string(op) + ": axis " + std::to_string(axis) + " is outside a value of shape " +
                    to_string(x.dims()));
  }
  return axis < 0 ? axis + rank : axis;
}

Dims without_last(const Dims& dims) { return without_axis(dims, dims.rank() - 1); }

Dims with_last(const Dims& dims, const Dim& last) {
  Dims changed = dims;
  changed[dims.rank() - 1] = last;
  return changed;
}

}  // namespace heddle
