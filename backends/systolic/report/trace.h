// A run as Chrome trace events, which Perfetto shows: one track per engine, one per DMA queue in use.
#pragma once

#include <string>

#include "systolic/machine/timeline.h"

namespace heddle::systolic {

// A JSON array of complete events ("ph": "X"), times in simulated microseconds; each says its kernel line,
// its scope and what it waited for.
std::string trace_json(const Stream& stream, const Timing& timing);

}  // namespace heddle::systolic
