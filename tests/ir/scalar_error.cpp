// The error bound holds for programs computed step by step in float, and is not far above what happens.
#include "ir/scalar_error.h"

#include <cmath>

#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// Every step rounded to float, which is at most half a unit in the last place per step.
double in_float(const ScalarProgram& p, const std::vector<double>& in) {
  ScalarProgram rounded;
  rounded.inputs = p.inputs;
  std::vector<uint32_t> now(p.registers());
  for (uint32_t i = 0; i < p.inputs.size(); ++i) now[i] = i;
  for (size_t i = 0; i < p.steps.size(); ++i) {
    ScalarStep s = p.steps[i];
    for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
    rounded.steps.push_back(s);
    uint32_t reg = rounded.registers() - 1;
    if (is_float(s.dtype)) {
      rounded.steps.push_back({ScalarOp::cast, f32, {reg, 0, 0}, 0, 0});
      reg = rounded.registers() - 1;
    }
    now[p.inputs.size() + i] = reg;
  }
  rounded.outputs = {now[p.outputs[0]]};
  std::vector<ScalarSlot> slots;
  for (const double v : in) slots.push_back({.real = v});
  return evaluate(rounded, slots)[0].real;
}

}  // namespace

TEST_CASE("the bound covers float arithmetic of every compound step and of chains with cancellation") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto check = [&](const ScalarProgram& p, double low, double high) {
    const ScalarProgram expanded = expand_compounds(p);
    ScalarProgram exact = p;
    exact.inputs[0] = f64;
    for (ScalarStep& s : exact.steps) s.dtype = f64;
    ScalarErrorBound bound(p);
    double worst = 0;
    for (int i = 0; i < 500; ++i) {
      const double x =
          static_cast<double>(static_cast<float>(std::uniform_real_distribution<double>(low, high)(random)));
      const ScalarSlot in{.real = x};
      double error = 0;
      bound(&in, 0, &error);
      CAPTURE(to_string(p), x);
      const double off = std::fabs(in_float(expanded, {x}) - evaluate(exact, {in})[0].real);
      CHECK(off <= error * 0x1p-24 * 1.001);  // first order: a thousandth for the rest
      worst = std::max(worst, off / (error * 0x1p-24));
    }
    CHECK(worst > 0.02);  // a bound that says nothing is no bound
  };
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    if (!info.compound || info.op == ScalarOp::relu) continue;  // relu is exact
    ScalarProgram p;
    p.outputs = {p.add(info.op, p.input(f32))};
    check(p, -4, 4);
  }
  ScalarProgram cancels;  // (x + 100) - 100
  const uint32_t x = cancels.input(f32), big = cancels.constant(100, f32);
  cancels.outputs = {cancels.add(ScalarOp::sub, cancels.add(ScalarOp::add, x, big), big)};
  check(cancels, 0.1, 1);
}

TEST_CASE("the bound counts casts to narrow dtypes, the first operand's error, and nothing for integers") {
  ScalarProgram p;
  const uint32_t x = p.input(f32);
  p.outputs = {p.cast(x, bf16), p.add(ScalarOp::mul, x, p.constant(3, f32)), p.cast(x, i32),
               p.add(ScalarOp::neg, x)};
  ScalarErrorBound bound(p);
  const ScalarSlot in{.real = 2};
  double error[4];
  bound(&in, 0, error);
  CHECK(error[0] == 2 * 0x1p-8 / 0x1p-24);
  CHECK(error[1] == 2 * 3 + 6);  // the constant as if rounded, and the product
  CHECK(error[2] == 0);
  CHECK(error[3] == 0);
  bound(&in, 0x1p-20, error);
  CHECK(error[3] == 0x1p-20 / 0x1p-24);
  CHECK(error[1] == 2 * 3 + 6 + 3 * 16);
}
