// Softmax and its relatives. Axes count from the end when negative. Float operands; results have their dtype.
// Every function throws Error (dtype_mismatch, shape_mismatch, invalid_argument) naming the op and the
// operands.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// y = exp(x - max(x)) / sum(exp(x - max(x))) along `axis`. A line of minus infinities is NaN, as in PyTorch.
Value softmax(Value x, int64_t axis = -1);

// y = x - max(x) - log(sum(exp(x - max(x)))) along `axis`.
Value log_softmax(Value x, int64_t axis = -1);

// dx = y * (dy - sum(y * dy)) along `axis`: the gradient of softmax from its result y.
Value softmax_grad(Value y, Value dy, int64_t axis = -1);

}  // namespace heddle
