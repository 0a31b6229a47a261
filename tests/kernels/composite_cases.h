// Calls of every fused op, for the tests that run over all of them.
#pragma once

#include <vector>

#include "tests/kernels/op_case.h"

namespace heddle::test {

// Shapes and attributes with their corners (masks, groups, ignored targets, one row), operands drawn from
// `seed`. `dtype` is that of the main operands.
std::vector<OpCase> composite_cases(uint64_t seed, DType dtype);

}  // namespace heddle::test
