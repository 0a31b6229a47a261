// A device that is asked for its times alone: nothing that looks like a number, and no variable changed.
#include <cmath>

#include "heddle/conformance.h"
#include "heddle/ops.h"
#include "heddle/optimizer.h"
#include "heddle/session.h"
#include "tests/expect_error.h"

namespace heddle::test {
namespace {

Device timed() { return Device::open("trn1:numerics=off"); }

// A training step: a loss, an integer result, a counter, weights and the state of AdamW.
Graph step() {
  Graph g;
  const Value x = g.input("x", f32, {4, 6}), targets = g.input("targets", i32, {4});
  const Value w = g.variable("w", f32, {6, 3}, init::normal(0.4));
  const Value logits = matmul(x, w);
  const Value loss = cross_entropy(logits, targets);
  minimize(loss, AdamW{.learning_rate = 0.1});
  g.output("loss", loss);
  g.output("positive", convert(greater(logits, logits * 0.0), i32));
  return g;
}

std::map<std::string, Tensor> batch() {
  return {{"x", Tensor::full(0.5, f32, {4, 6})}, {"targets", Tensor::full(1, i32, {4})}};
}

void require_equal(const std::map<std::string, Tensor>& got, const std::map<std::string, Tensor>& want) {
  REQUIRE(got.size() == want.size());
  for (const auto& [name, tensor] : want)
    for (int64_t i = 0; i < tensor.elements(); ++i) REQUIRE(got.at(name).at(i) == tensor.at(i));
}

}  // namespace

TEST_CASE("devices say whether they compute") {
  REQUIRE_FALSE(timed().computes());
  REQUIRE(Device::open("trn1").computes());
  REQUIRE(Device::open("cpu").computes());
}

TEST_CASE("a run for timing alone gives NaN, 0 for integers, and the time of a run with numbers") {
  const Graph g = step();
  Session session(g, {timed()}), real(g, {Device::open("trn1")});
  const auto got = session.run(batch());
  REQUIRE(std::isnan(got.at("loss").at(0)));
  REQUIRE(got.at("positive").dtype() == i32);
  for (int64_t i = 0; i < 12; ++i) REQUIRE(got.at("positive").at(i) == 0);
  real.run(batch());
  REQUIRE(session.last_run().simulated_ps == real.last_run().simulated_ps);
}

TEST_CASE("a run for timing alone updates no variable, not even on a device beside it that computes") {
  for (const bool beside : {false, true}) {
    Graph g = step();
    const Value seen = g.variable("seen", f32, {3});
    if (beside) g.pin("cpu");
    g.update(seen, seen + 1.0);  // depends on nothing that is timed
    Session session = beside ? Session(g, {timed(), Device::open("cpu")}, Variables(7))
                             : Session(g, {timed()}, Variables(7));
    (void)session.explain();  // variables come into being
    const auto before = session.variables().read_all();
    session.run(batch());
    session.run(batch());
    require_equal(session.variables().read_all(), before);
  }
}

TEST_CASE("what another device makes of values that were never computed is NaN as well") {
  Graph g;
  const Value x = g.input("x", f32, {2, 3});
  const Value y = x * 2.0;
  g.pin("cpu");
  g.output("picked", select(greater(y, x), x, x - 1.0));  // a comparison would hide the NaN of y
  Session session(g, {timed(), Device::open("cpu")});
  const Tensor got = session.run({{"x", Tensor::full(1, f32, {2, 3})}}).at("picked");
  for (int64_t i = 0; i < 6; ++i) REQUIRE(std::isnan(got.at(i)));
}

TEST_CASE("a device that computes nothing cannot be proved") {
  expect_error(ErrorCode::invalid_argument, "computes no numbers", [] { conformance::run(timed()); });
}

}  // namespace heddle::test
