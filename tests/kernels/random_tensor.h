// Random tensors and shapes for tests of ops.
#pragma once

#include <random>

#include "heddle/tensor.h"

namespace heddle::test {

// Floats uniform in [low, high), rounded to the dtype; integers uniform in [low, high]; bool 0 or 1.
inline Tensor random_tensor(std::mt19937_64& random, DType dtype, const Shape& shape, double low = -2,
                            double high = 2) {
  Tensor t(dtype, shape);
  if (dtype == DType::boolean) {
    low = 0;
    high = 1;
  }
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double v = is_float(dtype) ? std::uniform_real_distribution<double>(low, high)(random)
                                     : static_cast<double>(std::uniform_int_distribution<int64_t>(
                                           static_cast<int64_t>(low), static_cast<int64_t>(high))(random));
    t.set(i, v);
  }
  return t;
}

// The elements as doubles, for comparisons in one CHECK.
inline std::vector<double> elements(const Tensor& t) {
  std::vector<double> values;
  for (int64_t i = 0; i < t.elements(); ++i) values.push_back(t.at(i));
  return values;
}

}  // namespace heddle::test
