// Conversions between dtypes.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// y[i] = x[i] as the op `convert` does it, for every pair of dtypes: to floats rounded to nearest even, once;
// floats to integers truncated toward zero and saturated, NaN to 0; integers to integers by their low bits;
// to bool x != 0. Allocates nothing. x and y do not overlap, or are the same memory and dtypes of one size.
// Threads share the elements.
void convert(DType from, DType to, const void* x, void* y, int64_t elements, Threads threads);

}  // namespace heddle::cpu
