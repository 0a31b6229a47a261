// Whether a device's results are the oracle's, element by element.
#pragma once

#include <string>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::conformance {

// The unrounded results of an op that is not exact: float64 in place of every float. A reference rounded to
// sixteen bits would itself be half a unit away from the truth.
std::vector<Tensor> unrounded_reference(const OpSchema& op, const Attributes& attributes,
                                        std::span<const Tensor> inputs, std::span<const ValueType> types);

// How far each element of a result may be from the unrounded reference: float64, the shape of the result.
// Undefined: it must be equal.
using Bound = Tensor;

// The bounds of a node's results, of these types, from its schema: c * u_acc * sqrt(depth) * magnitude +
// u_out * |reference|, plus what rounding below the normal range adds: the smallest subnormal of the result's
// dtype, and float32's (float64's) smallest normal, because a device may flush its arithmetic's subnormals to
// zero. Undefined for results that are no floats.
std::vector<Bound> bounds_of(const OpSchema& op, const Attributes& attributes, std::span<const Tensor> inputs,
                             std::span<const ValueType> types, std::span<const Tensor> unrounded);

struct Comparison {
  int64_t wrong = 0;  // elements
  double error = 0;   // largest |got - ref| / bound; infinity where a bound of 0 is missed
  std::string first;  // the first wrong element in words: "[3,7] is 0.5, the reference is 0.25 ..."
};

// Whether a result is within its bound of the unrounded reference. NaN equals NaN, and an infinity the same
// infinity or a number that the bound carries beyond the dtype.
Comparison compare_within(const Tensor& got, const Tensor& unrounded, const Bound& bound);

// Whether a result is the reference, of the same type, bit for bit; NaN equals NaN, whatever its bits.
// `by_value`: zeros of both signs are equal too.
Comparison compare_exactly(const Tensor& got, const Tensor& reference, bool by_value);

}  // namespace heddle::conformance
