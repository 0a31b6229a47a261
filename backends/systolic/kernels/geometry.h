// How values are cut into tiles: rows of the last axes along the free dimension, the rest along partitions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// A broadcast iteration space with as few axes as its operands allow: neighbouring axes are merged when every
// operand has both in full or stretches both.
struct IterationSpace {
  std::vector<int64_t> size;  // outermost first; at least one axis
  // stride[operand][axis] in elements; 0 on stretched axes.
  std::vector<std::vector<int64_t>> stride;
};

// `common` is the space; operands broadcast to it by NumPy's rules.
IterationSpace iteration_space(const Shape& common, std::span<const Shape> operands);

// [begin, count) pieces of `total` of at most `most`.
struct Piece {
  int64_t begin, count;
};
std::vector<Piece> pieces(int64_t total, int64_t most);

}  // namespace heddle::systolic
