// The oracle of scalar programs against C++'s own arithmetic and values from tables.
#include <cmath>
#include <limits>

#include "core/element.h"
#include "ir/scalar_program.h"
#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

double real(ScalarOp op, std::initializer_list<double> operands, DType dtype = f64) {
  ScalarProgram p;
  std::vector<ScalarSlot> in;
  for (const double v : operands) {
    p.input(dtype);
    in.push_back({.real = v});
  }
  p.outputs = {operands.size() == 1 ? p.add(op, 0) : p.add(op, 0, 1)};
  const ScalarSlot out = evaluate(p, in)[0];
  return is_float(p.dtype(p.outputs[0])) ? out.real : static_cast<double>(out.integer);
}

int64_t integer(ScalarOp op, DType dtype, std::initializer_list<int64_t> operands) {
  ScalarProgram p;
  std::vector<ScalarSlot> in;
  for (const int64_t v : operands) {
    p.input(dtype);
    ScalarSlot slot;
    slot.integer = v;
    in.push_back(slot);
  }
  p.outputs = {operands.size() == 1 ? p.add(op, 0) : p.add(op, 0, 1)};
  return evaluate(p, in)[0].integer;
}

// What the step is for a type of C++, with the overflow rules of the contract.
template <class T>
int64_t expected(ScalarOp op, T a, T b) {
  using U = std::make_unsigned_t<T>;
  const auto ua = static_cast<uint64_t>(static_cast<U>(a)), ub = static_cast<uint64_t>(static_cast<U>(b));
  const int width = 8 * static_cast<int>(sizeof(T));
  const bool out_of_range = b < 0 || std::cmp_greater_equal(b, width);
  switch (op) {
    case ScalarOp::add:
      return static_cast<T>(ua + ub);
    case ScalarOp::sub:
      return static_cast<T>(ua - ub);
    case ScalarOp::mul:
      return static_cast<T>(ua * ub);
    case ScalarOp::div:
      if (b == 0) return 0;
      return std::is_signed_v<T> && b == static_cast<T>(-1) ? static_cast<T>(0 - ua) : static_cast<T>(a / b);
    case ScalarOp::mod: {
      if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
      const auto r = static_cast<T>(a % b);
      return static_cast<T>(r != 0 && (r < 0) != (b < 0) ? r + b : r);
    }
    case ScalarOp::min:
      return static_cast<int64_t>(std::min(a, b));
    case ScalarOp::max:
      return static_cast<int64_t>(std::max(a, b));
    case ScalarOp::bit_and:
      return static_cast<T>(a & b);
    case ScalarOp::bit_or:
      return static_cast<T>(a | b);
    case ScalarOp::bit_xor:
      return static_cast<T>(a ^ b);
    case ScalarOp::shift_left:
      return out_of_range ? 0 : static_cast<T>(ua << b);
    case ScalarOp::shift_right:
      return out_of_range ? (a < 0 ? -1 : 0) : static_cast<T>(a >> b);
    case ScalarOp::equal:
      return a == b;
    case ScalarOp::not_equal:
      return a != b;
    case ScalarOp::less:
      return a < b;
    case ScalarOp::less_equal:
      return a <= b;
    case ScalarOp::greater:
      return a > b;
    case ScalarOp::greater_equal:
      return a >= b;
    default:
      return 0;
  }
}

}  // namespace

