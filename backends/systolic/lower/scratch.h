// Places for the HBM values that a program owns: values whose lives do not overlap share memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

struct ScratchLayout {
  std::vector<uint64_t> offset;  // by value; meaningful for scratch values only
  uint64_t bytes = 0;
};

// A value lives from the first to the last instruction in `order` (empty: as emitted) that touches it or a
// tile loaded from it: such a tile may be a view of the value's memory. With `share` false every value has a
// place of its own.
ScratchLayout plan_scratch(const Stream& stream, std::span<const uint32_t> order, bool share);

}  // namespace heddle::systolic
