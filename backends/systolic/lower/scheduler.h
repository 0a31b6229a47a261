// The order of issue: list scheduling within a window of the emitted stream.
#pragma once

#include <cstdint>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/lower/dependencies.h"
#include "systolic/machine/cost.h"

namespace heddle::systolic {

// All instructions in an order that keeps every dependence. Among the instructions whose producers are placed
// and that lie within `window` of the oldest one not placed, the next is the one that can start first by the
// estimated cost; of equals the older. window 0: the emitted order.
std::vector<uint32_t> schedule(const Stream& stream, const Dependencies& dependencies, const CostModel& cost,
                               int window);

}  // namespace heddle::systolic
