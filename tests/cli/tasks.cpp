// The tasks give the batches they promise, whatever was drawn before, and judge models honestly.
#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "cli/addition_task.h"
#include "cli/text_task.h"
#include "heddle/error.h"
#include "tests/expect_error.h"

using namespace heddle::cli;
using heddle::ErrorCode;
using heddle::test::expect_error;

namespace {

struct Rows {
  std::vector<int32_t> tokens, targets;
  bool operator==(const Rows&) const = default;
};

Rows fill(const Task& task, int64_t step, int64_t rows) {
  const auto count = static_cast<size_t>(rows * task.context());
  Rows result{std::vector<int32_t>(count, -1), std::vector<int32_t>(count, -1)};
  task.fill(step, result.tokens, result.targets);
  return result;
}

// Reads a + b from a row of a task with `digits` digits.
Sum read_sum(std::span<const int32_t> row, int64_t digits) {
  Sum sum;
  for (int64_t i = 0; i < digits; ++i) {
    sum.a = sum.a * 10 + row[static_cast<size_t>(i)];
    sum.b = sum.b * 10 + row[static_cast<size_t>(digits + 1 + i)];
  }
  return sum;
}

// A model that adds by itself, and errs where `wrong` says.
TrainedModel adder(const AdditionTask& task, int64_t digits, const std::function<bool(const Sum&)>& wrong) {
  TrainedModel model;
  model.rows = 7;
  model.predict = [&task, digits, wrong](std::span<const int32_t> tokens) {
    const auto width = static_cast<size_t>(task.context());
    CHECK(tokens.size() <= 7 * width);
    std::vector<int32_t> next(tokens.size(), 0);
    for (size_t row = 0; row < tokens.size(); row += width) {
      const Sum sum = read_sum(tokens.subspan(row, width), digits);
      const std::vector<int32_t> text = task.encode(sum);
      for (size_t i = 0; i < width; ++i) next[row + i] = text[i + 1];
      if (wrong(sum)) next[row + width - 1] = (next[row + width - 1] + 1) % 10;
    }
    return next;
  };
  return model;
}

}  // namespace

TEST_CASE("a sum is written with its answer's lowest digit first", "[cli][tasks]") {
  const AdditionTask task(3, 0);
  CHECK(task.context() == 11);
  CHECK(task.encode({417, 85}) == std::vector<int32_t>{4, 1, 7, 10, 0, 8, 5, 11, 2, 0, 5, 0});
  CHECK(task.encode({999, 999}) == std::vector<int32_t>{9, 9, 9, 10, 9, 9, 9, 11, 8, 9, 9, 1});
  CHECK(task.encode({0, 0}) == std::vector<int32_t>{0, 0, 0, 10, 0, 0, 0, 11, 0, 0, 0, 0});
}

TEST_CASE("training rows are right sums, never held-out ones, with a loss on the answer alone",
          "[cli][tasks]") {
  for (const int64_t digits : {1, 2, 3, 5}) {
    const AdditionTask task(digits, 3);
    const auto width = static_cast<size_t>(task.context());
    for (int64_t step = 0; step < 20; ++step) {
      const Rows rows = fill(task, step, 32);
      for (size_t row = 0; row < rows.tokens.size(); row += width) {
        const std::span<const int32_t> tokens(rows.tokens.data() + row, width);
        const Sum sum = read_sum(tokens, digits);
        REQUIRE_FALSE(task.held_out(sum));
        const std::vector<int32_t> text = task.encode(sum);
        REQUIRE(std::equal(tokens.begin(), tokens.end(), text.begin()));
        int64_t counted = 0;
        for (size_t i = 0; i < width; ++i) {
          const int32_t target = rows.targets[row + i];
          if (target == ignored_target) continue;
          REQUIRE(target == text[i + 1]);
          REQUIRE(static_cast<int64_t>(i) > 2 * digits);
          ++counted;
        }
        REQUIRE(counted == digits + 1);
      }
    }
  }
}

TEST_CASE("a step's rows depend on seed and step alone", "[cli][tasks]") {
  const AdditionTask task(3, 5), same(3, 5), other(3, 6);
  const Rows at7 = fill(task, 7, 16);
  for (int64_t step = 0; step < 5; ++step) fill(same, step, 16);
  CHECK(fill(same, 7, 16) == at7);
  CHECK_FALSE(fill(task, 8, 16) == at7);
  CHECK_FALSE(fill(other, 7, 16) == at7);

  const std::string text =
      "The same bytes, at the same places, in the same order, whenever they are asked for.";
  const TextTask text_task(text, 8, 5), text_same(text, 8, 5);
  const Rows text7 = fill(text_task, 7, 16);
  fill(text_same, 0, 16);
  CHECK(fill(text_same, 7, 16) == text7);
  CHECK_FALSE(fill(text_task, 8, 16) == text7);
}

// The numbers themselves are part of the contract: another machine must train on the same sums.
TEST_CASE("the first rows of seed 0 never change", "[cli][tasks]") {
  const AdditionTask task(3, 0);
  const Rows rows = fill(task, 0, 3);
  std::vector<Sum> sums;
  for (size_t row = 0; row < 3; ++row)
    sums.push_back(read_sum(std::span<const int32_t>(rows.tokens).subspan(row * 11, 11), 3));
  CHECK(sums == std::vector<Sum>{{411, 729}, {372, 594}, {613, 765}});
}

