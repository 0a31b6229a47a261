// The published transformers: sizes, and that their graphs and parts hold exactly the parameters of the
// model.
#include "heddle/models/transformer.h"

#include <map>
#include <set>

#include "heddle/error.h"
#include "tests/catch.h"
#include "tests/expect_error.h"

using namespace heddle;

namespace {

bool is_state(const std::string& name) {
  return name.ends_with(".adam_m") || name.ends_with(".adam_v") || name.ends_with(".step");
}

int64_t numbers(const Graph& graph) {
  int64_t count = 0;
  for (const VariableInfo& v : graph.variables())
    if (!is_state(v.name)) count += v.shape.elements();
  return count;
}

int64_t numbers(const std::vector<TransformerPart>& parts) {
  int64_t count = 0;
  std::set<std::string> seen;
  for (const TransformerPart& part : parts)
    for (const VariableInfo& v : part.graph.variables())
      if (!is_state(v.name) && (part.repeat > 1 || seen.insert(v.name).second))
        count += v.shape.elements() * part.repeat;
  return count;
}

}  // namespace

TEST_CASE("parameters of the published models", "[models]") {
  // As released: gpt2 and BERT's masked-word model count the tied embedding once.
  const std::map<std::string, int64_t> published = {
      {"gpt2", 124439808},         {"gpt2-medium", 354823168},  {"gpt2-large", 774030080},
      {"gpt2-xl", 1557611200},     {"bert-base", 109514298},    {"llama2-7b", 6738415616},
      {"llama2-13b", 13015864320}, {"llama2-70b", 68976648192}, {"llama3-8b", 8030261248}};
  for (const auto& [name, count] : published) {
    CAPTURE(name);
    CHECK(transformer_parameter_count(transformer_preset(name)) == count);
  }
  test::expect_error(ErrorCode::not_found, "there are: gpt2, ", [] { transformer_preset("gpt5"); });
}

TEST_CASE("graphs and parts hold the model's parameters", "[models]") {
  for (const std::string& name : transformer_presets()) {
    CAPTURE(name);
    TransformerConfig config = transformer_preset(name);
    const int64_t count = transformer_parameter_count(config);
    CHECK(numbers(transformer_parts(config, 1, 16)) == count);
    CHECK(numbers(transformer_training_parts(config, 1, 16)) == count);
    config.layers = 2;
    CHECK(numbers(transformer_inference(config, 1, 16)) == transformer_parameter_count(config));
    CHECK(numbers(transformer_training_step(config, 1, 16, AdamW{})) == transformer_parameter_count(config));
  }
}

TEST_CASE("a forward pass takes two operations per parameter and token, and attention", "[models]") {
  const TransformerConfig c = transformer_preset("llama2-7b");
  const double products = static_cast<double>(transformer_parameter_count(c) - transformer_table_count(c));
  const double attention = 2.0 * 2 * 32 * 2048 * 4096;  // per token: scores and mixture of 32 layers
  CHECK(transformer_forward_flops(c, 1, 2048) == Approx(2048 * (2 * products + attention)).epsilon(1e-4));
}

TEST_CASE("settings that do not fit are named", "[models]") {
  TransformerConfig c = transformer_preset("gpt2");
  test::expect_error(ErrorCode::invalid_argument, "1 to 1024 positions",
                     [&] { transformer_inference(c, 1, 1025); });
  c.heads = 5;
  test::expect_error(ErrorCode::invalid_argument, "heads must divide width",
                     [&] { transformer_inference(c, 1, 16); });
}
