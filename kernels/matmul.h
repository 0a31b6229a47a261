#pragma once

#include <span>
#include <vector>

#include "heddle/schema.h"
#include "ir/scalar_program.h"

namespace heddle {

const OpSchema& matmul_op();
const OpSchema& matmul_pointwise_op();

// a @ b followed by `program`, whose input 0 is the product and whose further inputs are `others`.
std::vector<Value> matmul_pointwise(Value a, Value b, bool transpose_a, bool transpose_b,
                                    std::span<const Value> others, ScalarProgram program);

}  // namespace heddle
