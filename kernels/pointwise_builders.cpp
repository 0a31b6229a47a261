// The functions of heddle/ops/pointwise.h: each makes a pointwise node of one step.
#include <array>

#include "heddle/ops/pointwise.h"
#include "kernels/pointwise.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

// An operand: a value, or a number that becomes a constant step.
struct Operand {
  Operand(Value v) : value(v) {}                     // NOLINT
  Operand(double n) : number(n), is_number(true) {}  // NOLINT
  Value value;
  double number = 0;
  bool is_number = false;
};

template <size_t n>
Value step(ScalarOp op, const std::array<Operand, n>& operands) {
  const char* name = scalar_op_info(op).name;
  std::vector<Value> values;
  ScalarProgram program;
  std::array<uint32_t, n> reg{};
  DType number_dtype = DType::float32;
  for (size_t i = 0; i < n; ++i) {
    const bool condition = op == ScalarOp::select && i == 0;
    if (operands[i].is_number) continue;
    if (!operands[i].value)
      refuse_argument(std::string(name) + ": operand " + std::to_string(i) + " is no value");
    reg[i] = program.input(operands[i].value.dtype());
    values.push_back(operands[i].value);
    if (!condition) number_dtype = operands[i].value.dtype();
  }
  try {
    for (size_t i = 0; i < n; ++i)
      if (operands[i].is_number) reg[i] = program.constant(operands[i].number, number_dtype);
    uint32_t result = 0;
    if constexpr (n == 1) result = program.add(op, reg[0]);
    if constexpr (n == 2) result = program.add(op, reg[0], reg[1]);
    if constexpr (n == 3) result = program.select(reg[0], reg[1], reg[2]);
    program.outputs = {result};
  } catch (const Error& e) {
    std::string text = std::string(name) + " (";
    for (const Value& v : values)
      text += (text.back() == '(' ? "" : ", ") + v.name() + ": " + to_string(ValueType{v.dtype(), v.dims()});
    // The rule of the step names the step as well.
    const std::string said = e.what(), again = std::string(name) + ": ";
    refuse(e.code(), text + "): " + (said.starts_with(again) ? said.substr(again.size()) : said));
  }
  return pointwise(values[0].graph(), std::move(program), values)[0];
}

Value unary(ScalarOp op, Value x) { return step<1>(op, {x}); }
Value binary(ScalarOp op, Operand a, Operand b) { return step<2>(op, {a, b}); }

}  // namespace

Value add(Value a, Value b) { return binary(ScalarOp::add, a, b); }
Value add(Value a, double b) { return binary(ScalarOp::add, a, b); }
Value sub(Value a, Value b) { return binary(ScalarOp::sub, a, b); }
Value sub(Value a, double b) { return binary(ScalarOp::sub, a, b); }
Value sub(double a, Value b) { return binary(ScalarOp::sub, a, b); }
Value mul(Value a, Value b) { return binary(ScalarOp::mul, a, b); }
Value mul(Value a, double b) { return binary(ScalarOp::mul, a, b); }
Value div(Value a, Value b) { return binary(ScalarOp::div, a, b); }
Value div(Value a, double b) { return binary(ScalarOp::div, a, b); }
Value div(double a, Value b) { return binary(ScalarOp::div, a, b); }
Value mod(Value a, Value b) { return binary(ScalarOp::mod, a, b); }
Value mod(Value a, double b) { return binary(ScalarOp::mod, a, b); }
Value minimum(Value a, Value b) { return binary(ScalarOp::min, a, b); }
Value minimum(Value a, double b) { return binary(ScalarOp::min, a, b); }
Value maximum(Value a, Value b) { return binary(ScalarOp::max, a, b); }
Value maximum(Value a, double b) { return binary(ScalarOp::max, a, b); }
Value pow(Value a, Value b) { return binary(ScalarOp::pow, a, b); }
Value pow(Value a, double b) { return binary(ScalarOp::pow, a, b); }

