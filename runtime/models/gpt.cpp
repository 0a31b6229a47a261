#include "heddle/models/gpt.h"

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
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
#include "heddle/ops/random.h"
#include "heddle/ops/rope.h"

namespace heddle {
namespace {

constexpr int64_t ignored_target = -100;
constexpr uint64_t dropout_key = 0x6865'6464'6c65'0000;  // of the first place; any number does

void check(bool fits, const std::string& what) {
  if (!fits) throw Error(ErrorCode::invalid_argument, "gpt: " + what);
}

std::string text(int64_t number) { return std::to_string(number); }

// The defaults that depend on other settings filled in, and everything checked.
GptConfig complete(GptConfig config) {
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  if (config.hidden == 0) config.hidden = 4 * config.width;
  constexpr int64_t largest = int64_t{1} << 31;  // products of two sizes stay far from overflow
  const std::pair<const char*, int64_t> sizes[] = {
      {"vocabulary", config.vocabulary}, {"context", config.context},   {"width", config.width},
      {"heads", config.heads},           {"kv_heads", config.kv_heads}, {"hidden", config.hidden}};
  for (const auto& [name, size] : sizes)
    check(size > 0 && size < largest,
          std::string(name) + " must be positive and below 2^31, got " + text(size));
  check(config.layers >= 0 && config.layers <= 1000, "layers must be 0 to 1000, got " + text(config.layers));
  check(config.width % config.heads == 0,
        "heads must divide width, got " + text(config.heads) + " heads and width " + text(config.width));
  check(config.heads % config.kv_heads == 0, "kv_heads must divide heads, got " + text(config.kv_heads) +
                                                 " kv_heads and " + text(config.heads) + " heads");
  check(config.positions != GptConfig::Positions::rope || config.width / config.heads % 2 == 0,
        "rope turns pairs: width / heads must be even, got " + text(config.width / config.heads));
  check(config.dropout >= 0 && config.dropout < 1, "dropout must be in [0, 1)");
  check(config.compute == f32 || config.compute == bf16 || config.compute == f16,
        std::string("compute must be float32, bfloat16 or float16, got ") + dtype_name(config.compute));
  return config;
}

// Builds the model: one call makes one part of it.
class Builder {
 public:
  Builder(Graph graph, const GptConfig& config, Value dropout_counter)
      : graph_(std::move(graph)), config_(complete(config)) {
    if (config_.dropout > 0) dropout_counter_ = dropout_counter;
  }

  // tokens [batch, positions] -> logits [batch * positions, vocabulary]
  Value logits(Value tokens) {
    check(tokens.rank() == 2 && tokens.dims()[1].is_number(),
          "tokens must be [batch, positions], positions a number");
    batch_ = tokens.dims()[0];
    positions_ = tokens.dims()[1].number();
    check(positions_ >= 1 && positions_ <= config_.context,
          "positions must be 1 to the context of " + text(config_.context) + ", got " + text(positions_));
    Value x = embed(tokens);
    for (int64_t i = 0; i < config_.layers; ++i) {
      const std::string layer = "layer" + text(i);
      const auto scope = graph_.scope(layer);
      x = block(x, layer + ".");
    }
    const auto scope = graph_.scope("head");
    x = convert(norm(x, "norm."), config_.compute);
    if (config_.tied_head) return matmul(x, convert(embedding_, config_.compute), false, true);
    return matmul(x, weight("head", config_.width, config_.vocabulary));
  }

 private:
  // -> [batch * positions, width], float32
  Value embed(Value tokens) {
    const auto scope = graph_.scope("embedding");
    embedding_ = graph_.variable("embedding", f32, {config_.vocabulary, config_.width}, init::normal(0.02));
    Value x = heddle::embedding(embedding_, tokens);
    if (config_.positions == GptConfig::Positions::learned) {
      Value table = graph_.variable("positions", f32, {config_.context, config_.width}, init::normal(0.02));
      if (positions_ < config_.context) table = slice(table, 0, 0, positions_);
      x = x + table;
    } else {
      const RopeTables tables = rope_tables(positions_, config_.width / config_.heads);
      rope_cos_ = graph_.constant(tables.cos, "rope_cos");
      rope_sin_ = graph_.constant(tables.sin, "rope_sin");
    }
    return drop(reshape(x, {batch_ * positions_, config_.width}));
  }

  // x + attention(norm(x)), then x + feed_forward(norm(x)).
  Value block(Value x, const std::string& name) {
    {
      const auto scope = graph_.scope("attention");
      x = x + drop(convert(self_attention(norm(x, name + "attention.norm."), name + "attention."), f32));
    }
    const auto scope = graph_.scope("mlp");
    return x + drop(convert(feed_forward(norm(x, name + "mlp.norm."), name + "mlp."), f32));
  }

  Value self_attention(Value x, const std::string& name) {
    const int64_t size = config_.width / config_.heads;
    x = convert(x, config_.compute);
    const auto project = [&](const char* what, int64_t heads, bool turned) {
      const Value y = matmul(x, weight(name + what, config_.width, heads * size));
      const Value by_head = reshape(y, {batch_, positions_, heads, size});
      return turned ? turn(by_head) : by_head;
    };
    const Value q = project("query", config_.heads, true);
    const Value k = project("key", config_.kv_heads, true);
    const Value v = project("value", config_.kv_heads, false);
    const Value mixed = attention(q, k, v, {.causal = true, .scale = 0, .layout = HeadLayout::bshd});
    return matmul(reshape(mixed, {batch_ * positions_, config_.width}),
                  weight(name + "output", config_.width, config_.width, residual_scale()));
  }

