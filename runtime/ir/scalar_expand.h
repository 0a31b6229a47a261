// Expansion of some compound steps of a scalar program.
#pragma once

#include "ir/scalar_program.h"

namespace heddle::ir {

// The same program with the compound steps for which `which` is true written out. Their constants are
// rounded to the dtype of the step: widen() narrow ones first.
ScalarProgram expand_steps(const ScalarProgram& program, bool (*which)(ScalarOp));

}  // namespace heddle::ir
