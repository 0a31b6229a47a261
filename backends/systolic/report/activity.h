// When each engine and the DMA were busy: shares of equal slices of a run, for pictures.
#pragma once

#include <array>
#include <vector>

#include "systolic/report/path.h"

namespace heddle::systolic {

// share[resource][slice] is the busy part of the slice, 0 to 1: some instruction of the engine is between
// start and end (DMA triggers: between start and issue); some transfer moves bytes. Table loads of the scalar
// engine, which are no instructions, do not show.
using Activity = std::array<std::vector<double>, resource_count>;
Activity activity(const Stream& stream, const Timing& timing, int slices);

}  // namespace heddle::systolic
