// dropout: y = x / (1 - rate) where the element's random bits are >= floor(rate * 2^32), else 0.
//
// Element i's bits are word i % 4 of Philox4x32-10 at counter + i / 4 (core/philox.h), as random_bits makes
// them, so the same key and counter drop the same elements again: the gradient is dropout of dy. x: float64,
// float32, bfloat16, float16; y may be x. rate 1 drops everything. Threads: called from the thread that may
// start parallel loops (threads.h). The same bits at any thread count.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// 0 <= rate <= 1. key and counter are operands of the op: read here, never baked in.
void dropout(DType dtype, int64_t elements, double rate, Threads threads, const void* x, const uint64_t* key,
             const uint64_t* counter, void* y);

}  // namespace heddle::cpu
