// The element-wise instructions that matter most: x (op) y (op) z on dense float32 rows, then perhaps a
// function and a row reduction. Computes what a Map would, with nothing to be looked up per row.
#pragma once

#include <array>
#include <cstdint>

#include "systolic/engines/row.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

struct Chain {
  static constexpr int operands_max = 5, steps_max = 3;
  static constexpr uint8_t first_immediate = operands_max;  // operands from here on are immediates

  // x = kernel(x, operand), or kernel(operand, x) when swapped.
  struct Link {
    RowKernel kernel = nullptr;
    uint8_t operand = 0;
    bool scalar = false;  // one element for the whole row
    bool swapped = false;
  };

  std::array<Place, operands_max> place{};
  std::array<int64_t, operands_max> row_stride{};  // bytes; operand 0 is written, the chain begins with 1
  std::array<Link, steps_max> link{};
  std::array<float, steps_max> immediate{};
  int operands = 0, links = 0;
  int64_t rows = 1, count = 0;  // elements of a row

  RowKernel function = nullptr;  // of what the links give
  float alpha = 0;
  float (*whole)(const float* row, size_t n) = nullptr;  // reduction of the row that is written
  Place reduced{};
  int64_t reduced_stride = 0;  // bytes; float32
};

// A StepFunction whose arguments are a Chain.
Fault run_chain(const void* chain, const Context& context);

}  // namespace heddle::systolic
