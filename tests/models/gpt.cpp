// The built-in model has the variables it says, sees no future, and learns.
#include "heddle/models/gpt.h"

#include <cmath>
#include <set>
#include <vector>

#include "heddle/session.h"
#include "tests/expect_error.h"

using namespace heddle;
using heddle::test::expect_error;

namespace {

GptConfig small() {
  GptConfig config;
  config.vocabulary = 7;
  config.context = 5;
  config.width = 8;
  config.layers = 2;
  config.heads = 2;
  return config;
}

std::vector<GptConfig> variants() {
  std::vector<GptConfig> all(5, small());
  all[1].positions = GptConfig::Positions::rope;
  all[1].norm = GptConfig::Norm::rms;
  all[2].tied_head = true;
  all[2].kv_heads = 1;
  all[3].compute = bf16;
  all[4].layers = 0;
  return all;
}

// The parameters: variables without optimizer state.
std::set<std::string> parameters_of(const Graph& graph) {
  std::set<std::string> names;
  for (const VariableInfo& variable : graph.variables()) {
    if (variable.name.find("adam") == std::string::npos &&
        variable.name.find("optimizer") == std::string::npos)
      names.insert(variable.name);
  }
  return names;
}

Tensor tokens_of(std::vector<int32_t> values, int64_t rows) {
  const int64_t columns = std::ssize(values) / rows;
  return Tensor::of<int32_t>(values, {rows, columns});
}

std::vector<Device> reference() { return {Device::open("reference")}; }

}  // namespace

TEST_CASE("the parameter count is that of the graph, and both graphs have the same parameters", "[gpt]") {
  for (const GptConfig& config : variants()) {
    const Graph inference = gpt_inference(config, 2), step = gpt_training_step(config, 2, AdamW{});
    int64_t count = 0;
    for (const VariableInfo& variable : inference.variables()) count += variable.shape.elements();
    CHECK(count == gpt_parameter_count(config));
    CHECK(parameters_of(inference) == parameters_of(step));
    CHECK(parameters_of(gpt_loss(config, 2)) == parameters_of(step));
  }
}

TEST_CASE("a position's logits do not depend on later tokens", "[gpt]") {
  for (const GptConfig& config : variants()) {
    Session session(gpt_inference(config, 1), reference(), Variables(3));
    const Tensor first = session.run({{"tokens", tokens_of({1, 2, 3, 4, 5}, 1)}}).at("logits");
    const Tensor other = session.run({{"tokens", tokens_of({1, 2, 6, 0, 5}, 1)}}).at("logits");
    REQUIRE(first.shape() == Shape{1, 5, 7});
    for (int64_t i = 0; i < 2 * 7; ++i) CHECK(first.at(i) == other.at(i));
    bool later_differ = false;
    for (int64_t i = 2 * 7; i < 5 * 7; ++i) later_differ = later_differ || first.at(i) != other.at(i);
    CHECK(later_differ);
  }
}

TEST_CASE("the order of earlier tokens matters", "[gpt]") {
  for (const GptConfig& config : variants()) {
    if (config.layers == 0) continue;
    Session session(gpt_inference(config, 1), reference(), Variables(3));
    const Tensor first = session.run({{"tokens", tokens_of({1, 2, 3, 4, 5}, 1)}}).at("logits");
    const Tensor other = session.run({{"tokens", tokens_of({2, 1, 3, 4, 5}, 1)}}).at("logits");
    CHECK(std::abs(first.at(4 * 7) - other.at(4 * 7)) > 1e-6);
  }
}

TEST_CASE("the first loss is that of a guess, and training takes it down", "[gpt]") {
  for (const GptConfig& config : variants()) {
    CAPTURE(config.compute, config.layers, config.tied_head);
    MinimizeOptions options;
    options.max_grad_norm = 1;
    Session session(gpt_training_step(config, 2, AdamW{.learning_rate = 0.01}, options), reference(),
                    Variables(1));
    const std::map<std::string, Tensor> batch = {
        {"tokens", tokens_of({1, 2, 3, 4, 5, 6, 5, 4, 3, 2}, 2)},
        {"targets", tokens_of({2, 3, 4, 5, 6, 5, 4, 3, 2, -100}, 2)}};
    auto outputs = session.run(batch);
    const double first = outputs.at("loss").at(0);
    CHECK(first == Approx(std::log(7)).margin(0.8));
    CHECK(outputs.at("learning_rate").at(0) == Approx(0.01));
    CHECK(outputs.at("gradient_norm").at(0) > 0);
    for (int i = 0; i < 30; ++i) outputs = session.run(batch);
    CHECK(outputs.at("loss").at(0) < 0.7 * first);
  }
}

