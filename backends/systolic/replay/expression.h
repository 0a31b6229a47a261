// The small language inside the strings of a replay file: affine expressions and operands.
//
//   expression  "1024*i + 128*j - 3"
//   operand     tile "x[i, j](:, 512*h +: 512)", of HBM "w[i, :, 128*k +: 128]"; `a +: n` is n elements from
//   a
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "systolic/replay/nest.h"

namespace heddle::systolic::replay {

// A text cut into tokens as it is read. `fail` throws; it is given what is wrong.
class Reader {
 public:
  using Fail = std::function<void(const std::string&)>;
  Reader(std::string_view text, const std::vector<Loop>& loops, const std::vector<int>& open, Fail fail)
      : text_(text), loops_(loops), open_(open), fail_(std::move(fail)) {}

  std::string name();
  Affine affine();
  // "[...]" as expressions, or nothing.
  std::vector<Affine> indices();
  // The ranges within `open` and `close`, or nothing when the text does not go on with `open`.
  std::vector<Range> box(char open, char close);
  void end();

 private:
  void skip();
  bool take(char c);
  bool take(std::string_view word);
  int64_t number();
  Range range();

  std::string_view text_;
  size_t at_ = 0;
  const std::vector<Loop>& loops_;
  const std::vector<int>& open_;  // loops around the statement
  Fail fail_;
};

}  // namespace heddle::systolic::replay
