// Stochastic rounding: a float32 becomes one of its two neighbours in a narrower float, with the probability
// that makes the mean right. Values beyond the narrower float's range are left for the conversion to handle.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heddle/dtype.h"

namespace heddle::systolic {

struct StochasticRounding {
  DType to = DType::bfloat16;
  uint64_t key = 0;
};

// bfloat16, float16 and the two float8.
bool can_round_stochastically(DType to);
// The key of one instruction of a program.
uint64_t stochastic_key(uint64_t seed, uint32_t instruction);
// Rounds n floats in place; `first` counts the elements that the instruction has rounded before.
void round_stochastically(const StochasticRounding& rounding, float* values, size_t n, uint64_t first);

}  // namespace heddle::systolic
