// Whether a device's results are the oracle's, element by element.
#pragma once

#include <string>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::conformance {

// How far each element of one result may be from the oracle. Undefined: not at all.
using Bound = Tensor;  // float64, the shape of the result

// The bounds of a node's results from its schema: c * u_acc * sqrt(depth) * magnitude + u_out * |ref|, plus
// what rounding below the normal range adds: the smallest subnormal of the result's dtype, and float32's
// (float64's) smallest normal, because a device may flush its arithmetic's subnormals to zero. Undefined for
// exact ops and for results that are no floats.
std::vector<Bound> bounds_of(const OpSchema& op, const Attributes& attributes, std::span<const Tensor> inputs,
                             std::span<const Tensor> references);

struct Comparison {
  int64_t wrong = 0;  // elements
  double error = 0;   // largest |got - ref| / bound; infinity where a bound of 0 is missed
  std::string first;  // the first wrong element in words: "[3,7] is 0.5, the reference is 0.25 ..."
};

// `got` and `reference` are dense and of one type. NaN equals NaN, whatever its bits. With a bound, an
// infinity must be the same infinity, unless the reference is so large that its bound reaches beyond the
// dtype. Without one, `by_value` takes zeros of both signs as equal; else bits count.
Comparison compare(const Tensor& got, const Tensor& reference, const Bound& bound, bool by_value);

}  // namespace heddle::conformance
