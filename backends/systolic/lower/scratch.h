// Places for the HBM values that a program owns: values whose lives do not overlap share memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/engines/placement.h"

namespace heddle::systolic {

struct ScratchLayout {
  std::vector<uint64_t> offset;  // by value; meaningful for scratch values only
  uint64_t bytes = 0;
};

// A scratch value has a place for as long as its bytes matter.
ScratchLayout plan_scratch(const Stream& stream, std::span<const ValueLife> lives);

}  // namespace heddle::systolic
