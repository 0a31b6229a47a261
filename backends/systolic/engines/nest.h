// One loop nest that walks several strided operands together, element by element in row-major order.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "systolic/engines/step.h"

namespace heddle::systolic {

inline constexpr int nest_rank_max = 7;
inline constexpr int nest_operands_max = 6;

// Dimensions innermost first. Dimension 0 is the row that kernels compute; the others are loops around it.
struct Nest {
  int rank = 1;
  int operands = 0;
  std::array<int64_t, nest_rank_max> size{};
  std::array<std::array<int64_t, nest_rank_max>, nest_operands_max> stride{};  // bytes

  int64_t row() const { return size[0]; }
  // Rows in all: the product of the outer sizes.
  int64_t rows() const {
    int64_t n = 1;
    for (int d = 1; d < rank; ++d) n *= size[static_cast<size_t>(d)];
    return n;
  }
};

// Operands have equal element counts, cut into dimensions that nest (2x3 with 6, not 2x3 with 3x2), or are
// scalars per partition: `per_partition` says which; these have one element per index of dimension 0 of the
// others. The result is merged into as few and as long dimensions as the strides allow. With keep_partition
// the outermost loop is the first dimension of the operands. Returns false when the shapes do not nest.
bool make_nest(std::span<const HostOperand> operands, std::span<const bool> per_partition,
               bool keep_partition, Nest& nest);

// Calls f(pointers) for every row; pointers is one per operand.
template <class F>
void for_each_row(const Nest& nest, std::array<std::byte*, nest_operands_max> at, const F& f) {
  if (nest.rank == 1) {
    f(at);
    return;
  }
  std::array<int64_t, nest_rank_max> index{};
  for (;;) {
    // The second dimension is the loop that matters; the rest is an odometer.
    std::array<std::byte*, nest_operands_max> row = at;
    for (int64_t i = 0; i < nest.size[1]; ++i) {
      f(row);
      for (int o = 0; o < nest.operands; ++o)
        row[static_cast<size_t>(o)] += nest.stride[static_cast<size_t>(o)][1];
    }
    int d = 2;
    for (; d < nest.rank; ++d) {
      const auto dim = static_cast<size_t>(d);
      ++index[dim];
      if (index[dim] < nest.size[dim]) {
        for (int o = 0; o < nest.operands; ++o)
          at[static_cast<size_t>(o)] += nest.stride[static_cast<size_t>(o)][dim];
        break;
      }
      index[dim] = 0;
      for (int o = 0; o < nest.operands; ++o)
        at[static_cast<size_t>(o)] -= nest.stride[static_cast<size_t>(o)][dim] * (nest.size[dim] - 1);
    }
    if (d == nest.rank) return;
  }
}

}  // namespace heddle::systolic
