// What cases are filled with: numbers fixed by a seed, the same on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "heddle/tensor.h"

namespace heddle::conformance {

// Random numbers from Philox; the seed is a text, such as the id of a case.
class Random {
 public:
  explicit Random(std::string_view seed);
  uint32_t bits();
  double uniform(double low, double high);     // low + k * 2^-24 * (high - low)
  int64_t integer(int64_t low, int64_t high);  // both ends included

 private:
  uint64_t key_, block_ = 0;
  std::array<uint32_t, 4> words_{};
  size_t next_ = 4;
};

// Writes every element of a dense tensor.
using Fill = std::function<void(Tensor&, Random&)>;

namespace fill {

Fill constant(double value);
// In [low, high), rounded to the dtype.
Fill uniform(double low, double high);
// Whole numbers from low to high: sums and products of small ones are exact in every float dtype.
Fill integers(int64_t low, int64_t high);
// Any bits: every NaN, subnormal and extreme value. Bools are 0 or 1.
Fill bits();
// Turns of NaN, infinities, zeros of both signs, ones, the largest and the smallest normal numbers of a float
// dtype; of 0, 1, -1 and the limits of an integer one. `stride` elements take the same turn, so that operands
// with strides 1 and special_count meet in every combination.
Fill special(int64_t stride = 1);
inline constexpr int64_t special_count = 9;
// 0, 1, ... in random order, each once (floats: halved, so that they are not all integers).
Fill permutation();
// Whole numbers in [-size, size): what gather takes. With `outside`, about a third lie beyond both ends.
Fill indices(int64_t size, bool outside = false);
// These numbers, over and over.
Fill values(std::vector<double> numbers);
// As another fill, with `number` at every `period`-th element.
Fill sprinkled(Fill base, double number, int64_t period);

}  // namespace fill
}  // namespace heddle::conformance
