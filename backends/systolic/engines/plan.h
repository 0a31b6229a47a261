// A stream bound for execution: a flat list of steps in the order they run.
//
// What binding decides, so that a run does not: where every operand lies, which kernel computes it, loop
// nests merged as far as strides allow. Copies that change nothing disappear (placement.h), and the matmuls
// of a K loop that follow each other become one call.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/engines/placement.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

class Plan {
 public:
  // `order`: the instructions in the order in which they run, a permutation that respects dependencies;
  // empty: as emitted. Throws Error naming the instruction whose operands have shapes that cannot be walked
  // together.
  Plan(const Stream& stream, std::span<const uint32_t> order);

  // base[0]: on-chip memory of on_chip_bytes(); base[1 + v]: HBM value v. scratch: scratch_bytes. Both
  // 64-byte aligned.
  void run(std::byte* const* base, std::byte* scratch) const;
  uint64_t on_chip_bytes() const { return on_chip_bytes_; }
  std::span<const ValueLife> lives() const { return lives_; }  // of the HBM values
  size_t steps() const { return steps_.size(); }

 private:
  friend class Binder;
  const Stream& stream_;
  std::vector<Step> steps_;
  std::vector<std::shared_ptr<const void>> arguments_;
  uint64_t on_chip_bytes_ = 0;
  std::vector<ValueLife> lives_;
};

}  // namespace heddle::systolic