Value equal(Value a, Value b) { return binary(ScalarOp::equal, a, b); }
Value equal(Value a, double b) { return binary(ScalarOp::equal, a, b); }
Value not_equal(Value a, Value b) { return binary(ScalarOp::not_equal, a, b); }
Value not_equal(Value a, double b) { return binary(ScalarOp::not_equal, a, b); }
Value less(Value a, Value b) { return binary(ScalarOp::less, a, b); }
Value less(Value a, double b) { return binary(ScalarOp::less, a, b); }
Value less_equal(Value a, Value b) { return binary(ScalarOp::less_equal, a, b); }
Value less_equal(Value a, double b) { return binary(ScalarOp::less_equal, a, b); }
Value greater(Value a, Value b) { return binary(ScalarOp::greater, a, b); }
Value greater(Value a, double b) { return binary(ScalarOp::greater, a, b); }
Value greater_equal(Value a, Value b) { return binary(ScalarOp::greater_equal, a, b); }
Value greater_equal(Value a, double b) { return binary(ScalarOp::greater_equal, a, b); }

Value logical_and(Value a, Value b) { return binary(ScalarOp::logical_and, a, b); }
Value logical_or(Value a, Value b) { return binary(ScalarOp::logical_or, a, b); }
Value logical_xor(Value a, Value b) { return binary(ScalarOp::logical_xor, a, b); }
Value bit_and(Value a, Value b) { return binary(ScalarOp::bit_and, a, b); }
Value bit_or(Value a, Value b) { return binary(ScalarOp::bit_or, a, b); }
Value bit_xor(Value a, Value b) { return binary(ScalarOp::bit_xor, a, b); }
Value shift_left(Value a, Value b) { return binary(ScalarOp::shift_left, a, b); }
Value shift_right(Value a, Value b) { return binary(ScalarOp::shift_right, a, b); }

Value select(Value condition, Value when_true, Value when_false) {
  return step<3>(ScalarOp::select, {condition, when_true, when_false});
}
Value select(Value condition, Value when_true, double when_false) {
  return step<3>(ScalarOp::select, {condition, when_true, when_false});
}
Value select(Value condition, double when_true, Value when_false) {
  return step<3>(ScalarOp::select, {condition, when_true, when_false});
}

Value operator-(Value x) { return neg(x); }
Value logical_not(Value x) { return unary(ScalarOp::logical_not, x); }
Value neg(Value x) { return unary(ScalarOp::neg, x); }
Value abs(Value x) { return unary(ScalarOp::abs, x); }
Value sign(Value x) { return unary(ScalarOp::sign, x); }
Value square(Value x) { return unary(ScalarOp::square, x); }
Value exp(Value x) { return unary(ScalarOp::exp, x); }
Value log(Value x) { return unary(ScalarOp::log, x); }
Value sqrt(Value x) { return unary(ScalarOp::sqrt, x); }
Value rsqrt(Value x) { return unary(ScalarOp::rsqrt, x); }
Value reciprocal(Value x) { return unary(ScalarOp::reciprocal, x); }
Value sin(Value x) { return unary(ScalarOp::sin, x); }
Value cos(Value x) { return unary(ScalarOp::cos, x); }
Value tanh(Value x) { return unary(ScalarOp::tanh, x); }
Value erf(Value x) { return unary(ScalarOp::erf, x); }
Value floor(Value x) { return unary(ScalarOp::floor, x); }
Value ceil(Value x) { return unary(ScalarOp::ceil, x); }
Value round(Value x) { return unary(ScalarOp::round, x); }
Value is_nan(Value x) { return unary(ScalarOp::is_nan, x); }
Value sigmoid(Value x) { return unary(ScalarOp::sigmoid, x); }
Value relu(Value x) { return unary(ScalarOp::relu, x); }
Value silu(Value x) { return unary(ScalarOp::silu, x); }
Value softplus(Value x) { return unary(ScalarOp::softplus, x); }
Value clamp(Value x, double low, double high) {
  if (!(low <= high)) {
    refuse_argument("clamp: the lower bound " + std::to_string(low) + " is above the upper bound " +
                    std::to_string(high));
  }
  return minimum(maximum(x, low), high);
}
Value gelu(Value x, bool approximate) {
  return unary(approximate ? ScalarOp::gelu_tanh : ScalarOp::gelu_erf, x);
}

}  // namespace heddle
