// How far rounding can carry a scalar program from its exact value: a running first-order error analysis.
// N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.3.
#pragma once

#include <vector>

#include "ir/scalar_program.h"

namespace heddle {

// For one element: out[i] is a bound of the absolute error of output i over the unit roundoff of its
// arithmetic (2^-24, float64 outputs 2^-53), when every step is computed to one unit roundoff of its
// arithmetic, casts round to their dtype, and the inputs are exact but for `first_error` of input 0. Compound
// steps count as their expansions. 0 for integers and bool. Steps that jump (floor, comparisons) are taken to
// be away from the jump.
class ScalarErrorBound {
 public:
  explicit ScalarErrorBound(const ScalarProgram& program);
  void operator()(const ScalarSlot* in, double first_error, double* out);

 private:
  ScalarProgram program_;  // expanded, without outputs
  std::vector<uint32_t> outputs_;
  std::vector<ScalarSlot> registers_;
  std::vector<double> error_;
};

}  // namespace heddle
