// Random bits.
#pragma once

#include <cstdint>

#include "cpu/threads.h"

namespace heddle::cpu {

// y[i] = word (first + i) % 4 of Philox4x32-10 with counter (lo(c), hi(c), 0, 0), c = counter + (first + i) /
// 4 modulo 2^64, and key (lo(key), hi(key)): elements [first, first + n) of what random_bits draws. On the
// calling thread.
void random_bits(uint64_t key, uint64_t counter, int64_t first, int64_t n, uint32_t* y);

// y[i] as above for i < elements; threads share the elements.
void random_bits(uint64_t key, uint64_t counter, int64_t elements, uint32_t* y, Threads threads);

}  // namespace heddle::cpu
