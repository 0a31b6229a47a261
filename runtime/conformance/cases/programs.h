// Nodes that hold a scalar program.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "conformance/case.h"
#include "ir/scalar_program.h"

namespace heddle::conformance {

inline NodeCase program_case(ScalarProgram program, std::vector<Operand> operands, bool exact = false) {
  return {.op = "pointwise",
          .operands = std::move(operands),
          .attributes = {{"body", std::make_shared<const ScalarProgram>(std::move(program))}},
          .exact = exact};
}

}  // namespace heddle::conformance
