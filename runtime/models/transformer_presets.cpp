// The sizes are those of the published models: Radford et al.: Language Models are Unsupervised Multitask
// Learners, 2019; Devlin et al.: BERT, 2019; Touvron et al.: Llama 2, 2023; Grattafiori et al.: The Llama 3
// Herd of Models, 2024; and the configuration files released with their weights.
#include <array>

#include "heddle/error.h"
#include "heddle/models/transformer.h"

namespace heddle {
namespace {

TransformerConfig gpt2(const char* name, int64_t layers, int64_t width, int64_t heads) {
  TransformerConfig c;
  c.name = name;
  c.vocabulary = 50257, c.context = 1024;
  c.layers = layers, c.width = width, c.heads = c.kv_heads = heads, c.hidden = 4 * width;
  c.feed_forward = TransformerConfig::FeedForward::gelu_tanh;
  return c;
}

TransformerConfig bert(const char* name, int64_t layers, int64_t width, int64_t heads) {
  TransformerConfig c;
  c.name = name;
  c.vocabulary = 30522, c.context = 512;
  c.layers = layers, c.width = width, c.heads = c.kv_heads = heads, c.hidden = 4 * width;
  c.norm_epsilon = 1e-12;
  c.causal = false, c.post_norm = true, c.segments = 2, c.head_transform = true;
  return c;
}

TransformerConfig llama(const char* name, int64_t layers, int64_t width, int64_t heads, int64_t kv_heads,
                        int64_t hidden) {
  TransformerConfig c;
  c.name = name;
  c.vocabulary = 32000, c.context = 4096;
  c.layers = layers, c.width = width, c.heads = heads, c.kv_heads = kv_heads, c.hidden = hidden;
  c.norm = TransformerConfig::Norm::rms;
  c.positions = TransformerConfig::Positions::rope;
  c.feed_forward = TransformerConfig::FeedForward::swiglu;
  c.biases = false, c.tied_head = false;
  return c;
}

TransformerConfig llama3_8b() {
  TransformerConfig c = llama("llama3-8b", 32, 4096, 32, 8, 14336);
  c.vocabulary = 128256, c.context = 8192, c.rope_base = 500000;
  return c;
}

std::array<TransformerConfig, 10> presets() {
  return {gpt2("gpt2", 12, 768, 12),
          gpt2("gpt2-medium", 24, 1024, 16),
          gpt2("gpt2-large", 36, 1280, 20),
          gpt2("gpt2-xl", 48, 1600, 25),
          bert("bert-base", 12, 768, 12),
          bert("bert-large", 24, 1024, 16),
          llama("llama2-7b", 32, 4096, 32, 32, 11008),
          llama("llama2-13b", 40, 5120, 40, 40, 13824),
          llama("llama2-70b", 80, 8192, 64, 8, 28672),
          llama3_8b()};
}

}  // namespace

std::vector<std::string> transformer_presets() {
  std::vector<std::string> names;
  for (const TransformerConfig& c : presets()) names.push_back(c.name);
  return names;
}

TransformerConfig transformer_preset(const std::string& name) {
  std::string known;
  for (TransformerConfig& c : presets()) {
    if (c.name == name) return c;
    known += (known.empty() ? "" : ", ") + c.name;
  }
  throw Error(ErrorCode::not_found, "there is no model '" + name + "'; there are: " + known);
}

}  // namespace heddle
