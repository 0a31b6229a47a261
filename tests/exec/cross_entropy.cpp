// Rows of cross-entropy at the edges, on every device: what is ignored leaves no trace, and large logits keep
// their difference.
#include <cmath>
#include <limits>

#include "heddle/autodiff.h"
#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/catch.h"

using namespace heddle;

namespace {
constexpr const char* devices[] = {"reference", "cpu", "trn1"};
}

TEST_CASE("the gradient of an ignored row is 0, whatever its logits are") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  Graph g;
  const Value x = g.input("x", f32, {4, 3}), target = g.input("target", i32, {4});
  g.output("dx", gradients(sum(cross_entropy(x, target)), {x})[0]);
  const Tensor logits =
      Tensor::of<float>({infinity, 0, 0, nan, 0, 0, -infinity, -infinity, -infinity, 1, 2, 3}, {4, 3});
  const Tensor targets = Tensor::of<int32_t>({-100, -100, -100, 0}, {4});
  for (const char* name : devices) {
    INFO(name);
    const Tensor dx = Session(g, {Device::open(name)}).run({{"x", logits}, {"target", targets}}).at("dx");
    for (int64_t i = 0; i < 9; ++i) CHECK(dx.at(i) == 0);
    CHECK(dx.at(9) != 0);
  }
}

TEST_CASE("the loss depends on the differences of logits, however large they are") {
  Graph g;
  const Value x = g.input("x", f32, {3, 3}), target = g.input("target", i32, {3});
  g.output("loss", cross_entropy_per_position(x, target));
  const Tensor logits = Tensor::of<float>({1e4f, 1e4f, 0, 1e6f, 1e6f, 0, 1e7f, 1e7f, 0}, {3, 3});
  for (const char* name : devices) {
    INFO(name);
    const Tensor loss = Session(g, {Device::open(name)})
                            .run({{"x", logits}, {"target", Tensor::of<int32_t>({0, 0, 1}, {3})}})
                            .at("loss");
    for (int64_t i = 0; i < 3; ++i) CHECK(loss.at(i) == Approx(std::log(2.0)).epsilon(1e-6));
  }
}
