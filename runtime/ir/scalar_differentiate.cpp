// Reverse-mode differentiation of scalar programs.
#include <numbers>
#include <optional>

#include "heddle/error.h"
#include "ir/number_text.h"
#include "ir/scalar_expand.h"

namespace heddle {
namespace {

using enum ScalarOp;

bool is_gradient_step(ScalarOp op) { return op == gelu_erf_grad || op == gelu_tanh_grad || op == silu_grad; }

class Adjoints {
 public:
  Adjoints(ScalarProgram& program, std::vector<bool> needed)
      : p_(program), needed_(std::move(needed)), adjoint_(needed_.size()) {}

  std::optional<uint32_t> of(uint32_t reg) const { return adjoint_[reg]; }
  bool needs(uint32_t reg) const { return needed_[reg]; }
  void accumulate(uint32_t reg, uint32_t contribution) {
    if (!needed_[reg]) return;
    adjoint_[reg] = adjoint_[reg] ? p_.add(add, *adjoint_[reg], contribution) : contribution;
  }
  // Adds what step `s`, whose result is register `y` and whose adjoint is `g`, gives its operands.
  void propagate(const ScalarStep& s, uint32_t y, uint32_t g);

 private:
  uint32_t number(double v, uint32_t like) { return p_.constant(v, p_.dtype(like)); }
  void binary(const ScalarStep& s, uint32_t y, uint32_t g);
  uint32_t unary(ScalarOp op, uint32_t x, uint32_t y, uint32_t g);

