// Fused ops inside graphs: named sizes, gradients through everything at once, and the mean of cross_entropy.
#include <cmath>

#include "heddle/autodiff.h"
#include "heddle/ops.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"
#include "tests/kernels/random_tensor.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

using Tensors = std::map<std::string, Tensor>;

// One transformer block with every fused op, loss and gradients as outputs.
Graph block(const Dim& batch, const Dim& positions) {
  Graph g;
  const Value x = g.input("x", f64, {batch, positions, 8});
  const Value bias = g.input("bias", f64, {2, 1, positions});  // added to the scores
  const Value cos = g.input("cos", f64, {positions, 2}), sin = g.input("sin", f64, {positions, 2});
  const Value targets = g.input("targets", i64, {batch, positions});
  const Value scale = g.input("scale", f64, {8}), shift = g.input("shift", f64, {8});
  const Value w = g.input("w", f64, {8, 16}), head = g.input("head", f64, {8, 5});
  const std::vector<Value> parts = split(matmul(layer_norm(x, scale, shift), w), {8, 4, 4}, 2);
  const auto heads = [&](Value v, int64_t count) { return reshape(v, Dims{batch, positions, count, 4}); };
  const RopeOptions bshd = {.layout = HeadLayout::bshd};
  const Value out =
      attention(rope(heads(parts[0], 2), cos, sin, bshd), rope(heads(parts[1], 1), cos, sin, bshd),
                heads(parts[2], 1), {.causal = true, .layout = HeadLayout::bshd}, bias);
  const Value y = rms_norm(x + reshape(out, Dims{batch, positions, 8}), scale);
  const Value loss = cross_entropy(matmul(y, head), targets);
  const std::vector<Value> wrt = {x, bias, cos, scale, shift, w, head};
  const std::vector<Value> grads = gradients(loss, wrt);
  g.output("loss", loss);
  for (size_t i = 0; i < wrt.size(); ++i) g.output("d" + wrt[i].name(), grads[i]);
  return g;
}

TEST_CASE("a block of fused ops with named sizes gives the same as with numbers, and the right derivatives") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Graph named = block("b", "s"), numbers = block(2, 3);
  const Graph bound = named.bind({{"b", 2}, {"s", 3}});
  Tensors inputs;
  for (const ValueId id : numbers.inputs()) {
    const ValueInfo& v = numbers.info(id);
    inputs[v.name] = v.dtype == f64 ? random_tensor(random, f64, v.dims.shape(), -1, 1)
                                    : Tensor::of<int64_t>({0, -100, 4, 2, 2, 1}, {2, 3});
  }
  const Tensors want = evaluate(numbers, inputs).outputs, got = evaluate(bound, inputs).outputs;
  for (const auto& [name, tensor] : want) {
    INFO(name);
    CHECK(elements(got.at(name)) == elements(tensor));
  }
  for (const auto& [name, tensor] : want) {
    if (name == "loss") continue;
    INFO(name);
    const std::string input = name.substr(1);
    for (int64_t i = 0; i < tensor.elements(); i += 3) {
      const auto difference = [&](double h) {
        const auto loss_at = [&](double to) {
          Tensors moved = inputs;
          moved[input] = inputs[input].clone();
          moved[input].set(i, inputs[input].at(i) + to);
          return evaluate(numbers, moved).outputs.at("loss").at(0);
        };
        return (loss_at(h) - loss_at(-h)) / (2 * h);
      };
      // Central differences with Richardson's step: the error left is far below 1e-8.
      const double derivative = (4 * difference(5e-4) - difference(1e-3)) / 3;
      CHECK(std::fabs(tensor.at(i) - derivative) <= 1e-8);
    }
  }
}

TEST_CASE("cross_entropy is the mean over the positions that count; of none it is NaN, as in PyTorch") {
  Graph g;
  const Value logits = g.input("x", f32, {3, 2}), targets = g.input("t", i32, {3});
  g.output("loss", cross_entropy(logits, targets, 7));
  const Tensor x = Tensor::of<float>({0, 0, 5, 5, 1, 1}, {3, 2});
  const auto loss = [&](std::initializer_list<int32_t> t) {
    return evaluate(g, {{"x", x}, {"t", Tensor::of<int32_t>(t, {3})}}).outputs.at("loss").at(0);
  };
  CHECK(loss({0, 1, 0}) == Approx(std::log(2.0)));
  CHECK(loss({0, 7, 7}) == Approx(std::log(2.0)));
  CHECK(std::isnan(loss({7, 7, 7})));
  CHECK(std::isnan(loss({0, 2, 0})));  // no class, not ignored: loud
}

}  // namespace
}  // namespace heddle::test
