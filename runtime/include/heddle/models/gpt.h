// The built-in model: a decoder-only transformer (Radford et al.: Language Models are Unsupervised Multitask
// Learners, 2019) with pre-norm blocks. It is made with the public graph API alone; copy it to make your own.
//
//   heddle::Graph step = heddle::gpt_training_step(config, 64, heddle::AdamW{.learning_rate = 3e-3});
//   heddle::Session session(step, {heddle::Device::open("cpu")}, variables);
//   session.run({{"tokens", tokens}, {"targets", targets}}).at("loss");
//
// Everything throws heddle::Error (invalid_argument) naming the setting that does not fit.
#pragma once

#include <cstdint>
#include <vector>

#include "heddle/graph.h"
#include "heddle/optimizer.h"

namespace heddle {

struct GptConfig {
  enum class Positions : uint8_t { learned, rope };
  enum class Norm : uint8_t { layer, rms };

  int64_t vocabulary = 0;  // tokens are 0 .. vocabulary - 1
  int64_t context = 0;     // the most positions of a sequence
  int64_t width = 64;
  int64_t layers = 2;
  int64_t heads = 4;     // divides width
  int64_t kv_heads = 0;  // divides heads: fewer key and value heads than query heads; 0: as many
  int64_t hidden = 0;    // of the feed-forward part; 0: 4 * width
  Positions positions = Positions::learned;
  Norm norm = Norm::layer;
  bool tied_head = false;  // the output layer is the token embedding
  double dropout = 0;      // of the embedding and of each block's two results, while training
  // What matrix products and attention compute in: float32, bfloat16 or float16. Variables, the sum that runs
  // through the blocks, norms and the loss stay float32.
  DType compute = f32;
};

// Numbers in the model's variables.
int64_t gpt_parameter_count(const GptConfig& config);

// logits [batch * positions, vocabulary] in config.compute, for tokens int [batch, positions]; positions must
// be a number of at most config.context. Declares the variables "embedding", "layer0.attention.query" and so
// on in the tokens' graph. `dropout_counter`: uint64 [1]; without it nothing is dropped.
Value gpt_logits(Value tokens, const GptConfig& config, Value dropout_counter = {});

// One training step. Inputs "tokens" and "targets", int32 [batch, positions], targets of -100 not counting;
// outputs "loss", the mean cross-entropy in nats over the targets that count, and "learning_rate", both
// float32 of rank 0, and "gradient_norm" when options.max_grad_norm asks for one. With dropout there is a
// third input, "dropout_counter", uint64 [1]: count it up by 2^32 every step, so that no bits are drawn
// twice. Biases and norms are not decayed. `positions` 0 means config.context.
Graph gpt_training_step(const GptConfig& config, const Dim& batch, const Optimizer& optimizer,
                        MinimizeOptions options = {}, int64_t positions = 0);

// The model alone, without dropout. Input "tokens" as above; output "logits", float32 [batch, positions,
// vocabulary].
Graph gpt_inference(const GptConfig& config, const Dim& batch, int64_t positions = 0);

// Inputs as a training step; output "loss".
Graph gpt_loss(const GptConfig& config, const Dim& batch, int64_t positions = 0);

}  // namespace heddle
