#include "ir/scalar_program.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/element.h"
#include "heddle/error.h"
#include "ir/number_text.h"
#include "ir/scalar_types.h"

namespace heddle {
namespace {

using enum ScalarOp;

constexpr int transcendental = 8;

constexpr std::array<ScalarOpInfo, static_cast<size_t>(count_)> infos = {{
    {constant, "constant", "the attribute value", 0, false, 0},
    {cast, "cast", "x as another dtype, as the convert op does", 1, false, 1},
    {select, "select", "c ? a : b", 3, false, 1},
    {add, "add", "a + b", 2, false, 1},
    {sub, "sub", "a - b", 2, false, 1},
    {mul, "mul", "a * b", 2, false, 1},
    {div, "div", "a / b; integers truncate toward zero, and x / 0 is 0", 2, false, 1},
    {pow, "pow", "a to the power b", 2, false, 2 * transcendental},
    {min, "min", "the smaller one; NaN when either is NaN", 2, false, 1},
    {max, "max", "the larger one; NaN when either is NaN", 2, false, 1},
    {mod, "mod", "a - b * floor(a / b); integers: a mod 0 is 0", 2, false, 3},
    {bit_and, "bit_and", "a & b", 2, false, 1},
    {bit_or, "bit_or", "a | b", 2, false, 1},
    {bit_xor, "bit_xor", "a ^ b", 2, false, 1},
    {shift_left, "shift_left", "a << b; 0 when b is not in [0, width)", 2, false, 1},
    {shift_right, "shift_right", "a >> b, keeping the sign; as if shifted out when b is not in [0, width)", 2,
     false, 1},
    {logical_and, "logical_and", "a and b", 2, false, 1},
    {logical_or, "logical_or", "a or b", 2, false, 1},
    {logical_xor, "logical_xor", "a != b", 2, false, 1},
    {equal, "equal", "a == b", 2, false, 1},
    {not_equal, "not_equal", "a != b", 2, false, 1},
    {less, "less", "a < b", 2, false, 1},
    {less_equal, "less_equal", "a <= b", 2, false, 1},
    {greater, "greater", "a > b", 2, false, 1},
    {greater_equal, "greater_equal", "a >= b", 2, false, 1},
    {neg, "neg", "-x", 1, false, 1},
    {abs, "abs", "|x|", 1, false, 1},
    {sign, "sign", "-1, 0 or 1; NaN for NaN", 1, false, 1},
    {exp, "exp", "e^x", 1, false, transcendental},
    {log, "log", "ln x", 1, false, transcendental},
    {sqrt, "sqrt", "x^(1/2)", 1, false, 1},
    {rsqrt, "rsqrt", "x^(-1/2)", 1, false, 2},
    {reciprocal, "reciprocal", "1 / x", 1, false, 1},
    {sin, "sin", "sin x", 1, false, transcendental},
    {cos, "cos", "cos x", 1, false, transcendental},
    {tanh, "tanh", "tanh x", 1, false, transcendental},
    {erf, "erf", "2/sqrt(pi) * integral of exp(-t^2) from 0 to x", 1, false, transcendental},
    {floor, "floor", "the largest integer not above x", 1, false, 1},
    {ceil, "ceil", "the smallest integer not below x", 1, false, 1},
    {round, "round", "the nearest integer, halves to even", 1, false, 1},
    {square, "square", "x * x", 1, false, 1},
    {sigmoid, "sigmoid", "1 / (1 + exp(-x))", 1, false, transcendental + 2},
    {logical_not, "logical_not", "not x", 1, false, 1},
    {is_nan, "is_nan", "x != x", 1, false, 1},
    {relu, "relu", "max(x, 0)", 1, true, 1},
    {gelu_erf, "gelu_erf", "x * (1 + erf(x / sqrt(2))) / 2", 1, true, transcendental + 4},
    {gelu_tanh, "gelu_tanh", "x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2", 1, true,
     transcendental + 8},
    {silu, "silu", "x * sigmoid(x)", 1, true, transcendental + 3},
    {softplus, "softplus", "max(x, 0) + ln(1 + exp(-|x|))", 1, true, 2 * transcendental + 4},
    {gelu_erf_grad, "gelu_erf_grad", "d gelu_erf / dx", 1, true, 2 * transcendental + 7},
    {gelu_tanh_grad, "gelu_tanh_grad", "d gelu_tanh / dx", 1, true, transcendental + 14},
    {silu_grad, "silu_grad", "d silu / dx", 1, true, transcendental + 6},
}};

constexpr bool in_order() {
  for (size_t i = 0; i < infos.size(); ++i)
    if (infos[i].op != static_cast<ScalarOp>(i)) return false;
  return true;
}
static_assert(in_order(), "a ScalarOpInfo for every ScalarOp, in the order of the enum");

}  // namespace

const ScalarOpInfo& scalar_op_info(ScalarOp op) {
  if (op >= count_)
    throw Error(ErrorCode::invalid_argument, "there is no scalar step " + number_text(static_cast<int>(op)));
  return infos[static_cast<size_t>(op)];
}

std::span<const ScalarOpInfo> all_scalar_ops() { return infos; }

const ScalarOpInfo* find_scalar_op(std::string_view name) {
  const auto at =
      std::find_if(infos.begin(), infos.end(), [&](const ScalarOpInfo& i) { return name == i.name; });
  return at == infos.end() ? nullptr : &*at;
}

uint32_t ScalarProgram::input(DType input_dtype) {
  if (!steps.empty())
    throw Error(ErrorCode::invalid_argument, "a scalar program declares its inputs before its steps");
  inputs.push_back(input_dtype);
  return registers() - 1;
}

namespace {

uint32_t append(ScalarProgram& p, ScalarOp op, std::span<const uint32_t> operands) {
  const ScalarOpInfo& info = scalar_op_info(op);
  if (static_cast<size_t>(info.operands) != operands.size() || op == cast || op == constant) {
    throw Error(ErrorCode::invalid_argument, std::string("scalar step ") + info.name + " takes " +
                                                 number_text(info.operands) + " operands, but got " +
                                                 number_text(operands.size()));
  }
  ScalarStep step{op, DType::float32, {0, 0, 0}, 0, 0};
  std::array<DType, 3> dtypes{};
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] >= p.registers()) {
      throw Error(ErrorCode::invalid_argument, std::string("scalar step ") + info.name + " reads register %" +
                                                   number_text(operands[i]) + ", which is not defined yet");
    }
    step.operand[i] = operands[i];
    dtypes[i] = p.dtype(operands[i]);
  }
  step.dtype = ir::step_dtype(op, {dtypes.data(), operands.size()});
  p.steps.push_back(step);
  return p.registers() - 1;
}

}  // namespace

