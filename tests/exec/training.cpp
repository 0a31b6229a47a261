// Training steps through sessions: every device commits the same variables as the oracle, fused or in core
// ops.
#include <cmath>

#include "heddle/ops.h"
#include "heddle/optimizer.h"
#include "heddle/session.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"
#include "tests/kernels/random_tensor.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

using Tensors = std::map<std::string, Tensor>;

// A small classifier with norms; every option of minimize that changes what is committed.
Graph classifier() {
  Graph g;
  const Value x = g.input("x", f32, {"n", 6}), targets = g.input("targets", i32, {"n"});
  const Value w1 = g.variable("w1", f32, {6, 8}, init::normal(0.4)), b1 = g.variable("b1", f32, {8});
  const Value scale = g.variable("scale", f32, {8}, init::constant(1));
  const Value w2 = g.variable("w2", f32, {8, 3}, init::normal(0.4));
  const Value h = rms_norm(gelu(matmul(x, w1) + b1), scale);
  const Value loss = cross_entropy(matmul(h, w2), targets);
  const Minimized m = minimize(
      loss, AdamW{.learning_rate = schedule::warmup_linear(0.02, 2, 10), .weight_decay = 0.1},
      {.groups = {{.matches = [](const std::string& n) { return n[0] != 'w'; }, .weight_decay = 0.0}},
       .max_grad_norm = 0.5,
       .accumulate = 2});
  g.output("loss", loss);
  g.output("norm", m.gradient_norm);
  return g;
}

Tensors batch(std::mt19937_64& random, int64_t n) {
  Tensor targets(i32, {n});
  for (int64_t i = 0; i < n; ++i) targets.set(i, static_cast<double>(draw(random, 0, 2)));
  targets.set(0, -100);
  return {{"x", random_tensor(random, f32, {n, 6})}, {"targets", targets}};
}

TEST_CASE("training through a session commits what the oracle computes, on every device") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  const Graph g = classifier();
  std::mt19937_64 random(seed);
  std::vector<Tensors> batches;
  for (int i = 0; i < 8; ++i) batches.push_back(batch(random, i % 2 == 0 ? 5 : 4));

  Tensors variables;
  for (const VariableInfo& v : g.variables()) {
    variables[v.name] = initial_value(v.initializer, v.name, v.dtype, v.shape, 3);
  }
  std::vector<double> losses;
  for (const Tensors& b : batches) {
    Tensors given = b;
    given.insert(variables.begin(), variables.end());
    const Evaluation e = evaluate(g.bind({{"n", b.at("x").shape()[0]}}), given);
    for (const auto& [name, contents] : e.variables) variables[name] = contents;
    losses.push_back(e.outputs.at("loss").at(0));
  }
  CHECK(variables.at("optimizer.step").at(0) == 4);

  for (const char* device : {"reference", "cpu"}) {
    for (const bool composites : {true, false}) {
      INFO(device << (composites ? ", fused" : ", core ops"));
      Variables state(3);
      Session session(g, {Device::open(device)}, state, {.composites = composites});
      for (size_t i = 0; i < batches.size(); ++i) {
        const Tensors out = session.run(batches[i]);
        CHECK(out.at("loss").at(0) == Approx(losses[i]).epsilon(1e-5));
      }
      for (const auto& [name, contents] : variables) {
        INFO(name);
        const Tensor got = state.read(name);
        REQUIRE(got.shape() == contents.shape());
        // Four steps of float32: gradients carry a few hundred roundings, which Adam's quotient passes on to
        // steps of 0.02; v is a square of small gradients.
        for (int64_t e = 0; e < contents.elements(); ++e) {
          CHECK(std::fabs(got.at(e) - contents.at(e)) <= 1e-5 * (std::fabs(contents.at(e)) + 0.02));
        }
      }
    }
  }
}

}  // namespace
}  // namespace heddle::test
