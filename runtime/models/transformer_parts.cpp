// A transformer cut at its blocks.
#include <string>

#include "heddle/autodiff.h"
#include "heddle/models/transformer.h"
#include "heddle/ops/convert.h"
#include "heddle/ops/optimizer.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"
#include "models/transformer_builder.h"

namespace heddle {
namespace {

// Backward pass and AdamW of every parameter of the graph in one walk: the gradients of `inputs` become
// outputs.
class Training {
 public:
  explicit Training(Graph graph) : graph_(std::move(graph)) {}

  void step(Value loss, const std::vector<std::pair<std::string, Value>>& inputs,
            const Value& untrained = {}) {
    std::vector<Value> wrt;
    for (const auto& [name, value] : inputs) wrt.push_back(value);
    std::vector<VariableInfo> trained;
    for (const VariableInfo& v : graph_.variables())
      if (!untrained || v.value != untrained.id()) trained.push_back(v);
    for (const VariableInfo& v : trained) wrt.push_back(graph_.value(v.value));
    const std::vector<Value> gradient = gradients(loss, wrt);
    for (size_t i = 0; i < inputs.size(); ++i) graph_.output(inputs[i].first, gradient[i]);
    update(trained, {gradient.begin() + std::ssize(inputs), gradient.end()});
  }

 private:
  void update(const std::vector<VariableInfo>& trained, const std::vector<Value>& gradient) {
    const auto scope = graph_.scope("optimizer");
    const Value steps = graph_.variable("optimizer.step", f32, {}, init::zeros());
    const Value next = steps + 1.0;
    graph_.update(steps, next);
    const Value rate = graph_.scalar(1e-4);
    for (const bool decayed : {true, false}) {
      std::vector<Value> p, g, m, v;
      for (size_t i = 0; i < trained.size(); ++i) {
        const VariableInfo& info = trained[i];
        const bool plain = info.name.ends_with("bias") || info.name.ends_with("scale");
        if (plain == decayed) continue;
        p.push_back(graph_.value(info.value));
        g.push_back(gradient[i]);
        m.push_back(graph_.variable(info.name + ".adam_m", f32, info.shape, init::zeros()));
        v.push_back(graph_.variable(info.name + ".adam_v", f32, info.shape, init::zeros()));
      }
      if (p.empty()) continue;
      const AdamStep stepped = adamw(rate, next, p, g, m, v, {.weight_decay = decayed ? 0.01 : 0.0});
      for (size_t i = 0; i < p.size(); ++i) {
        graph_.update(p[i], stepped.parameters[i]);
        graph_.update(m[i], stepped.m[i]);
        graph_.update(v[i], stepped.v[i]);
      }
    }
  }

  Graph graph_;
};

// A number whose gradient by y is dy.
Value pulled(Value y, Value dy) { return sum(convert(y * dy, f32)); }

Graph embedding_part(const TransformerConfig& config, int64_t batch, int64_t positions, bool train) {
  Graph graph;
  TransformerBuilder builder(graph, config, batch, positions);
  const Value tokens = builder.token_input("tokens");
  const Value segments = config.segments > 0 ? builder.token_input("segments") : Value();
  const Value x = builder.embed(tokens, segments);
  graph.output("x", x);
  if (!train) return graph;
  Value loss = pulled(x, builder.boundary("dx"));
  if (config.tied_head) {
    const Value table = builder.embedding_table();
    loss = loss + pulled(table, graph.input("embedding_gradient", table.dtype(), table.dims()));
  }
  Training(graph).step(loss, {});
  return graph;
}

Graph layer_part(const TransformerConfig& config, int64_t batch, int64_t positions, bool train) {
  Graph graph;
  TransformerBuilder builder(graph, config, batch, positions);
  const Value x = builder.boundary("x");
  const Value y = builder.layer(x, "layer");
  graph.output("y", y);
  if (train) Training(graph).step(pulled(y, builder.boundary("dy")), {{"dx", x}});
  return graph;
}

Graph head_part(const TransformerConfig& config, int64_t batch, int64_t positions, bool train) {
  Graph graph;
  TransformerBuilder builder(graph, config, batch, positions);
  const Value x = builder.boundary("x");
  const Value logits = builder.head(x);
  if (!train) {
    graph.output("logits", logits);
    return graph;
  }
  const Value loss = builder.loss(logits, builder.token_input("targets"));
  graph.output("loss", loss);
  std::vector<std::pair<std::string, Value>> wanted = {{"dx", x}};
  if (!config.tied_head) {
    Training(graph).step(loss, wanted);
  } else {
    const Value table = builder.embedding_table();
    wanted.emplace_back("embedding_gradient", table);
    Training(graph).step(loss, wanted, table);
  }
  return graph;
}

std::vector<TransformerPart> parts(const TransformerConfig& config, int64_t batch, int64_t positions,
                                   bool train) {
  return {{"embedding", 1, embedding_part(config, batch, positions, train)},
          {"layer", config.layers, layer_part(config, batch, positions, train)},
          {"head", 1, head_part(config, batch, positions, train)}};
}

}  // namespace

std::vector<TransformerPart> transformer_parts(const TransformerConfig& config, int64_t batch,
                                               int64_t positions) {
  return parts(config, batch, positions, false);
}

std::vector<TransformerPart> transformer_training_parts(const TransformerConfig& config, int64_t batch,
                                                        int64_t positions) {
  return parts(config, batch, positions, true);
}

}  // namespace heddle
