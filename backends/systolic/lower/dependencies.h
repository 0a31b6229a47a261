// Who must be done before whom: edges between the instructions of a stream, from the tiles and HBM regions
// they touch.
//
// A tile keeps the accesses that matter still: writers that no later write covers, and readers since then,
// each with the box of partitions and bytes it touched. A new tile inherits those of the tiles that lay in
// its buffer before. An HBM value keeps the same in buckets of its address range, with regions as rows of
// equal pitch, so that neighbouring blocks of a matrix do not meet. Nothing is searched beyond the lists of
// the operands at hand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

enum class Dependence : uint8_t {
  data,        // reads what the producer wrote
  weights,     // the same, of a matmul's stationary operand: it is needed earlier, to be loaded
  order,       // overwrites what the producer read or wrote; on one in-order engine issue order suffices
  accumulate,  // the next matmul of a group: PSUM adds in the order of issue, nothing waits
  pinned,      // the kernel's author asked for this order within the queue
};

struct Edge {
  uint32_t producer : 29;  // of at most 2^29 instructions
  Dependence kind : 3;
};
static_assert(sizeof(Edge) == 4);

struct Dependencies {
  std::vector<uint32_t> first;  // edge[first[i] .. first[i + 1]) are those of instruction i
  std::vector<Edge> edge;

  std::span<const Edge> of(uint32_t instruction) const {
    return {edge.data() + first[instruction], first[instruction + 1] - first[instruction]};
  }
};

Dependencies find_dependencies(const Stream& stream);

}  // namespace heddle::systolic
