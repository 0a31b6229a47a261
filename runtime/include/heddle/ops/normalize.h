// Normalisation over the last axis, of size D. x is any float [..., D]; scale and bias are [D], in x's dtype
// or in float32; y is like x. Sums are kept in float32 (float64 for float64). Every function throws Error
// (dtype_mismatch, shape_mismatch) naming the op and the operands.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// y = (x - mean(x)) / sqrt(var(x) + epsilon) * scale + bias, var being the mean squared distance from the
// mean (Ba, Kiros, Hinton: Layer Normalization, 2016).
Value layer_norm(Value x, Value scale, Value bias, double epsilon = 1e-5);

// y = x / sqrt(mean(x^2) + epsilon) * scale (Zhang, Sennrich: Root Mean Square Layer Normalization, 2019).
Value rms_norm(Value x, Value scale, double epsilon = 1e-6);

}  // namespace heddle