TEST_CASE("the same variables train and answer", "[gpt]") {
  const GptConfig config = small();
  const Variables variables(1);
  Session step(gpt_training_step(config, 1, AdamW{.learning_rate = 0.02}), reference(), variables);
  for (int i = 0; i < 60; ++i)
    step.run({{"tokens", tokens_of({1, 2, 3, 4, 5}, 1)}, {"targets", tokens_of({2, 3, 4, 5, 6}, 1)}});
  Session inference(gpt_inference(config, 1, 3), reference(), variables);
  const Tensor logits = inference.run({{"tokens", tokens_of({1, 2, 3}, 1)}}).at("logits");
  for (int64_t position = 0; position < 3; ++position) {
    int64_t best = 0;
    for (int64_t token = 1; token < 7; ++token)
      if (logits.at(position * 7 + token) > logits.at(position * 7 + best)) best = token;
    CHECK(best == position + 2);
  }
}

TEST_CASE("the batch may be a name that is bound at run time", "[gpt]") {
  Session session(gpt_inference(small(), "batch"), reference(), Variables(1));
  for (const int64_t rows : {1, 3}) {
    const Tensor logits =
        session.run({{"tokens", tokens_of(std::vector<int32_t>(static_cast<size_t>(5 * rows), 2), rows)}})
            .at("logits");
    CHECK(logits.shape() == Shape{rows, 5, 7});
  }
}

TEST_CASE("dropout draws anew every step and only while training", "[gpt]") {
  GptConfig config = small();
  config.dropout = 0.3;
  const std::map<std::string, Tensor> batch = {{"tokens", tokens_of({1, 2, 3, 4, 5}, 1)},
                                               {"targets", tokens_of({2, 3, 4, 5, 6}, 1)}};
  // A learning rate of almost nothing: what changes is the draw.
  const auto losses = [&] {
    Session session(gpt_training_step(config, 1, Sgd{.learning_rate = 1e-30}), reference(), Variables(1));
    std::vector<double> seen;
    for (uint64_t step = 0; step < 4; ++step) {
      auto inputs = batch;
      inputs["dropout_counter"] = Tensor::of<uint64_t>({step << 32}, {1});
      seen.push_back(session.run(inputs).at("loss").at(0));
    }
    return seen;
  };
  const std::vector<double> first = losses();
  CHECK(std::set<double>(first.begin(), first.end()).size() == 4);
  CHECK(losses() == first);
  Session answer(gpt_loss(config, 1), reference(), Variables(1));
  CHECK(answer.run(batch).at("loss").at(0) == answer.run(batch).at("loss").at(0));
}

TEST_CASE("settings that do not fit are refused by name", "[gpt]") {
  const auto refuses = [](const std::string& what, const std::function<void(GptConfig&)>& change) {
    GptConfig config = small();
    change(config);
    expect_error(ErrorCode::invalid_argument, what, [&] { gpt_inference(config, 1); });
  };
  refuses("vocabulary must be positive", [](GptConfig& c) { c.vocabulary = 0; });
  refuses("context must be positive", [](GptConfig& c) { c.context = -1; });
  refuses("heads must divide width", [](GptConfig& c) { c.heads = 3; });
  refuses("kv_heads must divide heads", [](GptConfig& c) { c.heads = 4, c.kv_heads = 3; });
  refuses("must be even", [](GptConfig& c) { c.heads = 8, c.positions = GptConfig::Positions::rope; });
  refuses("dropout", [](GptConfig& c) { c.dropout = 1; });
  refuses("compute must be", [](GptConfig& c) { c.compute = i32; });
  refuses("layers must be", [](GptConfig& c) { c.layers = -1; });
  expect_error(ErrorCode::invalid_argument, "positions must be 1 to the context of 5, got 6",
               [] { gpt_inference(small(), 1, 6); });
}