TEST_CASE("held-out sums are distinct, held out and spread over the range", "[cli][tasks]") {
  const AdditionTask task(3, 1, 1000);
  std::set<std::pair<int64_t, int64_t>> seen;
  double mean = 0;
  for (const Sum& sum : task.held_out_sums()) {
    CHECK(task.held_out(sum));
    CHECK(seen.emplace(sum.a, sum.b).second);
    mean += static_cast<double>(sum.a + sum.b) / 2000;
  }
  CHECK(seen.size() == 1000);
  CHECK(std::abs(mean - 499.5) < 5 * 289 / std::sqrt(2000));  // five standard errors
  // Of 100 pairs of one-digit numbers only a few are held out.
  const AdditionTask small(1, 1, 1000);
  CHECK(small.held_out_sums().size() < 20);
  CHECK(small.held_out_sums().size() > 0);
}

TEST_CASE("accuracy is the share of sums with every digit right", "[cli][tasks]") {
  const AdditionTask task(3, 2, 100);
  CHECK(task.evaluate(adder(task, 3, [](const Sum&) { return false; })).accuracy == 1.0);
  CHECK(task.evaluate(adder(task, 3, [](const Sum&) { return true; })).accuracy == 0.0);
  int64_t odd = 0;
  for (const Sum& sum : task.held_out_sums()) odd += sum.a % 2;
  const Evaluation evaluation = task.evaluate(adder(task, 3, [](const Sum& sum) { return sum.a % 2 == 1; }));
  CHECK(evaluation.examples == 100);
  CHECK(evaluation.accuracy == Approx(static_cast<double>(100 - odd) / 100));
}

TEST_CASE("the model is never shown the answer it is judged by", "[cli][tasks]") {
  const AdditionTask task(2, 2, 30);
  // Says 7 everywhere, so what it is fed back must be 7 too.
  TrainedModel model;
  model.rows = 30;
  int call = 0;
  model.predict = [&](std::span<const int32_t> tokens) {
    for (size_t row = 0; row < tokens.size(); row += 8) {
      CHECK(tokens[row + 5] == 11);
      CHECK(tokens[row + 6] == (call >= 1 ? 7 : 0));
      CHECK(tokens[row + 7] == (call >= 2 ? 7 : 0));
    }
    ++call;
    return std::vector<int32_t>(tokens.size(), 7);
  };
  task.evaluate(model);
  CHECK(call == 3);
}

TEST_CASE("numbers of no digits or too many are refused", "[cli][tasks]") {
  expect_error(ErrorCode::invalid_argument, "1 to 8 digits, not 0", [] { AdditionTask(0, 0); });
  expect_error(ErrorCode::invalid_argument, "not 9", [] { AdditionTask(9, 0); });
  CHECK(AdditionTask(8, 0).encode({99'999'999, 1}).size() == 27);
}

TEST_CASE("text rows are windows of the text and its next bytes", "[cli][tasks]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text.push_back(static_cast<char>(i * 37));
  const TextTask task(text, 16, 0);
  CHECK(task.training_bytes() == 900);
  CHECK(task.held_out_bytes() == 100);
  std::set<int64_t> starts;
  for (int64_t step = 0; step < 200; ++step) {
    const Rows rows = fill(task, step, 8);
    for (size_t row = 0; row < rows.tokens.size(); row += 16) {
      for (size_t i = 0; i + 1 < 16; ++i) REQUIRE(rows.targets[row + i] == rows.tokens[row + i + 1]);
      std::string window;
      for (size_t i = 0; i < 16; ++i) {
        REQUIRE((rows.tokens[row + i] >= 0 && rows.tokens[row + i] < 256));
        window.push_back(static_cast<char>(rows.tokens[row + i]));
      }
      window.push_back(static_cast<char>(rows.targets[row + 15]));
      REQUIRE(text.substr(0, 900).find(window) != std::string::npos);
    }
  }
}

TEST_CASE("of a long text 64 KiB are held out", "[cli][tasks]") {
  const TextTask task(std::string(1'000'000, 'x'), 16, 0);
  CHECK(task.held_out_bytes() == 65536);
}

TEST_CASE("a short text shortens the rows; one byte is refused", "[cli][tasks]") {
  expect_error(ErrorCode::invalid_argument, "a text of 0 bytes", [] { TextTask("", 16, 0); });
  expect_error(ErrorCode::invalid_argument, "a text of 1 bytes", [] { TextTask("x", 16, 0); });
  for (size_t length = 2; length < 60; ++length) {
    CAPTURE(length);
    const TextTask task(std::string(length, 'x'), 16, 0);
    CHECK(task.context() == std::min<int64_t>(16, static_cast<int64_t>(length) - 1));
    CHECK(task.held_out_bytes() == 0);
    for (const int32_t target : fill(task, 0, 4).targets) REQUIRE(target == 'x');
  }
}

TEST_CASE("held-out loss covers the held-out rows once and nothing else", "[cli][tasks]") {
  std::string text(900, 'a');
  text.append(100, 'b');
  const TextTask task(text, 16, 0);
  TrainedModel model;
  model.rows = 4;
  int64_t rows_seen = 0;
  model.loss = [&](std::span<const int32_t> tokens, std::span<const int32_t> targets) {
    CHECK(std::all_of(tokens.begin(), tokens.end(), [](int32_t t) { return t == 'b'; }));
    CHECK(std::all_of(targets.begin(), targets.end(), [](int32_t t) { return t == 'b'; }));
    const int64_t rows = std::ssize(tokens) / 16;
    rows_seen += rows;
    return static_cast<double>(rows);
  };
  const Evaluation evaluation = task.evaluate(model);
  CHECK(rows_seen == 6);  // 100 bytes hold six rows of 16 and the byte after each
  CHECK(evaluation.held_out_loss == Approx((4.0 * 4 + 2 * 2) / 6));  // weighted by rows
  CHECK_FALSE(evaluation.accuracy.has_value());
}