TEST_CASE("integer steps wrap to their width like C++'s, for every integer dtype") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto check = [&]<class T>(std::type_identity<T>) {
    std::vector<T> values = {0,
                             1,
                             2,
                             3,
                             static_cast<T>(-1),
                             static_cast<T>(-2),
                             std::numeric_limits<T>::min(),
                             std::numeric_limits<T>::max()};
    for (int i = 0; i < 8; ++i) values.push_back(static_cast<T>(random()));
    for (const ScalarOpInfo& info : all_scalar_ops()) {
      if (info.operands != 2 || info.op == ScalarOp::pow || info.op == ScalarOp::logical_and ||
          info.op == ScalarOp::logical_or || info.op == ScalarOp::logical_xor)
        continue;
      for (const T a : values) {
        for (const T b : values) {
          CAPTURE(info.name, dtype_name(dtype_of<T>), +a, +b);
          CHECK(integer(info.op, dtype_of<T>, {static_cast<int64_t>(a), static_cast<int64_t>(b)}) ==
                expected<T>(info.op, a, b));
        }
      }
    }
    for (const T a : values) {
      CAPTURE(dtype_name(dtype_of<T>), +a);
      const auto u = static_cast<uint64_t>(a);
      CHECK(integer(ScalarOp::neg, dtype_of<T>, {static_cast<int64_t>(a)}) ==
            static_cast<int64_t>(static_cast<T>(0 - u)));
      CHECK(integer(ScalarOp::abs, dtype_of<T>, {static_cast<int64_t>(a)}) ==
            static_cast<int64_t>(a < 0 ? static_cast<T>(0 - u) : a));
      CHECK(integer(ScalarOp::square, dtype_of<T>, {static_cast<int64_t>(a)}) ==
            static_cast<int64_t>(static_cast<T>(u * u)));
      CHECK(integer(ScalarOp::sign, dtype_of<T>, {static_cast<int64_t>(a)}) == (a > 0 ? 1 : a < 0 ? -1 : 0));
    }
  };
  check(std::type_identity<int8_t>{});
  check(std::type_identity<int16_t>{});
  check(std::type_identity<int32_t>{});
  check(std::type_identity<int64_t>{});
  check(std::type_identity<uint8_t>{});
  check(std::type_identity<uint16_t>{});
  check(std::type_identity<uint32_t>{});
  check(std::type_identity<uint64_t>{});
}

TEST_CASE("bool steps") {
  for (const int64_t a : {0, 1}) {
    CHECK(integer(ScalarOp::logical_not, boolean, {a}) == !a);
    for (const int64_t b : {0, 1}) {
      CHECK(integer(ScalarOp::logical_and, boolean, {a, b}) == (a && b));
      CHECK(integer(ScalarOp::logical_or, boolean, {a, b}) == (a || b));
      CHECK(integer(ScalarOp::logical_xor, boolean, {a, b}) == (a != b));
      CHECK(integer(ScalarOp::less, boolean, {a, b}) == (a < b));
      CHECK(integer(ScalarOp::max, boolean, {a, b}) == (a || b));
    }
  }
}

TEST_CASE("float steps at special values") {
  CHECK(std::isnan(real(ScalarOp::min, {not_a_number, 1})));
  CHECK(std::isnan(real(ScalarOp::max, {1, not_a_number})));
  CHECK(real(ScalarOp::min, {-infinity, 1}) == -infinity);
  CHECK(std::isnan(real(ScalarOp::sign, {not_a_number})));
  CHECK(real(ScalarOp::sign, {-3}) == -1);
  CHECK(real(ScalarOp::sign, {-0.0}) == 0);
  CHECK(real(ScalarOp::mod, {5.5, 2}) == 1.5);
  CHECK(real(ScalarOp::mod, {-5.5, 2}) == 0.5);
  CHECK(real(ScalarOp::mod, {5.5, -2}) == -0.5);
  CHECK(real(ScalarOp::mod, {3.4e38, 1e-20}) < 1e-20);
  CHECK(real(ScalarOp::mod, {1, infinity}) == 1);
  CHECK(real(ScalarOp::mod, {-1, infinity}) == infinity);
  CHECK(std::isnan(real(ScalarOp::mod, {1, 0})));
  CHECK(real(ScalarOp::round, {0.5}) == 0);
  CHECK(real(ScalarOp::round, {1.5}) == 2);
  CHECK(real(ScalarOp::round, {-2.5}) == -2);
  CHECK(real(ScalarOp::floor, {-0.5}) == -1);
  CHECK(real(ScalarOp::ceil, {0.5}) == 1);
  CHECK(real(ScalarOp::rsqrt, {0}) == infinity);
  CHECK(real(ScalarOp::reciprocal, {-0.0}) == -infinity);
  CHECK(real(ScalarOp::is_nan, {not_a_number}) == 1);
  CHECK(real(ScalarOp::is_nan, {infinity}) == 0);
  CHECK(real(ScalarOp::equal, {not_a_number, not_a_number}) == 0);
  CHECK(real(ScalarOp::not_equal, {not_a_number, not_a_number}) == 1);
  CHECK(real(ScalarOp::less, {not_a_number, 1}) == 0);
  CHECK(real(ScalarOp::pow, {2, -1}) == 0.5);
  CHECK(real(ScalarOp::sigmoid, {-1000}) == 0);
  CHECK(real(ScalarOp::sigmoid, {1000}) == 1);
  CHECK(real(ScalarOp::softplus, {1000}) == 1000);
  CHECK(real(ScalarOp::softplus, {-50}) == Approx(std::exp(-50)).epsilon(1e-14));
  CHECK(std::isnan(real(ScalarOp::relu, {not_a_number})));
}

