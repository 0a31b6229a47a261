// Narrow floats as what they are while a program runs: float32 values, rounded where the program says so.
#include <algorithm>

#include "ir/scalar_program.h"

namespace heddle {
namespace {

bool is_narrow(DType d) { return is_float(d) && size_of(d) < 4; }

}  // namespace

ScalarProgram widen(const ScalarProgram& p) {
  const auto narrow_input = std::any_of(p.inputs.begin(), p.inputs.end(), is_narrow);
  const auto narrow_step =
      std::any_of(p.steps.begin(), p.steps.end(), [](const ScalarStep& s) { return is_narrow(s.dtype); });
  if (!narrow_input && !narrow_step) return p;
  ScalarProgram result;
  result.inputs = p.inputs;
  std::vector<uint32_t> now(p.registers());
  for (uint32_t i = 0; i < p.inputs.size(); ++i)
    now[i] = is_narrow(p.inputs[i]) ? result.cast(i, DType::float32) : i;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    ScalarStep s = p.steps[i];
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
    const DType dtype = s.dtype;
    if (is_narrow(dtype) && s.op != ScalarOp::cast) s.dtype = DType::float32;
    result.steps.push_back(s);
    uint32_t& reg = now[p.inputs.size() + i];
    reg = result.registers() - 1;
    if (is_narrow(dtype)) reg = result.cast(reg, DType::float32);  // a cast has rounded; nothing else does
  }
  for (const uint32_t r : p.outputs) {
    const bool narrow_result = is_narrow(p.dtype(r)) && r >= p.inputs.size();
    result.outputs.push_back(narrow_result         ? result.cast(now[r], p.dtype(r))
                             : r < p.inputs.size() ? r
                                                   : now[r]);
  }
  return result;
}

}  // namespace heddle
