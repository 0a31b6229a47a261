// Random scalar programs for property tests.
#pragma once

#include <cmath>
#include <cstring>
#include <random>

#include "heddle/error.h"
#include "ir/scalar_program.h"
#include "tests/property.h"

namespace heddle::test {

// A valid program with the given inputs, `steps` random steps of every kind and `outputs` outputs.
inline ScalarProgram random_program(std::mt19937_64& random, std::span<const DType> inputs, int steps,
                                    int outputs) {
  ScalarProgram p;
  for (const DType d : inputs) p.input(d);
  const auto pick = [&] { return static_cast<uint32_t>(draw(random, 0, p.registers() - 1)); };
  while (static_cast<int>(p.steps.size()) < steps) {
    const ScalarOpInfo& info = all_scalar_ops()[static_cast<size_t>(
        draw(random, 0, static_cast<int64_t>(all_scalar_ops().size()) - 1))];
    const uint32_t a = p.registers() == 0 ? 0 : pick();
    try {
      if (info.op == ScalarOp::constant || p.registers() == 0)
        p.constant(static_cast<double>(draw(random, 0, 3)), all_dtypes[draw(random, 0, 14)]);
      else if (info.op == ScalarOp::cast)
        p.cast(a, all_dtypes[draw(random, 0, 14)]);
      else if (info.operands == 1)
        p.add(info.op, a);
      else if (info.operands == 2)
        p.add(info.op, a, pick());
      else
        p.select(a, pick(), pick());
    } catch (const Error&) {
      // The operands drawn do not suit the step: draw again.
    }
  }
  for (int i = 0; i < outputs; ++i) p.outputs.push_back(pick());
  return p;
}

// Random values for the inputs of `p`; floats are exact in every float dtype.
inline std::vector<ScalarSlot> random_slots(std::mt19937_64& random, const ScalarProgram& p) {
  std::vector<ScalarSlot> slots(p.inputs.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    if (is_float(p.inputs[i]))
      slots[i].real = static_cast<double>(draw(random, -12, 12)) / 4;
    else if (p.inputs[i] == boolean)
      slots[i].integer = draw(random, 0, 1);
    else
      slots[i].integer = draw(random, is_signed(p.inputs[i]) ? -5 : 0, 5);
  }
  return slots;
}

inline std::vector<ScalarSlot> evaluate(const ScalarProgram& p, const std::vector<ScalarSlot>& in) {
  std::vector<ScalarSlot> out(p.outputs.size()), registers;
  heddle::evaluate(p, in.data(), out.data(), registers);
  return out;
}

// The same numbers, NaN being NaN.
inline bool same(const ScalarProgram& p, const std::vector<ScalarSlot>& a, const std::vector<ScalarSlot>& b) {
  for (size_t i = 0; i < p.outputs.size(); ++i) {
    if (is_float(p.dtype(p.outputs[i]))) {
      if (a[i].real != b[i].real && !(std::isnan(a[i].real) && std::isnan(b[i].real))) return false;
    } else if (a[i].integer != b[i].integer) {
      return false;
    }
  }
  return true;
}

}  // namespace heddle::test
