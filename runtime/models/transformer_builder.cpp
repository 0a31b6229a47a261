#include "models/transformer_builder.h"

#include <cmath>
#include <utility>

#include "heddle/error.h"
#include "heddle/ops/attention.h"
#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/loss.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/normalize.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/rope.h"

namespace heddle {
namespace {

constexpr int64_t ignored_target = -100;

void check(const TransformerConfig& config, bool fits, const std::string& what) {
  if (!fits) throw Error(ErrorCode::invalid_argument, config.name + ": " + what);
}

}  // namespace

void check_transformer(const TransformerConfig& c) {
  constexpr int64_t largest = int64_t{1} << 31;  // products of two sizes stay far from overflow
  const std::pair<const char*, int64_t> sizes[] = {
      {"vocabulary", c.vocabulary}, {"context", c.context},   {"width", c.width},  {"layers", c.layers},
      {"heads", c.heads},           {"kv_heads", c.kv_heads}, {"hidden", c.hidden}};
  for (const auto& [name, size] : sizes)
    check(c, size > 0 && size < largest,
          std::string(name) + " must be positive and below 2^31, got " + std::to_string(size));
  check(c, c.width % c.heads == 0, "heads must divide width");
  check(c, c.heads % c.kv_heads == 0, "kv_heads must divide heads");
  check(c, c.positions != TransformerConfig::Positions::rope || c.width / c.heads % 2 == 0,
        "rope turns pairs: width / heads must be even");
  for (const DType dtype : {c.compute, c.parameters})
    check(c, dtype == f32 || dtype == bf16,
          std::string("models compute in float32 or bfloat16, not ") + dtype_name(dtype));
}

TransformerBuilder::TransformerBuilder(Graph graph, const TransformerConfig& config, int64_t batch,
                                       int64_t positions)
    : graph_(std::move(graph)), config_(config), batch_(batch), positions_(positions) {
  check_transformer(config_);
  check(config_, batch >= 1, "batch must be positive, got " + std::to_string(batch));
  check(config_, positions >= 1 && positions <= config_.context,
        "a sequence has 1 to " + std::to_string(config_.context) + " positions, got " +
            std::to_string(positions));
}

Value TransformerBuilder::boundary(const std::string& name) {
  return graph_.input(name, config_.compute, {batch_ * positions_, config_.width});
}

Value TransformerBuilder::token_input(const std::string& name) {
  return graph_.input(name, i32, {batch_, positions_});
}

Value TransformerBuilder::table(const std::string& name, int64_t rows) {
  return graph_.variable(name, config_.parameters, {rows, config_.width}, init::normal(0.02));
}

Value TransformerBuilder::embedding_table() { return table("embedding", config_.vocabulary); }

// Rows are converted after the look-up, so that gradients are added up in the dtype of the table.
Value TransformerBuilder::looked_up(const std::string& name, int64_t rows, Value indices) {
  return convert(embedding(table(name, rows), indices), config_.compute);
}

Value TransformerBuilder::embed(Value tokens, Value segments) {
  const auto scope = graph_.scope("embedding");
  Value x = looked_up("embedding", config_.vocabulary, tokens);
  if (config_.positions == TransformerConfig::Positions::learned) {
    const Value rows = parameter("positions", {config_.context, config_.width}, init::normal(0.02));
    x = x + (positions_ < config_.context ? slice(rows, 0, 0, positions_) : rows);
  }
  if (config_.segments > 0) x = x + looked_up("segment_embedding", config_.segments, segments);
  x = reshape(x, {batch_ * positions_, config_.width});
  return config_.post_norm ? norm(x, "embedding.norm.") : x;
}

Value TransformerBuilder::layer(Value x, const std::string& name) {
  const auto scope = graph_.scope(name);
  const auto add = [&](const char* part, const auto& f) {
    const auto inner = graph_.scope(part);
    const std::string prefix = name + "." + part + ".";
    if (config_.post_norm) return norm(x + f(x, prefix), prefix + "norm.");
    return x + f(norm(x, prefix + "norm."), prefix);
  };
  x = add("attention", [&](Value in, const std::string& prefix) { return self_attention(in, prefix); });
  return add("mlp", [&](Value in, const std::string& prefix) { return feed_forward(in, prefix); });
}

Value TransformerBuilder::head(Value x) {
  const auto scope = graph_.scope("head");
  if (!config_.post_norm) x = norm(x, "norm.");
  if (config_.head_transform)
    x = norm(gelu(product(x, "head.transform", config_.width, config_.width)), "head.norm.");
  Value logits = config_.tied_head
                     ? matmul(x, convert(embedding_table(), config_.compute), false, true)
                     : matmul(x, parameter("head", {config_.width, config_.vocabulary}, init::normal(0.02)));
  if (config_.head_transform) logits = logits + parameter("head.bias", {config_.vocabulary}, init::zeros());
  return logits;
}

Value TransformerBuilder::loss(Value logits, Value targets) {
  const auto scope = graph_.scope("loss");
  return cross_entropy(logits, reshape(targets, {batch_ * positions_}), ignored_target);
}

void TransformerBuilder::make_rope_tables() {
  if (cos_) return;
  const RopeTables tables = rope_tables(positions_, config_.width / config_.heads, config_.rope_base);
  cos_ = graph_.constant(tables.cos, "rope_cos");
  sin_ = graph_.constant(tables.sin, "rope_sin");
}

Value TransformerBuilder::self_attention(Value x, const std::string& name) {
  const int64_t size = config_.width / config_.heads;
  const bool turned = config_.positions == TransformerConfig::Positions::rope;
  if (turned) make_rope_tables();
  const auto by_head = [&](const char* what, int64_t heads, bool turn) {
    const Value y =
        reshape(product(x, name + what, config_.width, heads * size), {batch_, positions_, heads, size});
    return turn ? rope(y, cos_, sin_, {.layout = HeadLayout::bshd}) : y;
  };
  const Value q = by_head("query", config_.heads, turned);
  const Value k = by_head("key", config_.kv_heads, turned);
  const Value v = by_head("value", config_.kv_heads, false);
  const Value mixed = attention(q, k, v, {.causal = config_.causal, .scale = 0, .layout = HeadLayout::bshd});
  return product(reshape(mixed, {batch_ * positions_, config_.width}), name + "output", config_.width,
                 config_.width);
}

Value TransformerBuilder::feed_forward(Value x, const std::string& name) {
  const Value up = product(x, name + "up", config_.width, config_.hidden);
  Value mixed;
  switch (config_.feed_forward) {
    case TransformerConfig::FeedForward::gelu:
      mixed = gelu(up);
      break;
    case TransformerConfig::FeedForward::gelu_tanh:
      mixed = gelu(up, true);
      break;
    case TransformerConfig::FeedForward::swiglu:
      mixed = silu(product(x, name + "gate", config_.width, config_.hidden)) * up;
      break;
  }
  return product(mixed, name + "down", config_.hidden, config_.width);
}

Value TransformerBuilder::norm(Value x, const std::string& name) {
  const Value scale = parameter(name + "scale", {config_.width}, init::constant(1));
  if (config_.norm == TransformerConfig::Norm::rms) return rms_norm(x, scale, config_.norm_epsilon);
  return layer_norm(x, scale, parameter(name + "bias", {config_.width}, init::zeros()), config_.norm_epsilon);
}

Value TransformerBuilder::product(Value x, const std::string& name, int64_t inputs, int64_t outputs) {
  const double deviation = 1 / std::sqrt(static_cast<double>(inputs));
  const Value y = matmul(x, parameter(name, {inputs, outputs}, init::normal(deviation)));
  return config_.biases ? y + parameter(name + ".bias", {outputs}, init::zeros()) : y;
}

Value TransformerBuilder::parameter(const std::string& name, const Shape& shape,
                                    const Initializer& initializer) {
  return convert(graph_.variable(name, config_.parameters, shape, initializer), config_.compute);
}

}  // namespace heddle
