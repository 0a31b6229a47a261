#include "ir/scalar_error.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "heddle/dtype.h"

namespace heddle {
namespace {

using enum ScalarOp;

double arithmetic_roundoff(DType d) { return unit_roundoff(d == DType::float64 ? d : DType::float32); }

// |df/da| * ea + |df/db| * eb for y = f(a, b).
double carried(ScalarOp op, double y, double a, double b, double ea, double eb) {
  switch (op) {
    case add:
    case sub:
      return ea + eb;
    case mul:
      return std::fabs(b) * ea + std::fabs(a) * eb;
    case div:
      return (ea + std::fabs(y) * eb) / std::fabs(b);
    case pow:
      return std::fabs(y) *
             ((ea > 0 ? std::fabs(b / a) * ea : 0) + (eb > 0 ? std::fabs(std::log(a)) * eb : 0));
    case min:
    case max:
      return std::max(ea, eb);
    case mod:
      return ea + std::fabs(std::floor(a / b)) * eb;
    case sign:
      return 0;
    case exp:
      return std::fabs(y) * ea;
    case log:
      return ea / std::fabs(a);
    case sqrt:
      return ea > 0 ? 0.5 * ea / std::fabs(y) : 0;
    case rsqrt:
      return 0.5 * std::fabs(y * y * y) * ea;
    case reciprocal:
      return y * y * ea;
    case sin:
      return std::fabs(std::cos(a)) * ea;
    case cos:
      return std::fabs(std::sin(a)) * ea;
    case tanh:
      return std::fabs(1 - y * y) * ea;
    case erf:
      return 2 * std::numbers::inv_sqrtpi * std::exp(-a * a) * ea;
    case square:
      return 2 * std::fabs(a) * ea;
    case sigmoid:
      return std::fabs(y * (1 - y)) * ea;
    default:
      return ea;  // neg, abs, floor, ceil, round
  }
}

// The step's own rounding in units of its arithmetic.
double own(ScalarOp op, double y, double a, double b) {
  switch (op) {
    case neg:
    case abs:
    case sign:
    case min:
    case max:
    case floor:
    case ceil:
    case round:
      return 0;
    case sin:
    case cos:
      // Near a zero, an error of the reduced argument counts, not the small result.
      return std::max(std::fabs(y), std::min(1.0, std::fabs(a)));
    case pow:
      // exp(b log a): an error of the exponent is one of the result as many times as the exponent is large.
      return std::fabs(y) * (1 + std::fabs(b * std::log(std::fabs(a))));
    case mod:
      return std::fabs(y) + 2 * std::fabs(a);
    default:
      return std::fabs(y);
  }
}

}  // namespace

ScalarErrorBound::ScalarErrorBound(const ScalarProgram& program) : program_(expand_compounds(program)) {
  outputs_ = program_.outputs;
  program_.outputs.clear();
  error_.resize(program_.registers());
}

void ScalarErrorBound::operator()(const ScalarSlot* in, double first_error, double* out) {
  const ScalarProgram& p = program_;
  evaluate(p, in, nullptr, registers_);  // no outputs: only the registers are wanted
  std::fill_n(error_.begin(), p.inputs.size(), 0.0);
  if (!p.inputs.empty()) error_[0] = first_error;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const ScalarStep& s = p.steps[i];
    const size_t reg = p.inputs.size() + i;
    double& error = error_[reg];
    error = 0;
    if (!is_float(s.dtype)) continue;
    const double y = registers_[reg].real, unit = arithmetic_roundoff(s.dtype);
    const int operands = scalar_op_info(s.op).operands;
    const uint32_t a = s.operand[0], b = s.operand[std::max(operands - 1, 0)];
    if (s.op == constant) {
      error = unit * std::fabs(y);  // those of expansions are rounded
    } else if (s.op == cast) {
      error = error_[a] + std::max(unit, unit_roundoff(s.dtype)) * std::fabs(y);
    } else if (s.op == ScalarOp::select) {
      error = error_[registers_[a].integer != 0 ? s.operand[1] : s.operand[2]];
    } else {
      const double va = registers_[a].real, vb = registers_[b].real;
      error = carried(s.op, y, va, vb, error_[a], error_[b]) + unit * own(s.op, y, va, vb);
    }
    // 0 * infinity: the value is lost anyway, and the comparison is then about NaN and infinities.
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const DType d = p.dtype(outputs_[i]);
    out[i] = is_float(d) ? error_[outputs_[i]] / arithmetic_roundoff(d) : 0;
  }
}

}  // namespace heddle
