// Learning to add: "417+085=2050" read as 417 + 085 = 0502, the sum's digits from the lowest to the highest,
// so that each digit follows from what was read and one carry.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/task.h"

namespace heddle::cli {

struct Sum {
  int64_t a = 0, b = 0;
  bool operator==(const Sum&) const = default;
};

// Both numbers are uniform in [0, 10^digits). One pair in 16 is held out: never trained on, and what accuracy
// is measured with. The loss counts the sum's digits alone.
class AdditionTask : public Task {
 public:
  static constexpr int64_t largest_digits = 8;
  // Throws Error (invalid_argument) unless 1 <= digits <= largest_digits.
  AdditionTask(int64_t digits, uint64_t seed, int64_t held_out_sums = 1000);

  int64_t vocabulary() const override { return 12; }  // 0 to 9, + and =
  // The last token is a target only, so a row has one position less than the text.
  static constexpr int64_t context_of(int64_t digits) { return 3 * digits + 2; }
  int64_t context() const override { return context_of(digits_); }
  void fill(int64_t step, std::span<int32_t> tokens, std::span<int32_t> targets) const override;
  // Greedy decoding, one digit after the other, each from the digits that the model itself gave before. A sum
  // counts when every digit is right.
  Evaluation evaluate(const TrainedModel& model) const override;

  bool held_out(const Sum& sum) const;
  // The text's tokens: digits as themselves, + as 10, = as 11.
  std::vector<int32_t> encode(const Sum& sum) const;
  // Distinct held-out sums, fewer when there are not that many.
  const std::vector<Sum>& held_out_sums() const { return examples_; }

 private:
  int64_t question_length() const { return 2 * digits_ + 2; }  // up to and with =
  int64_t answer_length() const { return digits_ + 1; }

  int64_t digits_;
  uint64_t seed_;
  int64_t numbers_;  // 10^digits
  std::vector<Sum> examples_;
};

}  // namespace heddle::cli
