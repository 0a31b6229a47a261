// Learning to continue a text, byte by byte: any file is a text.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cli/task.h"

namespace heddle::cli {

// Rows are windows at random places of the first nine tenths of the file; the last tenth is held out when it
// is long enough for a row, else everything is trained on.
class TextTask : public Task {
 public:
  // Rows of `context` bytes, or of what the text has when that is less. Throws Error (invalid_argument) for
  // texts of fewer than 2 bytes: there is nothing to predict.
  TextTask(std::string text, int64_t context, uint64_t seed);

  int64_t vocabulary() const override { return 256; }
  int64_t context() const override { return context_; }
  void fill(int64_t step, std::span<int32_t> tokens, std::span<int32_t> targets) const override;
  // The mean loss over the held-out part, cut into rows one after the other.
  Evaluation evaluate(const TrainedModel& model) const override;

  int64_t training_bytes() const { return training_bytes_; }
  int64_t held_out_bytes() const { return std::ssize(text_) - training_bytes_; }

 private:
  void copy_row(int64_t start, std::span<int32_t> tokens, std::span<int32_t> targets) const;

  std::string text_;
  int64_t context_;
  uint64_t seed_;
  int64_t training_bytes_;
};

}  // namespace heddle::cli
