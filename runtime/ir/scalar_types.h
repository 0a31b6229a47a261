// The dtype rules of scalar steps, used by the builder and by validate().
#pragma once

#include <span>
#include <string>

#include "ir/scalar_program.h"

namespace heddle::ir {

// The dtype of a step's result (not constant, not cast). Throws dtype_mismatch naming the step.
DType step_dtype(ScalarOp op, std::span<const DType> operands);

// `value` as a constant of `dtype` holds it. Throws invalid_argument when an integer dtype cannot.
ScalarStep constant_step(double value, DType dtype);

// `value` rounded to `dtype` and widened back; the same for float64.
double round_to(double value, DType dtype);

}  // namespace heddle::ir
