#include "cli/addition_task.h"

#include <algorithm>
#include <set>
#include <utility>

#include "cli/random_stream.h"
#include "heddle/error.h"

namespace heddle::cli {
namespace {

constexpr int32_t plus = 10, equals = 11;
constexpr uint64_t held_out_one_in = 16;
// Streams of random numbers: one per training step from 0, and this one for the held-out sums.
constexpr uint64_t held_out_stream = ~uint64_t{0};

Sum draw(RandomStream& random, int64_t numbers) {
  const auto bound = static_cast<uint64_t>(numbers);
  const auto a = static_cast<int64_t>(random.below(bound));
  return {a, static_cast<int64_t>(random.below(bound))};
}

}  // namespace

AdditionTask::AdditionTask(int64_t digits, uint64_t seed, int64_t held_out_sums)
    : digits_(digits), seed_(seed) {
  if (digits < 1 || digits > largest_digits) {
    throw Error(ErrorCode::invalid_argument, "sums can have 1 to " + std::to_string(largest_digits) +
                                                 " digits, not " + std::to_string(digits));
  }
  numbers_ = 1;
  for (int64_t i = 0; i < digits; ++i) numbers_ *= 10;

  RandomStream random(seed, held_out_stream);
  std::set<std::pair<int64_t, int64_t>> seen;
  // Small numbers run out of held-out pairs: then the draws end with what was found.
  for (int64_t i = 0; i < 100 * held_out_sums && std::ssize(examples_) < held_out_sums; ++i) {
    const Sum sum = draw(random, numbers_);
    if (held_out(sum) && seen.emplace(sum.a, sum.b).second) examples_.push_back(sum);
  }
}

bool AdditionTask::held_out(const Sum& sum) const {
  return scramble(static_cast<uint64_t>(sum.a * numbers_ + sum.b)) % held_out_one_in == 0;
}

std::vector<int32_t> AdditionTask::encode(const Sum& sum) const {
  std::vector<int32_t> tokens;
  const auto append_number = [&](int64_t number) {
    for (int64_t place = numbers_ / 10; place > 0; place /= 10)
      tokens.push_back(static_cast<int32_t>(number / place % 10));
  };
  append_number(sum.a);
  tokens.push_back(plus);
  append_number(sum.b);
  tokens.push_back(equals);
  int64_t rest = sum.a + sum.b;
  for (int64_t i = 0; i < answer_length(); ++i, rest /= 10) tokens.push_back(static_cast<int32_t>(rest % 10));
  return tokens;
}

void AdditionTask::fill(int64_t step, std::span<int32_t> tokens, std::span<int32_t> targets) const {
  RandomStream random(seed_, static_cast<uint64_t>(step));
  const auto width = static_cast<size_t>(context());
  for (size_t row = 0; row < tokens.size(); row += width) {
    Sum sum = draw(random, numbers_);
    while (held_out(sum)) sum = draw(random, numbers_);
    const std::vector<int32_t> text = encode(sum);
    for (size_t i = 0; i < width; ++i) {
      tokens[row + i] = text[i];
      // Position i is asked for token i + 1.
      targets[row + i] = i + 1 >= static_cast<size_t>(question_length()) ? text[i + 1] : ignored_target;
    }
  }
}

Evaluation AdditionTask::evaluate(const TrainedModel& model) const {
  const auto width = static_cast<size_t>(context());
  const auto question = static_cast<size_t>(question_length());
  int64_t right = 0;
  for (size_t first = 0; first < examples_.size(); first += static_cast<size_t>(model.rows)) {
    const size_t rows = std::min(examples_.size() - first, static_cast<size_t>(model.rows));
    std::vector<std::vector<int32_t>> expected(rows);
    std::vector<int32_t> tokens(rows * width, 0);
    for (size_t row = 0; row < rows; ++row) {
      expected[row] = encode(examples_[first + row]);
      std::copy_n(expected[row].begin(), question, tokens.begin() + static_cast<std::ptrdiff_t>(row * width));
    }
    std::vector<bool> correct(rows, true);
    for (size_t place = question; place < question + static_cast<size_t>(answer_length()); ++place) {
      const std::vector<int32_t> next = model.predict(tokens);
      for (size_t row = 0; row < rows; ++row) {
        const int32_t digit = next[row * width + place - 1];
        if (digit != expected[row][place]) correct[row] = false;
        if (place < width) tokens[row * width + place] = digit;
      }
    }
    right += std::count(correct.begin(), correct.end(), true);
  }
  Evaluation evaluation;
  evaluation.examples = std::ssize(examples_);
  if (evaluation.examples > 0)
    evaluation.accuracy = static_cast<double>(right) / static_cast<double>(evaluation.examples);
  return evaluation;
}

}  // namespace heddle::cli
