// Expansion, simplification, fusion and pruning keep what a program computes.
#include <algorithm>
#include <array>
#include <cmath>

#include "ir/scalar_program.h"
#include "tests/expect_error.h"
#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

namespace {

const std::vector<DType> mixed_inputs = {f32, bf16, f32, i32, boolean, u8, f64};

}  // namespace

TEST_CASE("simplify keeps the results of random programs and never grows them") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const ScalarProgram p = random_program(random, mixed_inputs, 25, 4);
    const ScalarProgram s = simplify(p);
    CAPTURE(to_string(p), to_string(s));
    validate(s);
    CHECK(s.inputs == p.inputs);
    CHECK(s.steps.size() <= p.steps.size());
    CHECK(simplify(s) == s);
    for (int i = 0; i < 5; ++i) {
      const auto in = random_slots(random, p);
      CHECK(same(p, evaluate(p, in), evaluate(s, in)));
    }
  }
}

TEST_CASE("simplify drops dead steps, merges equal ones and casts that change nothing") {
  ScalarProgram p;
  const uint32_t a = p.input(f32), b = p.input(f32);
  p.add(ScalarOp::exp, a);  // dead
  const uint32_t first = p.add(ScalarOp::mul, a, b), second = p.add(ScalarOp::mul, b, a);
  p.outputs = {p.add(ScalarOp::add, first, second)};
  CHECK(to_string(simplify(p)) == "(%0: float32, %1: float32) { %2 = mul %0 %1; %3 = add %2 %2; return %3 }");

  ScalarProgram casts;
  const uint32_t x = casts.input(bf16);
  casts.steps.push_back({ScalarOp::cast, bf16, {x, 0, 0}, 0, 0});  // an operand is rounded already
  const uint32_t sum = casts.add(ScalarOp::add, 1, x);
  casts.steps.push_back({ScalarOp::cast, bf16, {sum, 0, 0}, 0, 0});  // this one rounds
  casts.outputs = {casts.add(ScalarOp::mul, 3, x)};
  CHECK(to_string(simplify(casts)) ==
        "(%0: bfloat16) { %1 = add %0 %0; %2 = cast bfloat16 %1; %3 = mul %0 %2; return %3 }");

  ScalarProgram zeros;  // 0 and -0 are not merged
  zeros.outputs = {zeros.constant(0, f32), zeros.constant(-0.0, f32)};
  CHECK(simplify(zeros).steps.size() == 2);
}

TEST_CASE("expand_compounds leaves no compound step and the same values to rounding") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    if (!info.compound) continue;
    ScalarProgram p;
    p.outputs = {p.add(info.op, p.input(f64))};
    const ScalarProgram e = expand_compounds(p);
    validate(e);
    for (const ScalarStep& s : e.steps) CHECK_FALSE(scalar_op_info(s.op).compound);
    for (int i = 0; i < 200; ++i) {
      const double x = std::uniform_real_distribution<double>(-6, 6)(random);
      CAPTURE(info.name, x);
      // A dozen roundings of values of at most 6 or so.
      CHECK(evaluate(p, {{.real = x}})[0].real ==
            Approx(evaluate(e, {{.real = x}})[0].real).margin(100 * 0x1p-53).epsilon(0));
    }
  }
}

TEST_CASE("widen computes the same with float32 in place of narrower floats") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  int compared = 0;
  for (int round = 0; round < 300; ++round) {
    const ScalarProgram p =
        random_program(random, std::vector<DType>{bf16, f16, i32, boolean, f8e4m3}, 15, 3);
    // The oracle rounds at a cast to float32, which in the wide program is no cast any more.
    const bool rounds = std::any_of(p.steps.begin(), p.steps.end(), [](const ScalarStep& s) {
      return s.op == ScalarOp::cast && s.dtype == f32;
    });
    if (rounds) continue;
    const ScalarProgram w = widen(p);
    CAPTURE(to_string(p), to_string(w));
    validate(w);
    CHECK(w.inputs == p.inputs);
    for (const ScalarStep& s : w.steps)
      CHECK((s.op == ScalarOp::cast || !is_float(s.dtype) || size_of(s.dtype) >= 4));
    for (int i = 0; i < 3; ++i) {
      const auto in = random_slots(random, p);
      CHECK(same(p, evaluate(p, in), evaluate(w, in)));
      ++compared;
    }
  }
  CHECK(compared > 100);
  ScalarProgram wide;
  wide.outputs = {wide.add(ScalarOp::exp, wide.input(f32))};
  CHECK(widen(wide) == wide);
}

