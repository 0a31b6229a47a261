// Estimates: the time of a Session's run without memory for the tensors, and what training keeps between its
// passes; and the kernels that models of real size need.
#include "heddle/estimate.h"

#include <cmath>
#include <map>

#include "heddle/autodiff.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/loss.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"
#include "heddle/session.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/property.h"

using namespace heddle;
using namespace heddle::test;

namespace {

Tensor random_tensor(std::mt19937_64& random, const Shape& shape) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  Tensor t(f32, shape);
  for (float& x : t.values<float>()) x = uniform(random);
  return t;
}

}  // namespace

TEST_CASE("an estimate is the simulated time of a run", "[systolic]") {
  Graph g;
  const Value x = g.input("x", f32, {64, 96}), w = g.variable("w", f32, {96, 32}, init::normal(1));
  g.output("y", tanh(matmul(x, w)));
  const Estimate e = estimate(g, Device::open("trn1:numerics=off"));
  Session session(g, {Device::open("trn1")});
  session.run({{"x", Tensor::full(1, f32, {64, 96})}});
  CHECK(e.simulated_ps() == session.last_run().simulated_ps);
  CHECK(e.simulated_ps() > 0);
  CHECK(e.variable_bytes() == 96 * 32 * 4);
  CHECK(e.boundary_bytes() == (64 * 96 + 64 * 32) * 4);
  CHECK(e.explain().nodes.size() >= 1);
  CHECK_THAT(e.report(), ContainsSubstring("total_time"));
  CHECK_THAT(e.trace(), ContainsSubstring("MATMUL"));
}

TEST_CASE("an estimate allocates nothing: 8 TiB of weights have one", "[systolic]") {
  Graph g;
  const Value w = g.variable("w", f32, {int64_t{1} << 21, int64_t{1} << 20}, init::normal(1));
  const Value part = slice(slice(w, 0, 0, 128), 1, 0, 64);
  g.output("y", matmul(g.input("x", f32, {1, 128}), part));
  CHECK(estimate(g, Device::open("trn1:numerics=off")).variable_bytes() == uint64_t{1} << 43);
}

TEST_CASE("estimates need a model of time", "[systolic]") {
  Graph g;
  g.output("y", tanh(g.input("x", f32, {4})));
  expect_error(ErrorCode::invalid_argument, "no model of time",
               [&] { (void)estimate(g, Device::open("reference")); });
}

TEST_CASE("what training keeps: what the forward pass makes or reads and the backward pass reads",
          "[systolic]") {
  Graph g;
  const Value x = g.input("x", f32, {32, 64}), dy = g.input("dy", f32, {32, 16}),
              w = g.variable("w", f32, {64, 16}, init::normal(1));
  const Value y = exp(matmul(x, w));
  g.output("y", y);
  g.output("dw", gradients(sum(y * dy), {w})[0]);
  // The derivative of exp needs its result y, dw needs x; dy is the backward pass's own.
  CHECK(estimate(g, Device::open("trn1:numerics=off")).kept_bytes() == (32 * 64 + 32 * 16) * 4);
}

TEST_CASE("contractions that no strip of SBUF holds, and losses over many classes", "[systolic]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  Graph g;
  const Value a = g.input("a", f32, {3, 25000}), b = g.input("b", f32, {25000, 5});
  const Value logits = g.input("logits", f32, {130, 6000}), targets = g.input("targets", i32, {130});
  g.output("c", matmul(a, b));
  g.output("loss", cross_entropy_per_position(logits, targets));
  g.output("dlogits", gradients(cross_entropy(logits, targets), {logits})[0]);
  Tensor classes(i32, {130});
  for (int64_t i = 0; i < 130; ++i)
    classes.set(i, i == 3 ? -100 : static_cast<double>(draw(random, 0, 5999)));
  const std::map<std::string, Tensor> inputs = {{"a", random_tensor(random, {3, 25000})},
                                                {"b", random_tensor(random, {25000, 5})},
                                                {"logits", random_tensor(random, {130, 6000})},
                                                {"targets", classes}};
  Session simulated(g, {Device::open("trn1")}), reference(g, {Device::open("reference")});
  const auto got = simulated.run(inputs), wanted = reference.run(inputs);
  for (const auto& [name, tensor] : wanted) {
    CAPTURE(name);
    // c: 2 u sqrt(K) times the sum of the magnitudes of 25000 products of order 1, u = 2^-24.
    const double margin = name == "c" ? 2 * 6e-8 * 158 * 25000 : 1e-5;
    for (int64_t i = 0; i < tensor.elements(); ++i)
      if (!(std::abs(got.at(name).at(i) - tensor.at(i)) <= margin))
        FAIL_CHECK(i << ": " << got.at(name).at(i) << " is not " << tensor.at(i));
  }
}
