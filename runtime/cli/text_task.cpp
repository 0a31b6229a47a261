#include "cli/text_task.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/random_stream.h"
#include "heddle/error.h"

namespace heddle::cli {

TextTask::TextTask(std::string text, int64_t context, uint64_t seed)
    : text_(std::move(text)), context_(context), seed_(seed), training_bytes_(std::ssize(text_)) {
  if (training_bytes_ < 2) {
    throw Error(ErrorCode::invalid_argument, "a text of " + std::to_string(training_bytes_) +
                                                 " bytes has nothing to predict; at least 2 are needed");
  }
  constexpr int64_t enough = 1 << 16;  // to measure the loss to about a percent; more would only take longer
  const int64_t held_out = std::min(training_bytes_ / 10, enough);
  if (held_out > context) training_bytes_ -= held_out;
  context_ = std::min(context, training_bytes_ - 1);
}

void TextTask::copy_row(int64_t start, std::span<int32_t> tokens, std::span<int32_t> targets) const {
  const auto byte = [&](size_t i) {
    return static_cast<int32_t>(static_cast<unsigned char>(text_[static_cast<size_t>(start) + i]));
  };
  for (size_t i = 0; i < static_cast<size_t>(context_); ++i) {
    tokens[i] = byte(i);
    targets[i] = byte(i + 1);
  }
}

void TextTask::fill(int64_t step, std::span<int32_t> tokens, std::span<int32_t> targets) const {
  RandomStream random(seed_, static_cast<uint64_t>(step));
  const auto width = static_cast<size_t>(context_);
  for (size_t row = 0; row < tokens.size(); row += width) {
    const uint64_t start = random.below(static_cast<uint64_t>(training_bytes_ - context_));
    copy_row(static_cast<int64_t>(start), tokens.subspan(row, width), targets.subspan(row, width));
  }
}

Evaluation TextTask::evaluate(const TrainedModel& model) const {
  const auto width = static_cast<size_t>(context_);
  std::vector<int64_t> starts;
  for (int64_t start = training_bytes_; start + context_ < std::ssize(text_); start += context_)
    starts.push_back(start);
  if (starts.empty()) return {};

  double sum = 0;
  for (size_t first = 0; first < starts.size(); first += static_cast<size_t>(model.rows)) {
    const size_t rows = std::min(starts.size() - first, static_cast<size_t>(model.rows));
    std::vector<int32_t> tokens(rows * width), targets(rows * width);
    for (size_t row = 0; row < rows; ++row)
      copy_row(starts[first + row], std::span(tokens).subspan(row * width, width),
               std::span(targets).subspan(row * width, width));
    sum += model.loss(tokens, targets) * static_cast<double>(rows);
  }
  Evaluation evaluation;
  evaluation.held_out_loss = sum / static_cast<double>(starts.size());
  return evaluation;
}

}  // namespace heddle::cli
