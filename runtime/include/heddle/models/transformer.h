// Published transformer families as graphs: GPT-2 and Llama decoders, BERT encoders. For estimates and
// benchmarks of models of real size; models/gpt.h is the small one to train and to copy. Made with the public
// graph API alone.
//
//   const heddle::TransformerConfig config = heddle::transformer_preset("llama2-7b");
//   heddle::Graph forward = heddle::transformer_inference(config, 1, 2048);
//
// One block, on a sum x that runs through all of them (f: attention, then the feed-forward part):
//   x = x + f(norm(x))        pre-norm (GPT-2, Llama)
//   x = norm(x + f(x))        post-norm (BERT)
// Everything throws heddle::Error (invalid_argument) naming the setting that does not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heddle/graph.h"
#include "heddle/optimizer.h"

namespace heddle {

struct TransformerConfig {
  enum class Norm : uint8_t { layer, rms };
  enum class Positions : uint8_t { learned, rope };
  // gelu, gelu_tanh: down(act(up(x))); swiglu: down(silu(gate(x)) * up(x)) (Shazeer: GLU Variants, 2020).
  enum class FeedForward : uint8_t { gelu, gelu_tanh, swiglu };

  std::string name = "transformer";
  int64_t vocabulary = 0;
  int64_t context = 0;  // the most positions
  int64_t width = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0;  // kv_heads divides heads; heads divides width
  int64_t hidden = 0;               // of the feed-forward part
  Norm norm = Norm::layer;
  Positions positions = Positions::learned;
  FeedForward feed_forward = FeedForward::gelu;
  double norm_epsilon = 1e-5, rope_base = 10000;
  bool causal = true;  // false: every position sees every other
  bool post_norm = false;
  bool biases = true;           // of the products of attention and the feed-forward part
  bool tied_head = true;        // the output layer is the token embedding
  int64_t segments = 0;         // BERT: rows of a second embedding, of the input "segments"
  bool head_transform = false;  // BERT's masked-word head: product, gelu and norm before the output layer
  // What everything between the embedding and the logits computes in, and what the parameters are kept in.
  DType compute = bf16, parameters = bf16;
};

// "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "bert-base", "bert-large", "llama2-7b", "llama2-13b",
// "llama2-70b", "llama3-8b". transformer_preset throws not_found listing them.
std::vector<std::string> transformer_presets();
TransformerConfig transformer_preset(const std::string& name);

// Numbers in the model's variables; of them, those in tables that are looked up instead of multiplied with.
int64_t transformer_parameter_count(const TransformerConfig& config);
int64_t transformer_table_count(const TransformerConfig& config);

// Floating-point operations of the matrix products of one forward pass over batch sequences of `positions`,
// two per multiply-add; attention counts every pair of positions, also those a causal mask hides (the
// convention of Chowdhery et al.: PaLM, 2022, appendix B). A training step takes three times as many.
double transformer_forward_flops(const TransformerConfig& config, int64_t batch, int64_t positions);

// Inputs "tokens", int32 [batch, positions], and "segments" of the same type where the model has them. Output
// "logits", [batch * positions, vocabulary] in config.compute.
Graph transformer_inference(const TransformerConfig& config, int64_t batch, int64_t positions);
// Inputs also "targets", int32 [batch, positions], of which -100 does not count; output "loss", float32 of
// rank 0. Biases and norms are not decayed.
Graph transformer_training_step(const TransformerConfig& config, int64_t batch, int64_t positions,
                                const Optimizer& optimizer);

// The same model cut at its blocks, so that what is the same need be looked at once.
struct TransformerPart {
  std::string name;    // "embedding", "layer", "head"
  int64_t repeat = 1;  // how often the model runs it
  Graph graph;
};
// Inference. "embedding": tokens -> x [batch * positions, width]; "layer": x -> y; "head": x -> logits.
std::vector<TransformerPart> transformer_parts(const TransformerConfig& config, int64_t batch,
                                               int64_t positions);
// A training step. Each part is forward, backward and AdamW of its own parameters: given dy, the gradient of
// its result y, it makes dx. With a tied head, "head" makes "embedding_gradient", which "embedding" adds to
// its own.
std::vector<TransformerPart> transformer_training_parts(const TransformerConfig& config, int64_t batch,
                                                        int64_t positions);

}  // namespace heddle
