// Scalar programs written as formulas, for decompositions and gradient rules:
//
//   Value dx = formula({y, dy, s}, f32, [](const Scalars& in) { return in[0] * (in[1] - in[2]); });
//
// makes one pointwise node. Float operands are widened (or narrowed) to the compute dtype first and results
// are that dtype; `as` changes what a result is stored as. Nothing is rounded in between (pointwise's rule).
#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <vector>

#include "ir/scalar_program.h"
#include "kernels/pointwise.h"

namespace heddle::kernels {

// A register of the program being written.
struct Scalar {
  ScalarProgram* program = nullptr;
  uint32_t reg = 0;

  DType dtype() const { return program->dtype(reg); }
  Scalar as(DType to) const { return {program, program->cast(reg, to)}; }
  // A constant of this scalar's dtype.
  Scalar constant(double value) const { return {program, program->constant(value, dtype())}; }
};
using Scalars = std::vector<Scalar>;

inline Scalar step(ScalarOp op, Scalar x) { return {x.program, x.program->add(op, x.reg)}; }
inline Scalar step(ScalarOp op, Scalar a, Scalar b) { return {a.program, a.program->add(op, a.reg, b.reg)}; }

inline Scalar operator+(Scalar a, Scalar b) { return step(ScalarOp::add, a, b); }
inline Scalar operator-(Scalar a, Scalar b) { return step(ScalarOp::sub, a, b); }
inline Scalar operator*(Scalar a, Scalar b) { return step(ScalarOp::mul, a, b); }
inline Scalar operator/(Scalar a, Scalar b) { return step(ScalarOp::div, a, b); }
inline Scalar operator-(Scalar x) { return step(ScalarOp::neg, x); }
inline Scalar operator+(Scalar a, double b) { return a + a.constant(b); }
inline Scalar operator-(Scalar a, double b) { return a - a.constant(b); }
inline Scalar operator*(Scalar a, double b) { return a * a.constant(b); }
inline Scalar operator*(double a, Scalar b) { return b.constant(a) * b; }
inline Scalar operator-(double a, Scalar b) { return b.constant(a) - b; }
inline Scalar operator/(double a, Scalar b) { return b.constant(a) / b; }

inline Scalar operator==(Scalar a, Scalar b) { return step(ScalarOp::equal, a, b); }
inline Scalar operator!=(Scalar a, Scalar b) { return step(ScalarOp::not_equal, a, b); }
inline Scalar operator<(Scalar a, Scalar b) { return step(ScalarOp::less, a, b); }
inline Scalar operator<=(Scalar a, Scalar b) { return step(ScalarOp::less_equal, a, b); }
inline Scalar operator>(Scalar a, Scalar b) { return step(ScalarOp::greater, a, b); }
inline Scalar operator>=(Scalar a, Scalar b) { return step(ScalarOp::greater_equal, a, b); }
inline Scalar operator==(Scalar a, double b) { return a == a.constant(b); }
inline Scalar operator>(Scalar a, double b) { return a > a.constant(b); }
inline Scalar operator<(Scalar a, double b) { return a < a.constant(b); }
inline Scalar operator>=(Scalar a, double b) { return a >= a.constant(b); }
inline Scalar operator||(Scalar a, Scalar b) { return step(ScalarOp::logical_or, a, b); }
inline Scalar operator&&(Scalar a, Scalar b) { return step(ScalarOp::logical_and, a, b); }

inline Scalar exp(Scalar x) { return step(ScalarOp::exp, x); }
inline Scalar log(Scalar x) { return step(ScalarOp::log, x); }
inline Scalar cos(Scalar x) { return step(ScalarOp::cos, x); }
inline Scalar tanh(Scalar x) { return step(ScalarOp::tanh, x); }
inline Scalar sqrt(Scalar x) { return step(ScalarOp::sqrt, x); }
inline Scalar rsqrt(Scalar x) { return step(ScalarOp::rsqrt, x); }
inline Scalar floor(Scalar x) { return step(ScalarOp::floor, x); }
inline Scalar square(Scalar x) { return step(ScalarOp::square, x); }
inline Scalar min(Scalar a, Scalar b) { return step(ScalarOp::min, a, b); }
inline Scalar max(Scalar a, Scalar b) { return step(ScalarOp::max, a, b); }
inline Scalar min(Scalar a, double b) { return min(a, a.constant(b)); }
inline Scalar max(Scalar a, double b) { return max(a, a.constant(b)); }
inline Scalar select(Scalar condition, Scalar when_true, Scalar when_false) {
  return {condition.program, condition.program->select(condition.reg, when_true.reg, when_false.reg)};
}
inline Scalar select(Scalar condition, double when_true, Scalar when_false) {
  return select(condition, when_false.constant(when_true), when_false);
}
inline Scalar select(Scalar condition, Scalar when_true, double when_false) {
  return select(condition, when_true, when_true.constant(when_false));
}

// One pointwise node over `operands`; `write` makes one Scalar, or Scalars for several results.
template <class Write>
auto formula(std::span<const Value> operands, DType compute, const Write& write) {
  ScalarProgram program;
  for (const Value& v : operands) program.input(v.dtype());
  Scalars in;
  for (uint32_t i = 0; i < program.inputs.size(); ++i) {
    in.push_back({&program, is_float(program.inputs[i]) ? program.cast(i, compute) : i});
  }
  const auto results = write(in);
  if constexpr (std::same_as<std::decay_t<decltype(results)>, Scalar>) {
    program.outputs = {results.reg};
    return pointwise(operands[0].graph(), std::move(program), operands)[0];
  } else {
    for (const Scalar& r : results) program.outputs.push_back(r.reg);
    return pointwise(operands[0].graph(), std::move(program), operands);
  }
}
template <class Write>
auto formula(std::initializer_list<Value> operands, DType compute, const Write& write) {
  return formula(std::span<const Value>(operands.begin(), operands.size()), compute, write);
}

}  // namespace heddle::kernels
