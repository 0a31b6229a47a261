// Trains a small perceptron to tell two spirals apart: forward, backward and optimizer in one graph.
//   train_mlp [device]
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "heddle/heddle.h"

namespace {

struct Points {
  heddle::Tensor xy, label;
};

// `count` points of two spirals, a little noisy.
Points spirals(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> noise(0, 0.02f);
  std::vector<float> xy;
  std::vector<int32_t> label;
  for (int64_t i = 0; i < count; ++i) {
    const float t = 0.25f + 2.75f * static_cast<float>(i) / static_cast<float>(count),
                side = i % 2 ? 1.0f : -1.0f;
    xy.push_back(side * t / 3 * std::cos(3 * t) + noise(random));
    xy.push_back(side * t / 3 * std::sin(3 * t) + noise(random));
    label.push_back(static_cast<int32_t>(i % 2));
  }
  return {heddle::Tensor::of(xy, {count, 2}), heddle::Tensor::of(label, {count})};
}

// Scores of both classes for x [batch, 2]. The variables are known by name: every graph that declares them
// shares what was learned.
heddle::Value classify(heddle::Value x) {
  heddle::Graph graph = x.graph();
  const auto dense = [&](heddle::Value in, const std::string& name, int64_t from, int64_t to) {
    const auto weight = graph.variable(name + ".w", heddle::f32, {from, to},
                                       heddle::init::normal(std::sqrt(2.0 / static_cast<double>(from))));
    const auto bias = graph.variable(name + ".b", heddle::f32, {to});
    return heddle::matmul(in, weight) + bias;
  };
  const heddle::Value hidden = heddle::relu(dense(x, "hidden1", 2, 64));
  return dense(heddle::relu(dense(hidden, "hidden2", 64, 64)), "out", 64, 2);
}

}  // namespace

int main(int argc, char** argv) try {
  const heddle::Device device = heddle::Device::open(argc > 1 ? argv[1] : "cpu");
  const heddle::Variables variables(/*seed=*/1);

  // One training step: its updates of the variables are part of the graph.
  heddle::Graph step;
  const heddle::Value label = step.input("label", heddle::i32, {"batch"});
  const heddle::Value loss =
      heddle::cross_entropy(classify(step.input("x", heddle::f32, {"batch", 2})), label);
  heddle::minimize(loss, heddle::AdamW{.learning_rate = heddle::schedule::warmup_cosine(0.01, 20, 400)});
  step.output("loss", loss);
  heddle::Session training(step, {device}, variables);

  const Points seen = spirals(256, 1);
  for (int i = 1; i <= 400; ++i) {
    const double now = training.run({{"x", seen.xy}, {"label", seen.label}}).at("loss").at(0);
    if (i % 100 == 0) std::printf("step %d: loss %.4f\n", i, now);
  }

  // The same variables in a graph without an optimizer, on points it has not seen.
  heddle::Graph inference;
  inference.output("class", heddle::argmax(classify(inference.input("x", heddle::f32, {"batch", 2}))));
  const Points unseen = spirals(200, 2);
  const heddle::Tensor predicted = heddle::Session(inference, {heddle::Device::open("cpu")}, variables)
                                       .run({{"x", unseen.xy}})
                                       .at("class");
  int correct = 0;
  for (int64_t i = 0; i < 200; ++i) correct += predicted.at(i) == unseen.label.at(i);
  std::printf("%.1f %% of 200 unseen points on the right spiral\n", correct / 2.0);
  return correct >= 190 ? 0 : 1;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "train_mlp: %s\n", e.what());
  return 1;
}