TEST_CASE("expansions and derivatives of narrow floats keep the digits of their constants") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto check = [&](const ScalarProgram& narrow, const ScalarProgram& exact, DType dtype) {
    for (int i = 0; i < 200; ++i) {
      const double x = static_cast<double>(draw(random, -64, 64)) / 16;
      CAPTURE(to_string(narrow), x);
      const std::vector<ScalarSlot> in(narrow.inputs.size(), ScalarSlot{.real = x});
      const double got = evaluate(narrow, in)[0].real, want = evaluate(exact, in)[0].real;
      // Constants of float32 are off by 2^-25, which the arguments, at most about 60, carry on; then one
      // rounding.
      CHECK(std::fabs(got - want) <= unit_roundoff(dtype) * std::fabs(want) + 1e-4 * unit_roundoff(dtype) +
                                         300 * 0x1p-25 * std::fabs(want) + 0x1p-24);
    }
  };
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    if (!info.compound) continue;
    ScalarProgram exact;
    exact.outputs = {exact.add(info.op, exact.input(f64))};
    for (const DType dtype : {bf16, f16}) {
      ScalarProgram p;
      p.outputs = {p.add(info.op, p.input(dtype))};
      check(expand_compounds(p), exact, dtype);
      check(differentiate(p, std::array{0u}), differentiate(exact, std::array{0u}), dtype);
    }
  }
}

TEST_CASE("a gradient that only passes through is the operand itself, also for narrow floats") {
  ScalarProgram p;
  const uint32_t a = p.input(bf16), b = p.input(bf16);
  p.outputs = {p.add(ScalarOp::add, a, b)};
  CHECK(to_string(differentiate(p, std::array{0u, 1u})) ==
        "(%0: bfloat16, %1: bfloat16, %2: bfloat16) { return %2, %2 }");
}

TEST_CASE("fuse computes the consumer of the producer") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const ScalarProgram producer = random_program(random, mixed_inputs, 12, 3);
    std::vector<DType> inputs;
    std::vector<int> wiring;
    for (int i = 0; i < 5; ++i) {
      wiring.push_back(static_cast<int>(draw(random, -1, 2)));
      // float32 in memory is rounded, which the oracle does not do between steps: only others cross, so that
      // the two agree exactly.
      if (wiring.back() >= 0 && producer.dtype(producer.outputs[static_cast<size_t>(wiring.back())]) == f32)
        wiring.back() = -1;
      inputs.push_back(
          wiring.back() < 0 ? f32 : producer.dtype(producer.outputs[static_cast<size_t>(wiring.back())]));
    }
    const ScalarProgram consumer = random_program(random, inputs, 12, 2);
    const std::vector<uint32_t> keep = {static_cast<uint32_t>(draw(random, 0, 2))};
    const ScalarProgram fused = fuse(producer, consumer, wiring, keep);
    CAPTURE(to_string(producer), to_string(consumer), to_string(fused), wiring);
    validate(fused);
    for (int i = 0; i < 5; ++i) {
      std::vector<ScalarSlot> in = random_slots(random, producer), between = random_slots(random, consumer);
      const auto made = evaluate(producer, in);
      for (size_t k = 0; k < wiring.size(); ++k) {
        if (wiring[k] >= 0)
          between[k] = made[static_cast<size_t>(wiring[k])];
        else
          in.push_back(between[k]);
      }
      auto want = evaluate(consumer, between);
      want.insert(want.begin(), made[keep[0]]);
      const auto got = evaluate(fused, in);
      REQUIRE(fused.outputs.size() == want.size());
      CHECK(same(fused, got, want));
    }
  }
}

TEST_CASE("fuse rounds narrow floats that would have gone through memory, and nothing else") {
  ScalarProgram producer;
  const uint32_t x = producer.input(bf16);
  producer.outputs = {producer.add(ScalarOp::add, x, producer.constant(0x1p-10, bf16))};
  ScalarProgram consumer;
  const uint32_t y = consumer.input(bf16), z = consumer.input(bf16);
  consumer.outputs = {consumer.add(ScalarOp::sub, y, z)};
  const ScalarProgram fused = fuse(producer, consumer, std::array{0, -1}, std::array{0u});
  CHECK(fused.inputs == std::vector<DType>{bf16, bf16});
  CHECK(fused.outputs.size() == 2);
  CHECK(evaluate(fused, {{.real = 1}, {.real = 1}})[1].real == 0);  // 1 + 2^-10 rounds to 1 in memory
  ScalarProgram other;
  other.outputs = {other.add(ScalarOp::neg, other.input(f32))};
  expect_error(ErrorCode::internal, "does not fit", [&] { fuse(producer, other, std::array{0}, {}); });
  expect_error(ErrorCode::internal, "2 wires", [&] { fuse(producer, other, std::array{0, -1}, {}); });
}

TEST_CASE("drop_unread_inputs keeps the read ones in order") {
  ScalarProgram p;
  p.input(f32);
  const uint32_t b = p.input(i32);
  p.input(f64);
  const uint32_t d = p.input(f32);
  p.outputs = {p.add(ScalarOp::exp, d), b};
  CHECK(drop_unread_inputs(p) == std::vector<uint32_t>{1, 3});
  CHECK(to_string(p) == "(%0: int32, %1: float32) { %2 = exp %1; return %2, %0 }");
}