uint32_t ScalarProgram::add(ScalarOp op, uint32_t a) { return append(*this, op, std::array{a}); }
uint32_t ScalarProgram::add(ScalarOp op, uint32_t a, uint32_t b) {
  return append(*this, op, std::array{a, b});
}
uint32_t ScalarProgram::select(uint32_t condition, uint32_t when_true, uint32_t when_false) {
  return append(*this, ScalarOp::select, std::array{condition, when_true, when_false});
}

uint32_t ScalarProgram::cast(uint32_t a, DType to) {
  if (a >= registers())
    throw Error(ErrorCode::invalid_argument, "scalar step cast reads an undefined register");
  if (dtype(a) == to) return a;
  steps.push_back({ScalarOp::cast, to, {a, 0, 0}, 0, 0});
  return registers() - 1;
}

uint32_t ScalarProgram::constant(double value, DType constant_dtype) {
  steps.push_back(ir::constant_step(value, constant_dtype));
  return registers() - 1;
}

std::string to_string(const ScalarProgram& p) {
  std::string text = "(";
  for (size_t i = 0; i < p.inputs.size(); ++i)
    text += (i > 0 ? ", %" : "%") + number_text(i) + ": " + dtype_name(p.inputs[i]);
  text += ") { ";
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const ScalarStep& s = p.steps[i];
    const ScalarOpInfo& info = scalar_op_info(s.op);
    text += "%" + number_text(p.inputs.size() + i) + " = " + info.name;
    if (s.op == constant || s.op == cast) text += std::string(" ") + dtype_name(s.dtype);
    if (s.op == constant) {
      text += " ";
      if (s.dtype == DType::uint64)
        text += number_text(static_cast<uint64_t>(s.integer));
      else if (is_integer(s.dtype))
        text += number_text(s.integer);
      else if (s.dtype == DType::boolean)
        text += s.value != 0 ? "true" : "false";
      else
        text += number_text(s.value);
    }
    for (int k = 0; k < info.operands; ++k) text += " %" + number_text(s.operand[k]);
    text += "; ";
  }
  text += "return";
  for (size_t i = 0; i < p.outputs.size(); ++i) text += (i > 0 ? ", %" : " %") + number_text(p.outputs[i]);
  return text + " }";
}

