// Calls of the composites next to the core, for the tests that run over all of them.
#pragma once

#include <vector>

#include "tests/kernels/op_case.h"

namespace heddle::test {

// Composites of matmul, gather and random. `dtype` is that of the main operands.
std::vector<OpCase> small_composite_cases(uint64_t seed, DType dtype);

}  // namespace heddle::test
