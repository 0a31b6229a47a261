// Compound steps as the steps they are made of.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "ir/scalar_expand.h"

namespace heddle {
namespace {

using enum ScalarOp;

// Writes formulas into a program at one dtype.
struct Formula {
  ScalarProgram& p;
  DType dtype;
  uint32_t number(double v) const { return p.constant(v, dtype); }
  uint32_t operator()(ScalarOp op, uint32_t a) const { return p.add(op, a); }
  uint32_t operator()(ScalarOp op, uint32_t a, uint32_t b) const { return p.add(op, a, b); }
  uint32_t operator()(ScalarOp op, uint32_t a, double b) const { return p.add(op, a, number(b)); }
};

const double sqrt_half = std::sqrt(0.5);
const double sqrt_2_over_pi = std::sqrt(2 * std::numbers::inv_pi);
constexpr double cubic = 0.044715;

// tanh(sqrt(2/pi) * (x + 0.044715 x^3))
uint32_t tanh_of_cubic(const Formula& f, uint32_t x) {
  const uint32_t square_plus_one = f(add, f(mul, f(square, x), cubic), 1.0);
  return f(tanh, f(mul, f(mul, x, square_plus_one), sqrt_2_over_pi));
}

uint32_t expand_step(ScalarProgram& p, ScalarOp op, uint32_t x) {
  const Formula f{p, p.dtype(x)};
  switch (op) {
    case relu:
      return f(max, x, 0.0);
    case silu:
      return f(mul, x, f(sigmoid, x));
    case softplus:
      return f(add, f(max, x, 0.0), f(log, f(add, f(exp, f(neg, f(abs, x))), 1.0)));
    case gelu_erf:
      return f(mul, f(mul, x, 0.5), f(add, f(erf, f(mul, x, sqrt_half)), 1.0));
    case gelu_tanh:
      return f(mul, f(mul, x, 0.5), f(add, tanh_of_cubic(f, x), 1.0));
    case silu_grad: {  // s * (1 + x * (1 - s))
      const uint32_t s = f(sigmoid, x);
      return f(mul, s, f(add, f(mul, x, f(sub, f.number(1), s)), 1.0));
    }
    case gelu_erf_grad: {  // (1 + erf(x / sqrt 2)) / 2 + x * exp(-x^2 / 2) / sqrt(2 pi)
      const uint32_t cdf = f(mul, f(add, f(erf, f(mul, x, sqrt_half)), 1.0), 0.5);
      const uint32_t pdf = f(mul, f(exp, f(mul, f(square, x), -0.5)), 0.5 * sqrt_2_over_pi);
      return f(add, cdf, f(mul, x, pdf));
    }
    case gelu_tanh_grad: {  // (1 + t) / 2 + x * (1 - t^2) / 2 * sqrt(2/pi) * (1 + 3 * 0.044715 x^2)
      const uint32_t t = tanh_of_cubic(f, x);
      const uint32_t inner = f(add, f(mul, f(square, x), 3 * cubic), 1.0);
      const uint32_t slope = f(mul, f(mul, f(sub, f.number(1), f(square, t)), inner), 0.5 * sqrt_2_over_pi);
      return f(add, f(mul, f(add, t, 1.0), 0.5), f(mul, x, slope));
    }
    default:
      return x;
  }
}

}  // namespace

namespace ir {

ScalarProgram expand_steps(const ScalarProgram& p, bool (*which)(ScalarOp)) {
  ScalarProgram result;
  result.inputs = p.inputs;
  std::vector<uint32_t> now(p.registers());
  for (uint32_t i = 0; i < p.inputs.size(); ++i) now[i] = i;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    ScalarStep s = p.steps[i];
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
    uint32_t& reg = now[p.inputs.size() + i];
    if (which(s.op)) {
      reg = expand_step(result, s.op, s.operand[0]);
    } else {
      result.steps.push_back(s);
      reg = result.registers() - 1;
    }
  }
  for (const uint32_t r : p.outputs) result.outputs.push_back(now[r]);
  return result;
}

}  // namespace ir

ScalarProgram expand_compounds(const ScalarProgram& program) {
  const auto is_compound = [](ScalarOp op) { return scalar_op_info(op).compound; };
  const bool narrow_compound = std::any_of(
      program.steps.begin(), program.steps.end(),
      [&](const ScalarStep& s) { return is_compound(s.op) && size_of(s.dtype) < size_of(DType::float32); });
  return simplify(ir::expand_steps(narrow_compound ? widen(program) : program, is_compound));
}

}  // namespace heddle
