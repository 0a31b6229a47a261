// differentiate() against finite differences of the oracle.
#include <cmath>

#include "ir/scalar_program.h"
#include "tests/expect_error.h"
#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

namespace {

double value_of(const ScalarProgram& p, std::vector<double> in) {
  std::vector<ScalarSlot> slots;
  for (const double v : in) slots.push_back({.real = v});
  return evaluate(p, slots)[0].real;
}

// Richardson's central difference, as in tests/transform/finite_differences.h.
double difference(const ScalarProgram& p, const std::vector<double>& at, size_t k) {
  const auto central = [&](double h) {
    std::vector<double> above = at, below = at;
    above[k] += h;
    below[k] -= h;
    return (value_of(p, above) - value_of(p, below)) / (2 * h);
  };
  return (4 * central(5e-4) - central(1e-3)) / 3;
}

}  // namespace

TEST_CASE("derivatives of every float step, and of its derivative") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    if (info.operands == 0 || info.operands > 2 || info.op == ScalarOp::cast) continue;
    ScalarProgram p;
    p.input(f64);
    if (info.operands == 2) p.input(f64);
    try {
      p.outputs = {info.operands == 1 ? p.add(info.op, 0) : p.add(info.op, 0, 1)};
    } catch (const Error&) {
      continue;  // not a float step
    }
    if (p.dtype(p.outputs[0]) != f64) continue;
    std::vector<uint32_t> wrt(p.inputs.size());
    for (uint32_t i = 0; i < wrt.size(); ++i) wrt[i] = i;
    const ScalarProgram d = differentiate(p, wrt);
    validate(d);
    for (int round = 0; round < 20; ++round) {
      std::vector<double> at = {std::uniform_real_distribution<double>(2.1, 2.9)(random)};
      if (info.operands == 2) at.push_back(std::uniform_real_distribution<double>(0.8, 1.03)(random));
      std::vector<double> with_gradient = at;
      with_gradient.push_back(1.5);
      for (size_t k = 0; k < wrt.size(); ++k) {
        ScalarProgram one = d;
        one.outputs = {d.outputs[k]};
        CAPTURE(info.name, at, k, to_string(one));
        CHECK(value_of(one, with_gradient) == Approx(1.5 * difference(p, at, k)).margin(1e-8).epsilon(1e-8));
        const ScalarProgram second = differentiate(one, std::array{0u});
        std::vector<double> twice = with_gradient;
        twice.push_back(1);
        CHECK(value_of(second, twice) ==
              Approx(difference(one, with_gradient, 0)).margin(1e-8).epsilon(1e-8));
      }
    }
  }
}

TEST_CASE("equal operands of max share the gradient; pow at zero has the limits") {
  ScalarProgram p;
  const uint32_t a = p.input(f32), b = p.input(f32);
  p.outputs = {p.add(ScalarOp::max, a, b)};
  const auto gradient = [](const ScalarProgram& of, double x, double y) {
    const auto out = evaluate(differentiate(of, std::array{0u, 1u}), {{.real = x}, {.real = y}, {.real = 4}});
    return std::pair(out[0].real, out[1].real);
  };
  CHECK(gradient(p, 1, 1) == std::pair(2.0, 2.0));
  CHECK(gradient(p, 2, 1) == std::pair(4.0, 0.0));
  CHECK(gradient(p, 1, 2) == std::pair(0.0, 4.0));
  ScalarProgram power;
  power.input(f64);
  power.input(f64);
  power.outputs = {power.add(ScalarOp::pow, 0, 1)};
  CHECK(gradient(power, 0, 2) == std::pair(0.0, 0.0));
  CHECK(gradient(power, 0, 0) == std::pair(0.0, 0.0));
  CHECK(gradient(power, -2, 3).first == 48);
}

TEST_CASE("several outputs, shared and repeated, add up; integers and conditions carry nothing") {
  ScalarProgram p;
  const uint32_t x = p.input(f32), n = p.input(i32), c = p.input(boolean);
  const uint32_t square = p.add(ScalarOp::square, x);
  const uint32_t chosen = p.select(c, square, p.cast(p.cast(x, i32), f32));
  p.outputs = {square, square, chosen, n, p.cast(x, f16)};
  const ScalarProgram d = differentiate(p, std::array{x});
  CHECK(d.inputs == std::vector<DType>{f32, i32, boolean, f32, f32, f32, i32, f16});
  REQUIRE(d.outputs.size() == 1);
  CHECK(d.dtype(d.outputs[0]) == f32);
  std::vector<ScalarSlot> in(8);
  in[0].real = 3;
  in[1].integer = 5;
  in[2].integer = 1;
  for (const size_t i : {3u, 4u, 5u}) in[i].real = static_cast<double>(i);
  in[6].integer = 9;
  in[7].real = 0.5;
  CHECK(evaluate(d, in)[0].real == 6.0 * (3 + 4 + 5) + 0.5);
  in[2].integer = 0;
  CHECK(evaluate(d, in)[0].real == 6.0 * (3 + 4) + 0.5);
  expect_error(ErrorCode::invalid_argument, "not a float", [&] { differentiate(p, std::array{n}); });
}

TEST_CASE("an input that does not matter has derivative zero") {
  ScalarProgram p;
  const uint32_t x = p.input(f32), y = p.input(f32);
  p.outputs = {p.add(ScalarOp::floor, x)};
  const auto out = evaluate(differentiate(p, std::array{x, y}), {{.real = 1.5}, {.real = 2}, {.real = 1}});
  CHECK(out[0].real == 0);
  CHECK(out[1].real == 0);
}
