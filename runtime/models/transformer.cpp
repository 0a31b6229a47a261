#include "heddle/models/transformer.h"

#include <string_view>

#include "models/transformer_builder.h"

namespace heddle {
namespace {

bool is_undecayed(const std::string& variable) {
  return variable.ends_with("bias") || variable.ends_with("scale");
}

struct Inputs {
  Value tokens, segments;
};

Inputs declare_inputs(TransformerBuilder& builder, const TransformerConfig& config) {
  Inputs in{builder.token_input("tokens"), {}};
  if (config.segments > 0) in.segments = builder.token_input("segments");
  return in;
}

Value logits_of(TransformerBuilder& builder, const TransformerConfig& config, const Inputs& in) {
  Value x = builder.embed(in.tokens, in.segments);
  for (int64_t i = 0; i < config.layers; ++i) x = builder.layer(x, "layer" + std::to_string(i));
  return builder.head(x);
}

// Multiply-adds per position of the products with parameters.
double layer_products(const TransformerConfig& c) {
  const auto width = static_cast<double>(c.width), hidden = static_cast<double>(c.hidden);
  const double kv = width / static_cast<double>(c.heads) * static_cast<double>(c.kv_heads);
  const double matrices = c.feed_forward == TransformerConfig::FeedForward::swiglu ? 3 : 2;
  return 2 * width * width + 2 * width * kv + matrices * width * hidden;
}

int64_t norm_size(const TransformerConfig& c) {
  return c.norm == TransformerConfig::Norm::layer ? 2 * c.width : c.width;
}

}  // namespace

int64_t transformer_table_count(const TransformerConfig& c) {
  const int64_t tokens = c.tied_head ? 0 : c.vocabulary * c.width;  // a tied table is multiplied with, too
  const int64_t positions = c.positions == TransformerConfig::Positions::learned ? c.context * c.width : 0;
  return tokens + positions + c.segments * c.width;
}

int64_t transformer_parameter_count(const TransformerConfig& c) {
  check_transformer(c);
  const int64_t kv = c.width / c.heads * c.kv_heads;
  int64_t layer = static_cast<int64_t>(layer_products(c)) + 2 * norm_size(c);
  if (c.biases) {
    const bool gated = c.feed_forward == TransformerConfig::FeedForward::swiglu;
    layer += 2 * c.width + 2 * kv + (gated ? 2 : 1) * c.hidden + c.width;
  }
  int64_t head = c.vocabulary * c.width;
  if (c.head_transform) head += c.width * c.width + norm_size(c) + c.vocabulary + (c.biases ? c.width : 0);
  return transformer_table_count(c) + c.layers * layer + norm_size(c) + head;
}

double transformer_forward_flops(const TransformerConfig& c, int64_t batch, int64_t positions) {
  check_transformer(c);
  const auto width = static_cast<double>(c.width), length = static_cast<double>(positions);
  const double attention = 2 * length * width;  // scores and mixture, per position
  const double head = width * static_cast<double>(c.vocabulary) + (c.head_transform ? width * width : 0.0);
  return 2 * static_cast<double>(batch) * length *
         (static_cast<double>(c.layers) * (layer_products(c) + attention) + head);
}

Graph transformer_inference(const TransformerConfig& config, int64_t batch, int64_t positions) {
  Graph graph;
  TransformerBuilder builder(graph, config, batch, positions);
  const Inputs in = declare_inputs(builder, config);
  graph.output("logits", logits_of(builder, config, in));
  return graph;
}

Graph transformer_training_step(const TransformerConfig& config, int64_t batch, int64_t positions,
                                const Optimizer& optimizer) {
  Graph graph;
  TransformerBuilder builder(graph, config, batch, positions);
  const Inputs in = declare_inputs(builder, config);
  const Value targets = builder.token_input("targets");
  const Value loss = builder.loss(logits_of(builder, config, in), targets);
  MinimizeOptions options;
  options.groups.push_back({.matches = is_undecayed, .weight_decay = 0, .learning_rate_scale = 1});
  minimize(loss, optimizer, options);
  graph.output("loss", loss);
  return graph;
}

}  // namespace heddle