  Value turn(Value x) { return rope_cos_ ? rope(x, rope_cos_, rope_sin_, {.layout = HeadLayout::bshd}) : x; }

  Value feed_forward(Value x, const std::string& name) {
    x = convert(x, config_.compute);
    const Value up =
        matmul(x, weight(name + "up", config_.width, config_.hidden)) + bias(name + "up", config_.hidden);
    return matmul(gelu(up), weight(name + "down", config_.hidden, config_.width, residual_scale())) +
           bias(name + "down", config_.width);
  }

  Value norm(Value x, const std::string& name) {
    const Value scale = graph_.variable(name + "scale", f32, {config_.width}, init::constant(1));
    if (config_.norm == GptConfig::Norm::rms) return rms_norm(x, scale);
    return layer_norm(x, scale, graph_.variable(name + "bias", f32, {config_.width}, init::zeros()));
  }

  // [inputs, outputs] whose products keep the size of what goes in.
  Value weight(const std::string& name, int64_t inputs, int64_t outputs, double scale = 1) {
    const double deviation = scale / std::sqrt(static_cast<double>(inputs));
    return convert(graph_.variable(name, f32, {inputs, outputs}, init::normal(deviation)), config_.compute);
  }

  Value bias(const std::string& name, int64_t size) {
    return convert(graph_.variable(name + ".bias", f32, {size}, init::zeros()), config_.compute);
  }

  // 2 * layers results are added to the sum that runs through the blocks: this keeps its size.
  double residual_scale() const { return 1 / std::sqrt(2.0 * static_cast<double>(config_.layers)); }

  Value drop(Value x) {
    if (!dropout_counter_) return x;
    // A key of its own for each place: the same counter draws other bits there.
    const Value key =
        graph_.constant(Tensor::of<uint64_t>({dropout_key + drop_sites_++}, {1}), "dropout_key");
    return dropout(x, config_.dropout, key, dropout_counter_);
  }

  Graph graph_;
  GptConfig config_;
  Dim batch_;
  int64_t positions_ = 0;
  Value embedding_, rope_cos_, rope_sin_;
  Value dropout_counter_;
  uint64_t drop_sites_ = 0;
};

int64_t positions_or_context(const GptConfig& config, int64_t positions) {
  return positions == 0 ? complete(config).context : positions;
}

Value loss_of(Value logits, Value targets) {
  const Value flat = reshape(targets, {targets.dims().elements()});
  return cross_entropy(logits, flat, ignored_target);
}

bool is_undecayed(const std::string& variable) {
  return variable.ends_with(".bias") || variable.ends_with(".scale");
}

}  // namespace

int64_t gpt_parameter_count(const GptConfig& given) {
  const GptConfig c = complete(given);
  const int64_t norm = c.norm == GptConfig::Norm::layer ? 2 * c.width : c.width;
  const int64_t attention = 2 * c.width * c.width + 2 * c.width * (c.width / c.heads * c.kv_heads);
  const int64_t mlp = 2 * c.width * c.hidden + c.hidden + c.width;
  const int64_t positions = c.positions == GptConfig::Positions::learned ? c.context * c.width : 0;
  return c.vocabulary * c.width * (c.tied_head ? 1 : 2) + positions + norm +
         c.layers * (attention + mlp + 2 * norm);
}

Value gpt_logits(Value tokens, const GptConfig& config, Value dropout_counter) {
  return Builder(tokens.graph(), config, dropout_counter).logits(tokens);
}

Graph gpt_training_step(const GptConfig& config, const Dim& batch, const Optimizer& optimizer,
                        MinimizeOptions options, int64_t positions) {
  Graph graph;
  const Dims dims = {batch, positions_or_context(config, positions)};
  const Value tokens = graph.input("tokens", i32, dims);
  const Value targets = graph.input("targets", i32, dims);
  const Value counter = config.dropout > 0 ? graph.input("dropout_counter", u64, {1}) : Value();
  const Value loss = loss_of(gpt_logits(tokens, config, counter), targets);
  options.groups.push_back({.matches = is_undecayed, .weight_decay = 0, .learning_rate_scale = 1});
  const Minimized minimized = minimize(loss, optimizer, options);
  graph.output("loss", loss);
  graph.output("learning_rate", minimized.learning_rate);
  if (minimized.gradient_norm) graph.output("gradient_norm", minimized.gradient_norm);
  return graph;
}

Graph gpt_inference(const GptConfig& config, const Dim& batch, int64_t positions) {
  Graph graph;
  const Value tokens = graph.input("tokens", i32, {batch, positions_or_context(config, positions)});
  const Value logits = convert(gpt_logits(tokens, config), f32);
  graph.output("logits", reshape(logits, {tokens.dims()[0], tokens.dims()[1], config.vocabulary}));
  return graph;
}

Graph gpt_loss(const GptConfig& config, const Dim& batch, int64_t positions) {
  Graph graph;
  const Dims dims = {batch, positions_or_context(config, positions)};
  const Value tokens = graph.input("tokens", i32, dims);
  const Value targets = graph.input("targets", i32, dims);
  graph.output("loss", loss_of(gpt_logits(tokens, config), targets));
  return graph;
}

}  // namespace heddle
