// A run as Chrome trace events, which Perfetto shows: one track per engine, one per DMA queue in use, and
// arrows from what an instruction waited for.
#pragma once

#include <string>

#include "systolic/machine/timeline.h"

namespace heddle::systolic {

// A JSON array of events, times in simulated microseconds. Complete events ("ph": "X"): issue intervals on
// the engines' tracks, transfers on the queues'; each says its kernel line, its scope, what it waited for and
// how long (evt_wait_time_ns, dma_wait_time_ns). Flow events ("s", "f"): from a trigger to its transfer
// ("trigger"), and to an instruction on another track from the one that held it back (named after the cause:
// "dma", "engine", "port", "weights", "table").
std::string trace_json(const Stream& stream, const Timing& timing);

}  // namespace heddle::systolic
