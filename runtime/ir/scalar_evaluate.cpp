// The oracle of scalar programs: floats in double, integers exactly.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/element.h"
#include "ir/scalar_program.h"
#include "ir/scalar_types.h"

namespace heddle {
namespace {

using enum ScalarOp;

// The low bits of `v` as `dtype` reads them, in 64 bits.
int64_t wrap(int64_t v, DType dtype) {
  switch (dtype) {
    case DType::int8:
      return static_cast<int8_t>(v);
    case DType::int16:
      return static_cast<int16_t>(v);
    case DType::int32:
      return static_cast<int32_t>(v);
    case DType::uint8:
      return static_cast<uint8_t>(v);
    case DType::uint16:
      return static_cast<uint16_t>(v);
    case DType::uint32:
      return static_cast<uint32_t>(v);
    case DType::boolean:
      return v != 0;
    default:
      return v;
  }
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double cdf(double x) { return 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2); }
double tanh_argument(double x) {
  return std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (x + 0.044715 * x * x * x);
}
double smaller(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b); }
double larger(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b); }

double real_unary(ScalarOp op, double x) {
  switch (op) {
    case neg:
      return -x;
    case abs:
      return std::fabs(x);
    case sign:
      return std::isnan(x) ? x : static_cast<double>((x > 0) - (x < 0));
    case exp:
      return std::exp(x);
    case log:
      return std::log(x);
    case sqrt:
      return std::sqrt(x);
    case rsqrt:
      return 1 / std::sqrt(x);
    case reciprocal:
      return 1 / x;
    case sin:
      return std::sin(x);
    case cos:
      return std::cos(x);
    case tanh:
      return std::tanh(x);
    case erf:
      return std::erf(x);
    case floor:
      return std::floor(x);
    case ceil:
      return std::ceil(x);
    case round:
      return std::nearbyint(x);
    case square:
      return x * x;
    case sigmoid:
      return sigmoid_of(x);
    case relu:
      return larger(x, 0);
    case gelu_erf:
      return x * cdf(x);
    case gelu_tanh:
      return 0.5 * x * (1 + std::tanh(tanh_argument(x)));
    case silu:
      return x * sigmoid_of(x);
    case softplus:
      return larger(x, 0) + std::log1p(std::exp(-std::fabs(x)));
    case gelu_erf_grad:
      return cdf(x) + x * std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi * std::numbers::sqrt2 / 2;
    case gelu_tanh_grad: {
      const double t = std::tanh(tanh_argument(x));
      const double slope = std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (1 + 3 * 0.044715 * x * x);
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope;
    }
    case silu_grad: {
      const double s = sigmoid_of(x);
      return s * (1 + x * (1 - s));
    }
    default:
      return std::nan("");
  }
}

// a - b*floor(a/b) without rounding on the way: the sign of b, and a itself where b is infinite and of its
// sign.
double floored_remainder(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

double real_binary(ScalarOp op, double a, double b) {
  switch (op) {
    case add:
      return a + b;
    case sub:
      return a - b;
    case mul:
      return a * b;
    case div:
      return a / b;
    case pow:
      return std::pow(a, b);
    case min:
      return smaller(a, b);
    case max:
      return larger(a, b);
    case mod:
      return floored_remainder(a, b);
    default:
      return std::nan("");
  }
}

template <class T>
bool compare(ScalarOp op, T a, T b) {
  switch (op) {
    case equal:
      return a == b;
    case not_equal:
      return a != b;
    case less:
      return a < b;
    case less_equal:
      return a <= b;
    case greater:
      return a > b;
    default:
      return a >= b;
  }
}

// I: int64_t, or uint64_t for that dtype. Arithmetic is done unsigned, where overflow wraps.
template <class I>
int64_t integer_binary(ScalarOp op, I a, I b, DType dtype) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  const auto width = static_cast<uint64_t>(8 * size_of(dtype));
  const bool minus_one = std::is_signed_v<I> && b == static_cast<I>(-1);
  switch (op) {
    case add:
      return static_cast<int64_t>(ua + ub);
    case sub:
      return static_cast<int64_t>(ua - ub);
    case mul:
      return static_cast<int64_t>(ua * ub);
    case div:
      return b == 0 ? 0 : static_cast<int64_t>(minus_one ? 0 - ua : static_cast<uint64_t>(a / b));
    case mod: {
      if (b == 0 || minus_one) return 0;
      const I r = a % b;
      return static_cast<int64_t>(r != 0 && (r < 0) != (b < 0) ? r + b : r);
    }
    case min:
      return static_cast<int64_t>(std::min(a, b));
    case max:
      return static_cast<int64_t>(std::max(a, b));
    case bit_and:
    case logical_and:
      return static_cast<int64_t>(ua & ub);
    case bit_or:
    case logical_or:
      return static_cast<int64_t>(ua | ub);
    case bit_xor:
    case logical_xor:
      return static_cast<int64_t>(ua ^ ub);
    case shift_left:
      return ub < width ? static_cast<int64_t>(ua << ub) : 0;
    case shift_right:
      return static_cast<int64_t>(ub < width ? a >> ub : a < 0 ? static_cast<I>(-1) : I{0});
    default:
      return 0;
  }
}

