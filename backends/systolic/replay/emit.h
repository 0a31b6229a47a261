// A plan as instructions.
#pragma once

#include "heddle/systolic/builder.h"
#include "systolic/replay/plan.h"

namespace heddle::systolic::replay {

struct Spilled {
  int64_t saved = 0, restored = 0;  // bytes
};

// Throws Error naming the statement whose instruction breaks a rule of the machine.
Spilled emit(NeuronCore& core, const Nest& nest, const Trace& trace, const Plan& plan);

}  // namespace heddle::systolic::replay