  ScalarProgram& p_;
  std::vector<bool> needed_;
  std::vector<std::optional<uint32_t>> adjoint_;
};

void Adjoints::binary(const ScalarStep& s, uint32_t y, uint32_t g) {
  const uint32_t a = s.operand[0], b = s.operand[1];
  switch (s.op) {
    case add:
      accumulate(a, g);
      return accumulate(b, g);
    case sub:
      accumulate(a, g);
      if (needs(b)) accumulate(b, p_.add(neg, g));
      return;
    case mul:
      if (needs(a)) accumulate(a, p_.add(mul, g, b));
      if (needs(b)) accumulate(b, p_.add(mul, g, a));
      return;
    case div: {
      const uint32_t da = p_.add(div, g, b);
      accumulate(a, da);
      if (needs(b)) accumulate(b, p_.add(neg, p_.add(mul, da, y)));
      return;
    }
    case pow: {  // 0 where the exponent (or, for d/db, the base) is 0: the limits, as PyTorch has them
      const uint32_t zero = number(0, a);
      if (needs(a)) {
        const uint32_t power = p_.add(pow, a, p_.add(sub, b, number(1, b)));
        accumulate(a, p_.select(p_.add(equal, b, zero), zero, p_.add(mul, p_.add(mul, g, b), power)));
      }
      if (needs(b)) {
        const uint32_t at_zero = p_.add(logical_and, p_.add(equal, a, zero), p_.add(greater_equal, b, zero));
        accumulate(b, p_.select(at_zero, zero, p_.add(mul, p_.add(mul, g, y), p_.add(log, a))));
      }
      return;
    }
    case min:
    case max: {  // equal operands share the gradient evenly
      const uint32_t zero = number(0, g),
                     shared = p_.select(p_.add(equal, a, b), p_.add(mul, g, number(0.5, g)), g);
      const uint32_t a_less = p_.add(less, a, b), b_less = p_.add(less, b, a);
      if (needs(a)) accumulate(a, p_.select(s.op == max ? a_less : b_less, zero, shared));
      if (needs(b)) accumulate(b, p_.select(s.op == max ? b_less : a_less, zero, shared));
      return;
    }
    case mod:
      accumulate(a, g);
      if (needs(b)) accumulate(b, p_.add(neg, p_.add(mul, g, p_.add(floor, p_.add(div, a, b)))));
      return;
    default:
      return;
  }
}

uint32_t Adjoints::unary(ScalarOp op, uint32_t x, uint32_t y, uint32_t g) {
  const auto one_minus = [&](uint32_t v) { return p_.add(sub, number(1, v), v); };
  switch (op) {
    case neg:
      return p_.add(neg, g);
    case abs:
      return p_.add(mul, g, p_.add(sign, x));
    case exp:
      return p_.add(mul, g, y);
    case log:
      return p_.add(div, g, x);
    case sqrt:
      return p_.add(div, p_.add(mul, g, number(0.5, g)), y);
    case rsqrt:
      return p_.add(mul, p_.add(mul, g, number(-0.5, g)), p_.add(mul, y, p_.add(square, y)));
    case reciprocal:
      return p_.add(neg, p_.add(mul, g, p_.add(square, y)));
    case sin:
      return p_.add(mul, g, p_.add(cos, x));
    case cos:
      return p_.add(neg, p_.add(mul, g, p_.add(sin, x)));
    case tanh:
      return p_.add(mul, g, one_minus(p_.add(square, y)));
    case erf: {
      const uint32_t bell = p_.add(exp, p_.add(neg, p_.add(square, x)));
      return p_.add(mul, p_.add(mul, g, number(2 * std::numbers::inv_sqrtpi, g)), bell);
    }
    case square:
      return p_.add(mul, p_.add(mul, g, number(2, g)), x);
    case sigmoid:
      return p_.add(mul, g, p_.add(mul, y, one_minus(y)));
    case relu:
      return p_.select(p_.add(greater, x, number(0, x)), g, number(0, g));
    case gelu_erf:
      return p_.add(mul, g, p_.add(gelu_erf_grad, x));
    case gelu_tanh:
      return p_.add(mul, g, p_.add(gelu_tanh_grad, x));
    case silu:
      return p_.add(mul, g, p_.add(silu_grad, x));
    case softplus:
      return p_.add(mul, g, p_.add(sigmoid, x));
    default:
      return number(0, x);  // sign, floor, ceil, round: flat almost everywhere
  }
}

void Adjoints::propagate(const ScalarStep& s, uint32_t y, uint32_t g) {
  if (s.op == constant) return;
  if (s.op == cast) {
    if (needs(s.operand[0])) accumulate(s.operand[0], p_.cast(g, p_.dtype(s.operand[0])));
  } else if (s.op == select) {
    const uint32_t zero = number(0, g);
    if (needs(s.operand[1])) accumulate(s.operand[1], p_.select(s.operand[0], g, zero));
    if (needs(s.operand[2])) accumulate(s.operand[2], p_.select(s.operand[0], zero, g));
  } else if (scalar_op_info(s.op).operands == 2) {
    binary(s, y, g);
  } else if (needs(s.operand[0])) {
    accumulate(s.operand[0], unary(s.op, s.operand[0], y, g));
  }
}

}  // namespace

ScalarProgram differentiate(const ScalarProgram& program, std::span<const uint32_t> wrt) {
  for (const uint32_t i : wrt) {
    if (i >= program.inputs.size() || !is_float(program.inputs[i])) {
      throw Error(ErrorCode::invalid_argument,
                  "input " + number_text(i) + " of a scalar program is not a float, so it has no gradient");
    }
  }
  // In float32 at least, so that constants keep their digits. The derivatives of derivative steps come from
  // their expansions.
  const ScalarProgram forward = ir::expand_steps(widen(program), is_gradient_step);
  const auto n_in = static_cast<uint32_t>(forward.inputs.size());
  const auto n_out = static_cast<uint32_t>(forward.outputs.size());
  const auto shifted = [&](uint32_t r) { return r < n_in ? r : r + n_out; };

  ScalarProgram result;
  result.inputs = forward.inputs;
  for (const uint32_t r : forward.outputs) result.inputs.push_back(forward.dtype(r));
  std::vector<bool> needed(n_in + n_out + forward.steps.size(), false);
  for (const uint32_t i : wrt) needed[i] = true;
  for (ScalarStep s : forward.steps) {
    const auto reg = result.registers();
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) {
      s.operand[k] = shifted(s.operand[k]);
      if (is_float(s.dtype) && needed[s.operand[k]]) needed[reg] = true;
    }
    result.steps.push_back(s);
  }
  const std::vector<ScalarStep> steps = result.steps;
  Adjoints adjoints(result, needed);
  for (uint32_t i = 0; i < n_out; ++i) adjoints.accumulate(shifted(forward.outputs[i]), n_in + i);
  for (size_t i = steps.size(); i-- > 0;) {
    const auto reg = static_cast<uint32_t>(n_in + n_out + i);
    if (const auto g = adjoints.of(reg)) adjoints.propagate(steps[i], reg, *g);
  }
  for (const uint32_t i : wrt) {
    const auto g = adjoints.of(i);
    result.outputs.push_back(g ? *g : result.constant(0, result.inputs[i]));
  }
  return simplify(result);
}

}  // namespace heddle
