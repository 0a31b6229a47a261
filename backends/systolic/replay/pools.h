// Buffers for the pools of a plan.
#pragma once

#include "systolic/replay/plan.h"

namespace heddle::systolic::replay {

// Fills needed, buffers, first and last of each pool; false when the memory is too small.
bool size_pools(const Nest& nest, const Trace& trace, const Capacity& capacity, Plan& plan);

}  // namespace heddle::systolic::replay