const ScalarStep* only_step(const ScalarProgram& p) {
  const ScalarStep* only = nullptr;
  for (const ScalarStep& s : p.steps) {
    if (s.op == constant) continue;
    if (only != nullptr) return nullptr;
    only = &s;
  }
  if (only == nullptr || p.outputs.size() != 1) return nullptr;
  const auto reg = p.inputs.size() + static_cast<size_t>(only - p.steps.data());
  return p.outputs[0] == reg ? only : nullptr;
}

void validate(const ScalarProgram& p) {
  const auto known_dtype = [](DType d) { return d >= DType::float64 && d <= DType::boolean; };
  for (const DType d : p.inputs)
    if (!known_dtype(d))
      throw Error(ErrorCode::dtype_mismatch, "a scalar program has an input of no known dtype");
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const ScalarStep& s = p.steps[i];
    const ScalarOpInfo& info = scalar_op_info(s.op);
    const std::string where = "scalar step %" + number_text(p.inputs.size() + i) + " (" + info.name + ")";
    if (!known_dtype(s.dtype)) throw Error(ErrorCode::dtype_mismatch, where + " has no known dtype");
    std::array<DType, 3> dtypes{};
    for (int k = 0; k < info.operands; ++k) {
      if (s.operand[k] >= p.inputs.size() + i) {
        throw Error(ErrorCode::invalid_argument,
                    where + " reads register %" + number_text(s.operand[k]) + ", which is not defined yet");
      }
      dtypes[static_cast<size_t>(k)] = p.dtype(s.operand[k]);
    }
    if (s.op == constant || s.op == cast) continue;
    const DType expected = ir::step_dtype(s.op, {dtypes.data(), static_cast<size_t>(info.operands)});
    if (expected != s.dtype) {
      throw Error(ErrorCode::dtype_mismatch,
                  where + " is declared " + dtype_name(s.dtype) + ", but computes " + dtype_name(expected));
    }
  }
  for (const uint32_t r : p.outputs) {
    if (r >= p.registers())
      throw Error(ErrorCode::invalid_argument,
                  "a scalar program returns the undefined register %" + number_text(r));
  }
}

namespace ir {

DType step_dtype(ScalarOp op, std::span<const DType> operands) {
  const auto refuse = [&](const std::string& text) {
    std::string got;
    for (const DType d : operands) got += (got.empty() ? "" : ", ") + std::string(dtype_name(d));
    return Error(ErrorCode::dtype_mismatch,
                 std::string(scalar_op_info(op).name) + ": " + text + ", but got " + got);
  };
  if (op == select) {
    if (operands[0] != DType::boolean) throw refuse("the condition must be bool; use a comparison");
    if (operands[1] != operands[2]) throw refuse("both branches must have one dtype; use convert");
    return operands[1];
  }
  const DType d = operands[0];
  if (operands.size() == 2 && operands[1] != d)
    throw refuse("both operands must have one dtype; use convert");
  switch (op) {
    case add:
    case sub:
    case mul:
    case div:
    case mod:
    case neg:
    case abs:
    case sign:
    case square:
      if (d == DType::boolean) throw refuse("needs numbers; use convert or a logical op");
      return d;
    case min:
    case max:
      return d;
    case bit_and:
    case bit_or:
    case bit_xor:
    case shift_left:
    case shift_right:
      if (!is_integer(d)) throw refuse("needs integers");
      return d;
    case logical_and:
    case logical_or:
    case logical_xor:
    case logical_not:
      if (d != DType::boolean) throw refuse("needs bool; use a comparison or convert");
      return d;
    case equal:
    case not_equal:
    case less:
    case less_equal:
    case greater:
    case greater_equal:
      return DType::boolean;
    case is_nan:
      if (!is_float(d)) throw refuse("needs floats");
      return DType::boolean;
    default:
      if (!is_float(d)) throw refuse("needs floats; use convert");
      return d;
  }
}

double round_to(double value, DType dtype) {
  return visit_dtype(
      dtype, [&]<class T>(std::type_identity<T>) { return load_as_double(store_from_double<T>(value)); });
}

ScalarStep constant_step(double value, DType dtype) {
  ScalarStep step{ScalarOp::constant, dtype, {0, 0, 0}, 0, 0};
  if (!is_integer(dtype)) {
    step.value = round_to(value, dtype);
    return step;
  }
  step.integer = visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> int64_t {
    const T stored = store_from_double<T>(value);
    if (load_as_double(stored) != value) {
      throw Error(ErrorCode::invalid_argument,
                  "the constant " + number_text(value) + " is no " + dtype_name(dtype));
    }
    if constexpr (std::integral<T>) return static_cast<int64_t>(stored);
    return 0;
  });
  return step;
}

}  // namespace ir
}  // namespace heddle
