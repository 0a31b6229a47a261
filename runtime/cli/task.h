// What `heddle train` can learn: where batches come from, and how a trained model is judged.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace heddle::cli {

// Targets with this value count neither in the loss nor in its gradient.
inline constexpr int32_t ignored_target = -100;

// A model being judged. `tokens` and `targets` are [rows, context], row-major, with at most `rows` rows.
struct TrainedModel {
  int64_t rows = 0;
  // The most likely next token after every position (ties: the lowest).
  std::function<std::vector<int32_t>(std::span<const int32_t> tokens)> predict;
  // The mean loss in nats over the targets that are not ignored.
  std::function<double(std::span<const int32_t> tokens, std::span<const int32_t> targets)> loss;
};

struct Evaluation {
  std::optional<double> accuracy;       // share of examples that are answered exactly
  int64_t examples = 0;                 // behind `accuracy`
  std::optional<double> held_out_loss;  // nats per token on data that was not trained on
};

class Task {
 public:
  virtual ~Task() = default;
  virtual int64_t vocabulary() const = 0;
  virtual int64_t context() const = 0;  // positions of a row
  // Fills rows of `context()` tokens and targets for training step `step` (from 0). A function of the task's
  // seed, the step and nothing else: a run that is resumed sees the rows it would have seen.
  virtual void fill(int64_t step, std::span<int32_t> tokens, std::span<int32_t> targets) const = 0;
  virtual Evaluation evaluate(const TrainedModel& model) const = 0;
};

}  // namespace heddle::cli
