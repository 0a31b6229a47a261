#include "conformance/bound.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <span>

namespace heddle::conformance {
namespace {

// The distance of two neighbours below the normal range.
double smallest_subnormal(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return std::numeric_limits<double>::denorm_min();
    case DType::bfloat16:
      return 0x1p-133;
    case DType::float16:
      return 0x1p-24;
    case DType::float8_e4m3:
      return 0x1p-9;
    case DType::float8_e5m2:
      return 0x1p-16;
    default:
      return std::numeric_limits<float>::denorm_min();
  }
}

double largest(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return std::numeric_limits<double>::max();
    case DType::bfloat16:
      return 0x1.fep127;
    case DType::float16:
      return 65504;
    case DType::float8_e4m3:
      return 448;
    case DType::float8_e5m2:
      return 57344;
    default:
      return std::numeric_limits<float>::max();
  }
}

std::string index_text(const Shape& shape, int64_t flat) {
  std::string text;
  for (int axis = shape.rank(); axis-- > 0;) {
    text = std::to_string(flat % shape[axis]) + (text.empty() ? "" : ",") + text;
    flat /= shape[axis];
  }
  return "[" + text + "]";
}

template <class... Args>
std::string format(const char* pattern, Args... args) {
  char text[128];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}

// Exact for every dtype, where a double might round.
std::string element_text(const Tensor& t, int64_t flat) {
  const void* at = static_cast<const std::byte*>(t.data()) + static_cast<size_t>(flat) * size_of(t.dtype());
  if (t.dtype() == DType::int64) {
    int64_t v;
    std::memcpy(&v, at, sizeof(v));
    return std::to_string(v);
  }
  if (t.dtype() == DType::uint64) {
    uint64_t v;
    std::memcpy(&v, at, sizeof(v));
    return std::to_string(v);
  }
  const double v = t.at(flat);
  return std::isnan(v) ? "nan" : format("%.9g", v);
}

bool same_bits(const Tensor& a, const Tensor& b, int64_t flat) {
  const size_t size = size_of(a.dtype()), at = static_cast<size_t>(flat) * size;
  return std::memcmp(static_cast<const std::byte*>(a.data()) + at,
                     static_cast<const std::byte*>(b.data()) + at, size) == 0;
}

// |got - ref| in units of the bound.
double units(double got, double ref, double bound, double largest_finite) {
  if (got == ref || (std::isnan(got) && std::isnan(ref))) return 0;
  constexpr double never = std::numeric_limits<double>::infinity();
  if (std::isnan(got) || std::isnan(ref) || std::isinf(ref)) return never;
  // An infinity stands for a number that rounds beyond the dtype.
  if (std::isinf(got)) return std::fabs(ref) + bound > largest_finite && (got > 0) == (ref > 0) ? 1 : never;
  return bound > 0 ? std::fabs(got - ref) / bound : never;
}

// Counts the elements that `error(i)` calls wrong; `suffix` ends the words about the first.
template <class Error, class Suffix>
Comparison count_wrong(const Tensor& got, const Tensor& reference, const Error& error, const Suffix& suffix) {
  Comparison result;
  for (int64_t i = 0; i < got.elements(); ++i) {
    const double e = error(i);
    result.error = std::max(result.error, e);
    if (e <= 1) continue;
    if (result.wrong++ == 0)
      result.first = index_text(got.shape(), i) + " is " + element_text(got, i) + ", the reference is " +
                     element_text(reference, i) + suffix(i, e);
  }
  return result;
}

}  // namespace

std::vector<Tensor> unrounded_reference(const OpSchema& op, const Attributes& attributes,
                                        std::span<const Tensor> inputs, std::span<const ValueType> types) {
  std::vector<Tensor> outputs;
  for (const ValueType& type : types)
    outputs.emplace_back(is_float(type.dtype) ? DType::float64 : type.dtype, type.dims.shape());
  op.reference({attributes, inputs, outputs});
  return outputs;
}

std::vector<Bound> bounds_of(const OpSchema& op, const Attributes& attributes, std::span<const Tensor> inputs,
                             std::span<const ValueType> types, std::span<const Tensor> unrounded) {
  std::vector<ValueType> in(inputs.size());
  std::vector<const ValueType*> in_pointers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) in[i] = {inputs[i].dtype(), inputs[i].shape()};
    in_pointers.push_back(inputs[i].defined() ? &in[i] : nullptr);
  }
  std::vector<Tensor> magnitude;
  for (const ValueType& type : types) magnitude.emplace_back(DType::float64, type.dims.shape());
  if (op.accuracy.magnitude != nullptr) {
    op.accuracy.magnitude({attributes, inputs, magnitude});
  } else {
    for (size_t o = 0; o < types.size(); ++o)
      for (int64_t i = 0; i < magnitude[o].elements(); ++i)
        magnitude[o].set(i, std::fabs(unrounded[o].at(i)));
  }
  const double depth =
      op.accuracy.depth ? std::max(1.0, op.accuracy.depth({in_pointers, types, attributes})) : 1.0;
  std::vector<Bound> bounds(types.size());
  for (size_t o = 0; o < types.size(); ++o) {
    const DType dtype = types[o].dtype;
    if (!is_float(dtype)) continue;
    const bool wide = dtype == DType::float64;
    const double relative =
        op.accuracy.c * unit_roundoff(wide ? DType::float64 : DType::float32) * std::sqrt(depth);
    const double underflow = smallest_subnormal(dtype) + (wide ? std::numeric_limits<double>::min()
                                                               : double{std::numeric_limits<float>::min()});
    const std::span<double> m = magnitude[o].values<double>();
    const std::span<const double> reference = unrounded[o].values<double>();
    for (size_t i = 0; i < m.size(); ++i)
      m[i] = relative * m[i] + unit_roundoff(dtype) * std::fabs(reference[i]) + underflow;
    bounds[o] = magnitude[o];
  }
  return bounds;
}

Comparison compare_within(const Tensor& got, const Tensor& unrounded, const Bound& bound) {
  const double largest_finite = largest(got.dtype());
  return count_wrong(
      got, unrounded,
      [&](int64_t i) { return units(got.at(i), unrounded.at(i), bound.at(i), largest_finite); },
      [&](int64_t i, double e) { return format(" +- %.3g (%.3g times the bound)", bound.at(i), e); });
}

Comparison compare_exactly(const Tensor& got, const Tensor& reference, bool by_value) {
  const bool floats = is_float(got.dtype());
  return count_wrong(
      got, reference,
      [&](int64_t i) {
        if (same_bits(got, reference, i)) return 0.0;
        const bool equal = floats && ((std::isnan(got.at(i)) && std::isnan(reference.at(i))) ||
                                      (by_value && got.at(i) == reference.at(i)));
        return equal ? 0.0 : std::numeric_limits<double>::infinity();
      },
      [](int64_t, double) { return std::string(); });
}

}  // namespace heddle::conformance
