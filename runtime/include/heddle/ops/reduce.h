// Sums and extremes along axes. Axes count from the end when negative; without axes, all are reduced. The
// results have the dtype of x; sums of floats are kept in float32 or wider, integers wrap. Each function
// throws heddle::Error: invalid_argument for a bad axis, dtype_mismatch for a dtype without that operation.
#pragma once

#include <cstdint>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

Value sum(Value x);   // 0 when there are no elements
Value mean(Value x);  // floats; NaN when there are no elements
Value prod(Value x);  // 1 when there are no elements
// The largest and the smallest element; NaN when any is. Without elements minus and plus infinity (integers:
// the limits of the dtype). Equal elements share the gradient evenly.
Value max(Value x);
Value min(Value x);

// keepdims leaves size 1 in place of the reduced axes.
Value sum(Value x, const std::vector<int64_t>& axes, bool keepdims = false);
Value mean(Value x, const std::vector<int64_t>& axes, bool keepdims = false);
Value prod(Value x, const std::vector<int64_t>& axes, bool keepdims = false);
Value max(Value x, const std::vector<int64_t>& axes, bool keepdims = false);
Value min(Value x, const std::vector<int64_t>& axes, bool keepdims = false);

// int64 index of the largest (smallest) element along one axis; the first of equal ones. NaN counts as larger
// (smaller) than every number.
Value argmax(Value x, int64_t axis = -1, bool keepdims = false);
Value argmin(Value x, int64_t axis = -1, bool keepdims = false);

// y[i] = x[0] + ... + x[i] along one axis. `exclusive` leaves out x[i]; `reverse` sums from the other end.
Value cumsum(Value x, int64_t axis, bool exclusive = false, bool reverse = false);

}  // namespace heddle
