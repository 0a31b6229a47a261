// Expansion, simplification, fusion and pruning keep what a program computes.
#include <algorithm>

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
