// rope and dropout against plain loops.
#include "cpu/kernels/rope.h"

#include "core/philox.h"
#include "cpu/kernels/dropout.h"
#include "tests/cpu/kernel_check.h"

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::test;

namespace {
constexpr DType float_dtypes[] = {DType::float32, DType::bfloat16, DType::float16, DType::float64};
}

TEST_CASE("rope turns pairs of both kinds, and back", "[cpu][rope]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : float_dtypes)
      for (const int64_t depth : {0, 2, 6, 32, 34, 64, 128})
        for (const bool interleaved : {false, true})
          for (const int64_t repeat : {1, 3}) {
            const DType tables =
                dtype == DType::float64 && draw(random, 0, 1) == 0 ? DType::float64 : DType::float32;
            RopeRows r{dtype,  tables, 0,           draw(random, 1, 9),
                       repeat, depth,  interleaved, draw(random, 0, 1) == 0};
            r.rows = 2 * r.positions * repeat;
            INFO(dtype_name(dtype) << " depth " << depth << (interleaved ? " interleaved" : " halves")
                                   << (r.inverse ? " inverse" : ""));
            const Tensor x = random_tensor(random, dtype, {r.rows, depth}, 3);
            const Tensor cos = random_tensor(random, tables, {r.positions, depth / 2});
            const Tensor sin = random_tensor(random, tables, {r.positions, depth / 2});
            const std::vector<double> v = to_doubles(x), c = to_doubles(cos), s = to_doubles(sin);
            std::vector<double> y(v.size()), bound(v.size());
            const double u = unit_roundoff(dtype == DType::float64 ? DType::float64 : DType::float32);
            for (int64_t row = 0; row < r.rows; ++row)
              for (int64_t i = 0; i < depth / 2; ++i) {
                const auto t = static_cast<size_t>(row / repeat % r.positions * (depth / 2) + i);
                const auto first = static_cast<size_t>(row * depth + (interleaved ? 2 * i : i));
                const size_t second = first + static_cast<size_t>(interleaved ? 1 : depth / 2);
                const double sine = r.inverse ? -s[t] : s[t];
                y[first] = v[first] * c[t] - v[second] * sine;
                y[second] = v[second] * c[t] + v[first] * sine;
                bound[first] = 2 * u * (std::abs(v[first] * c[t]) + std::abs(v[second] * sine));
                bound[second] = 2 * u * (std::abs(v[second] * c[t]) + std::abs(v[first] * sine));
              }
            Tensor got(dtype, x.shape()), in_place = x.clone();
            rope(r, {2}, x.data(), cos.data(), sin.data(), got.data());
            check_close("rope", got, y, bound);
            rope(r, {1}, in_place.data(), cos.data(), sin.data(), in_place.data());
            CHECK(same_bits(got, in_place));
          }
  });
}

TEST_CASE("dropout keeps what the random bits say, at any thread count", "[cpu][dropout]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : float_dtypes)
      for (const int64_t n : {0, 1, 3, 63, 64, 65, 1000, 20011})
        for (const double rate : {0.0, 0.1, 0.5, 1.0}) {
          // A counter whose low half is about to carry.
          const uint64_t key = random(),
                         counter = draw(random, 0, 1) == 0 ? random() : (random() | 0xFFFFFFFFu) - 3;
          INFO(dtype_name(dtype) << " n " << n << " rate " << rate << " key " << key << " counter "
                                 << counter);
          const Tensor x = random_tensor(random, dtype, {n});
          std::vector<double> y = to_doubles(x), bound(y.size());
          const double u = unit_roundoff(dtype == DType::float64 ? DType::float64 : DType::float32);
          for (size_t i = 0; i < y.size(); ++i) {
            const PhiloxWords words = philox_block(counter + i / 4, key);
            const bool keep = words[i % 4] >= std::floor(rate * 4294967296.0);
            y[i] = keep ? y[i] / (1 - rate) : 0;
            bound[i] = 2 * u * std::abs(y[i]);  // 1 / (1 - rate), and the product
          }
          Tensor got(dtype, {n}), again(dtype, {n});
          dropout(dtype, n, rate, {1}, x.data(), &key, &counter, got.data());
          check_close("dropout", got, y, bound);
          dropout(dtype, n, rate, {4}, x.data(), &key, &counter, again.data());
          CHECK(same_bits(got, again));
        }
  });
}
