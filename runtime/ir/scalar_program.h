// Scalar programs: what a pointwise node computes for one element. A straight line of steps over registers;
// the inputs are the first registers, step i defines register inputs.size() + i. Values in, values out, no
// branches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heddle/dtype.h"

namespace heddle {

// Every step. The order is internal: programs cross the device contract by name.
enum class ScalarOp : uint8_t {
  constant,
  cast,
  select,
  // binary, same dtype in and out
  add,
  sub,
  mul,
  div,
  pow,
  min,
  max,
  mod,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  logical_and,
  logical_or,
  logical_xor,
  // comparisons, any dtype in, bool out
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  // unary, same dtype in and out (is_nan: bool out)
  neg,
  abs,
  sign,
  exp,
  log,
  sqrt,
  rsqrt,
  reciprocal,
  sin,
  cos,
  tanh,
  erf,
  floor,
  ceil,
  round,
  square,
  sigmoid,
  logical_not,
  is_nan,
  // compound: float in and out, with an expansion into the ones above (expand_compounds)
  relu,
  gelu_erf,
  gelu_tanh,
  silu,
  softplus,
  gelu_erf_grad,
  gelu_tanh_grad,
  silu_grad,
  count_  // not a step
};

struct ScalarOpInfo {
  ScalarOp op;
  const char* name;      // as in the device contract and in printed graphs
  const char* equation;  // for docs/ops.md
  int operands;          // 0 constant, 1, 2 or 3
  bool compound;         // has an expansion
  int flops;             // counted per element: 1, or the usual count of a transcendental (assumption: 8)
};
const ScalarOpInfo& scalar_op_info(ScalarOp op);
std::span<const ScalarOpInfo> all_scalar_ops();
// nullptr when there is no such step.
const ScalarOpInfo* find_scalar_op(std::string_view name);

struct ScalarStep {
  ScalarOp op;
  DType dtype;                      // of the result
  uint32_t operand[3] = {0, 0, 0};  // registers; select: condition, when true, when false
  double value = 0;                 // constant of a float dtype (already rounded to it) or bool
  int64_t integer = 0;              // constant of an integer dtype (uint64: the same bits)
  bool operator==(const ScalarStep&) const = default;
};

struct ScalarProgram {
  std::vector<DType> inputs;
  std::vector<ScalarStep> steps;
  std::vector<uint32_t> outputs;  // registers, one per output of the node

  // Declares the next input. All inputs come before the first step.
  uint32_t input(DType dtype);
  // Appends a step. Throws dtype_mismatch naming the step.
  uint32_t add(ScalarOp op, uint32_t a);
  uint32_t add(ScalarOp op, uint32_t a, uint32_t b);
  uint32_t select(uint32_t condition, uint32_t when_true, uint32_t when_false);
  uint32_t cast(uint32_t a, DType dtype);  // a itself when it has that dtype
  uint32_t constant(double value, DType dtype);

  DType dtype(uint32_t reg) const {
    return reg < inputs.size() ? inputs[reg] : steps[reg - inputs.size()].dtype;
  }
  uint32_t registers() const { return static_cast<uint32_t>(inputs.size() + steps.size()); }
  bool operator==(const ScalarProgram&) const = default;
};

// "(%0: float32, %1: float32) { %2 = mul %0 %1; %3 = gelu_erf %2; return %3 }"
std::string to_string(const ScalarProgram& program);

// The step of a program that is one step besides constants, with that step as its one output; else nullptr.
const ScalarStep* only_step(const ScalarProgram& program);

// Throws invalid_argument / dtype_mismatch unless registers are defined before use and dtypes fit. For
// programs that came from outside (plugins, files).
void validate(const ScalarProgram& program);

// The same program with float32 in place of narrower floats: what a device computes. They stay at the inputs
// and outputs, and where a cast rounds to them. Formulas that need constants are written in the wide program.
ScalarProgram widen(const ScalarProgram& program);

// The same program without compound steps, widened if one was of a narrow float dtype.
ScalarProgram expand_compounds(const ScalarProgram& program);

// The same program without steps nobody reads, equal steps merged, inputs kept.
ScalarProgram simplify(const ScalarProgram& program);

// Removes the inputs nobody reads and returns the numbers of those that stay.
std::vector<uint32_t> drop_unread_inputs(ScalarProgram& program);

// Program of producer followed by consumer. wiring[i] says what consumer input i is: an output of producer
// (>= 0) or -1 for an input of its own. The result's inputs are producer's inputs, then consumer's own ones
// in order; its outputs are the producer outputs listed in `keep`, then consumer's outputs. A value of a
// 16-bit or 8-bit float dtype that crosses from producer to consumer is rounded to that dtype as it would be
// in memory.
ScalarProgram fuse(const ScalarProgram& producer, const ScalarProgram& consumer, std::span<const int> wiring,
                   std::span<const uint32_t> keep);

// Reverse-mode derivative. Inputs of the result: the inputs of `program`, then one output gradient per
// output. Outputs: the gradient of every input in `wrt` (float ones), in that order.
ScalarProgram differentiate(const ScalarProgram& program, std::span<const uint32_t> wrt);

// The oracle: one element in double precision (integers exactly, in 64 bits, wrapping to their width; narrow
// floats are rounded at casts and outputs only). in/out hold one slot per input/output; `registers` is reused
// storage.
union ScalarSlot {
  double real;
  int64_t integer;
};
void evaluate(const ScalarProgram& program, const ScalarSlot* in, ScalarSlot* out,
              std::vector<ScalarSlot>& registers);

}  // namespace heddle
