// When every instruction runs: a discrete-event simulation of one NeuronCore.
//
// Time is in integer picoseconds and there is no clock tick. Each of the five queues issues in order; among
// the queue heads whose producers are timed the one that starts earliest is taken next, so shared resources
// (DMA engines, HBM, memory ports) are given out in time order. An instruction
//   starts    when its queue has passed the issue interval of the one before it, its producers are done (plus
//   a
//             semaphore hop when they are on another engine), and its memory ports and tables are free;
//   ends      after its work and its engine's latency: then its result may be used;
// and remembers what it waited for longest, so every gap of an engine has a cause and the shares add up to
// the total.
#pragma once

#include <span>

#include "heddle/systolic/timing.h"
#include "systolic/lower/dependencies.h"
#include "systolic/machine/cost.h"

namespace heddle::systolic {

// `order`: instructions in issue order; each queue takes its own from it, in this order. Throws Error
// (device) when queues wait for each other for ever, naming the instructions at their heads.
Timing run_timeline(const Stream& stream, const Dependencies& dependencies, std::span<const uint32_t> order,
                    const CostModel& cost);

}  // namespace heddle::systolic