int64_t integer_unary(ScalarOp op, int64_t x, bool is_unsigned) {
  const auto u = static_cast<uint64_t>(x);
  switch (op) {
    case neg:
      return static_cast<int64_t>(0 - u);
    case abs:
      return x < 0 && !is_unsigned ? static_cast<int64_t>(0 - u) : x;
    case sign:
      return is_unsigned ? x != 0 : (x > 0) - (x < 0);
    case square:
      return static_cast<int64_t>(u * u);
    case logical_not:
      return x == 0;
    default:
      return 0;
  }
}

ScalarSlot cast_slot(ScalarSlot v, DType from, DType to) {
  ScalarSlot r;
  if (is_float(from)) {
    if (is_float(to)) {
      r.real = ir::round_to(v.real, to);
    } else {
      r.integer = visit_dtype(to, [&]<class T>(std::type_identity<T>) -> int64_t {
        if constexpr (std::integral<T>) return static_cast<int64_t>(store_from_double<T>(v.real));
        return 0;
      });
    }
  } else if (is_float(to)) {
    r.real = visit_dtype(to, [&]<class T>(std::type_identity<T>) {
      return load_as_double(from == DType::uint64 ? convert_element<T>(static_cast<uint64_t>(v.integer))
                                                  : convert_element<T>(v.integer));
    });
  } else {
    r.integer = wrap(v.integer, to);
  }
  return r;
}

ScalarSlot evaluate_step(const ScalarStep& s, DType operand_dtype, ScalarSlot a, ScalarSlot b) {
  ScalarSlot r;
  const int operands = scalar_op_info(s.op).operands;
  if (s.op == is_nan) {
    r.integer = std::isnan(a.real);
  } else if (s.op >= equal && s.op <= greater_equal) {
    if (is_float(operand_dtype))
      r.integer = compare(s.op, a.real, b.real);
    else if (operand_dtype == DType::uint64)
      r.integer = compare(s.op, static_cast<uint64_t>(a.integer), static_cast<uint64_t>(b.integer));
    else
      r.integer = compare(s.op, a.integer, b.integer);
  } else if (is_float(operand_dtype)) {
    r.real = operands == 2 ? real_binary(s.op, a.real, b.real) : real_unary(s.op, a.real);
  } else if (operands == 2) {
    r.integer = operand_dtype == DType::uint64 ? integer_binary(s.op, static_cast<uint64_t>(a.integer),
                                                                static_cast<uint64_t>(b.integer), s.dtype)
                                               : integer_binary(s.op, a.integer, b.integer, s.dtype);
    r.integer = wrap(r.integer, s.dtype);
  } else {
    r.integer = wrap(integer_unary(s.op, a.integer, !is_signed(operand_dtype)), s.dtype);
  }
  return r;
}

}  // namespace

void evaluate(const ScalarProgram& p, const ScalarSlot* in, ScalarSlot* out,
              std::vector<ScalarSlot>& registers) {
  registers.resize(p.registers());
  std::copy_n(in, p.inputs.size(), registers.begin());
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const ScalarStep& s = p.steps[i];
    ScalarSlot& r = registers[p.inputs.size() + i];
    const auto operand = [&](int k) { return registers[s.operand[k]]; };
    switch (s.op) {
      case constant:
        if (is_float(s.dtype))
          r.real = s.value;
        else
          r.integer = s.dtype == DType::boolean ? s.value != 0 : s.integer;
        break;
      case cast:
        r = cast_slot(operand(0), p.dtype(s.operand[0]), s.dtype);
        break;
      case select:
        r = operand(0).integer != 0 ? operand(1) : operand(2);
        break;
      default:
        r = evaluate_step(s, p.dtype(s.operand[0]), operand(0), operand(scalar_op_info(s.op).operands - 1));
    }
  }
  for (size_t i = 0; i < p.outputs.size(); ++i) {
    out[i] = registers[p.outputs[i]];
    const DType d = p.dtype(p.outputs[i]);
    if (is_float(d)) out[i].real = ir::round_to(out[i].real, d);
  }
}

}  // namespace heddle