TEST_CASE("activations at values computed with 30 digits") {
  // mpmath, 30 digits: x*ncdf(x), x*(1+tanh(sqrt(2/pi)*(x+0.044715*x**3)))/2, x/(1+exp(-x)), log1p(exp(x)),
  // erf(x).
  CHECK(real(ScalarOp::gelu_erf, {1.25}) == Approx(1.11793778291643092788903404497).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::gelu_erf, {-0.75}) ==
        Approx(-0.169970514282651149495296627038).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::gelu_tanh, {1.25}) ==
        Approx(1.11771420296971460182211281297).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::gelu_tanh, {-0.75}) ==
        Approx(-0.170039444834379695815855803013).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::silu, {1.25}) == Approx(0.971624826468363933749399434577).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::silu, {-0.75}) == Approx(-0.240615975618455270130239913168).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::softplus, {1.25}) == Approx(1.50192908134537288895341872621).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::softplus, {-0.75}) ==
        Approx(0.386871006114899943669840269214).epsilon(1e-15).margin(0));
  CHECK(real(ScalarOp::erf, {0.5}) == Approx(0.520499877813046537682746653892).epsilon(1e-15).margin(0));
}

TEST_CASE("casts convert as the convert op does") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const DType from : all_dtypes) {
    for (const DType to : all_dtypes) {
      if (from == to) continue;
      ScalarProgram p;
      p.outputs = {p.cast(p.input(from), to)};
      visit_dtype(from, [&]<class From>(std::type_identity<From>) {
        for (int i = 0; i < 50; ++i) {
          From value{};
          if constexpr (std::is_same_v<From, bool>)
            value = (random() & 1) != 0;
          else if constexpr (std::is_integral_v<From>)
            value = static_cast<From>(random());
          else
            value = store_from_double<From>(i == 0 ? not_a_number
                                                   : std::ldexp(static_cast<double>(draw(random, -999, 999)),
                                                                static_cast<int>(draw(random, -20, 60))));
          ScalarSlot in;
          if constexpr (std::is_integral_v<From>)
            in.integer = static_cast<int64_t>(value);
          else
            in.real = load_as_double(value);
          const ScalarSlot out = evaluate(p, {in})[0];
          visit_dtype(to, [&]<class To>(std::type_identity<To>) {
            const To want = convert_element<To>(value);
            CAPTURE(dtype_name(from), dtype_name(to));
            if constexpr (std::is_integral_v<To>)
              CHECK(out.integer == static_cast<int64_t>(want));
            else
              CHECK((out.real == load_as_double(want) ||
                     (std::isnan(out.real) && std::isnan(load_as_double(want)))));
          });
        }
      });
    }
  }
}

TEST_CASE("floats are rounded at casts and outputs, not in between") {
  ScalarProgram p;
  const uint32_t x = p.input(bf16);
  const uint32_t tiny = p.constant(0x1p-10, bf16);
  const uint32_t sum = p.add(ScalarOp::add, x, tiny);  // 1 + 2^-10 is no bfloat16
  p.outputs = {sum, p.add(ScalarOp::sub, sum, x)};
  const auto out = evaluate(p, {{.real = 1}});
  CHECK(out[0].real == 1);        // rounded as an output
  CHECK(out[1].real == 0x1p-10);  // not rounded on the way
}
