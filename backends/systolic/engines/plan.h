// A stream bound for execution: a flat list of steps in the order they run.
//
// What binding decides, so that a run does not: where every operand lies, which kernel computes it, loop
// nests merged as far as strides allow. Two things disappear: a load that changes nothing (same dtype, dense
// rows, a tile that nothing else writes, HBM that nothing overwrites while the tile lives) makes its tile a
// view of HBM; and the matmuls of a K loop that follow each other become one call. Tiles lie in memory as
// dense rows, partition after partition, at a place given by their SBUF or PSUM address; thus the rotation of
// buffers is the same in the numbers as in the time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

class Plan {
 public:
  // `order`: the instructions in the order in which they run, a permutation that respects dependencies;
  // empty: as emitted. Throws Error naming the instruction whose operands have shapes that cannot be walked
  // together.
  // `stochastic`: the seed of stochastic rounding (program.h), or none.
  Plan(const Stream& stream, std::span<const uint32_t> order, std::optional<uint64_t> stochastic = {});

  // base[0]: on-chip memory of on_chip_bytes(); base[1 + v]: HBM value v. scratch: scratch_bytes. Both
  // 64-byte aligned.
  void run(std::byte* const* base, std::byte* scratch) const;
  uint64_t on_chip_bytes() const { return on_chip_bytes_; }
  size_t steps() const { return steps_.size(); }
  size_t views() const { return views_; }  // loads that became views

 private:
  friend class Binder;
  const Stream& stream_;
  std::vector<Step> steps_;
  std::vector<std::shared_ptr<const void>> arguments_;
  std::optional<uint64_t> stochastic_;
  uint64_t on_chip_bytes_ = 0;
  size_t views_ = 0;
};

}  // namespace heddle::systolic
