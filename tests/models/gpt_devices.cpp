// The GPT training step on every kind of device: one graph, one seed, the same curve.
#include <cmath>

#include "heddle/models/gpt.h"
#include "heddle/session.h"
#include "tests/catch.h"

using namespace heddle;

namespace {

constexpr int64_t batch = 4, positions = 8;

GptConfig tiny() {
  GptConfig c;
  c.vocabulary = 11;
  c.context = positions;
  c.width = 16;
  c.layers = 1;
  c.heads = 2;
  return c;
}

Tensor tokens(int64_t step, int64_t shift) {
  Tensor t(i32, {batch, positions});
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, static_cast<double>((i * 7 + shift + step * 3) % 11));
  return t;
}

std::vector<double> curve(const GptConfig& config, const std::string& device, SessionOptions options = {},
                          int steps = 8) {
  MinimizeOptions minimize;
  minimize.max_grad_norm = 1;
  const Graph step = gpt_training_step(config, batch, AdamW{.learning_rate = 1e-2}, minimize);
  Session session(step, {Device::open(device)}, Variables(5), options);
  std::vector<double> losses;
  for (int s = 0; s < steps; ++s)
    losses.push_back(session.run({{"tokens", tokens(s, 0)}, {"targets", tokens(s, 7)}}).at("loss").at(0));
  return losses;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]) / std::abs(a[i]));
  return most;
}

}  // namespace

TEST_CASE("a device with core ops only trains the GPT under forbid, with the same curve", "[gpt]") {
  const std::vector<double> whole = curve(tiny(), "reference");
  // The same ops in other pieces round at other places: a few float32 roundings of the loss per step.
  REQUIRE(largest_difference(whole, curve(tiny(), "reference:composites=off")) < 1e-5);
  SessionOptions parts;
  parts.composites = false;
  REQUIRE(largest_difference(whole, curve(tiny(), "cpu", parts)) < 1e-4);
  REQUIRE(whole.back() < whole.front());
}

TEST_CASE("cpu and the simulated NeuronCore train the GPT with the reference's curve", "[gpt]") {
  const std::vector<double> reference = curve(tiny(), "reference");
  for (const char* device : {"cpu", "cpu:threads=1", "trn1"})
    REQUIRE(largest_difference(reference, curve(tiny(), device)) < 1e-4);
  SessionOptions unfused;
  unfused.fusion = false;
  for (const char* device : {"cpu", "trn1"})
    REQUIRE(largest_difference(reference, curve(tiny(), device, unfused)) < 1e-4);
}

TEST_CASE("rope, rms_norm and grouped queries train on every device", "[gpt]") {
  GptConfig config = tiny();
  config.norm = GptConfig::Norm::rms;
  config.heads = 4;
  config.kv_heads = 2;
  const std::vector<double> reference = curve(config, "reference", {}, 3);
  for (const char* device : {"cpu", "trn1"})
    REQUIRE(largest_difference(reference, curve(config, device, {}, 3)) < 1e-4);
}

TEST_CASE("the planner's peak is within a tenth of the lifetime lower bound on the GPT step", "[gpt]") {
  GptConfig config = tiny();
  config.width = 64;
  config.layers = 4;
  const Graph step = gpt_training_step(config, batch, AdamW{.learning_rate = 1e-2});
  Session session(step, {Device::open("cpu")});
  const Explanation e = session.explain();
  REQUIRE(e.memory.size() == 1);
  REQUIRE(e.memory[0].lower_bound_bytes > 0);
  REQUIRE(static_cast<double>(e.memory[0].arena_bytes) <=
          1.1 * static_cast<double>(e.memory[0].lower_bound_bytes));
  // One device: nothing crosses, and inputs, outputs and variables are bound where they are.
  REQUIRE(e.copies.empty());
}

TEST_CASE("a NeuronCore without room in HBM says so, and the variables survive", "[gpt]") {
  const Graph step = gpt_training_step(tiny(), batch, AdamW{.learning_rate = 1e-2});
  Variables variables(5);
  Session session(step, {Device::open("trn1:memory=20000")}, variables);
  try {
    session.run({{"tokens", tokens(0, 0)}, {"targets", tokens(0, 7)}});
    FAIL("a training step fitted into 20000 bytes");
  } catch (const Error& e) {
    REQUIRE(e.code() == ErrorCode::out_of_memory);
    REQUIRE(std::string(e.what()).find("trn1") != std::string::npos);
  }
  for (const std::string& name : variables.names()) REQUIRE_NOTHROW(variables.read(name));
}
