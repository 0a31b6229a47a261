// Conversions of every pair of dtypes, element by element as the core does them; random bits against the
// core's.
#include "cpu/kernels/convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/element.h"
#include "core/philox.h"
#include "cpu/kernels/random.h"
#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;

namespace {

// Random bytes, with special values in front where the dtype has them.
Tensor samples(std::mt19937& random, DType dtype, int64_t n) {
  Tensor t(dtype, {n});
  auto* bytes = static_cast<uint8_t*>(t.data());
  for (uint64_t i = 0; i < t.bytes(); ++i)
    bytes[i] = static_cast<uint8_t>(dtype == boolean ? random() & 1 : random());
  std::uniform_real_distribution<double> exponent(-12, 40);
  if (is_float(dtype)) {
    const double special[] = {0,   -0.0,  1,      -1,    0.5,   1.5, -2.5, NAN,    INFINITY, -INFINITY, 127.9,
                              128, 255.5, -128.9, 65504, 65520, 3e9, -3e9, 9.3e18, 1.9e19,   1e-8,      6e-5};
    int64_t i = 0;
    for (double v : special)
      if (i < n) t.set(i++, v);
    for (; i < n / 2; ++i) t.set(i, std::exp2(exponent(random)) * (i & 1 ? -1 : 1));
  } else if (dtype != boolean && n > 2) {
    visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        auto v = t.values<T>();
        v[0] = std::numeric_limits<T>::max();
        v[1] = std::numeric_limits<T>::min();
      }
    });
  }
  return t;
}

}  // namespace

TEST_CASE("convert every pair of dtypes", "[cpu][convert]") {
  std::mt19937 random(1);
  for (const DType from : all_dtypes)
    for (const DType to : all_dtypes)
      for (int64_t n : {0, 1, 7, 1000, 40001}) {
        const Tensor x = samples(random, from, n);
        Tensor y(to, {n});
        cpu::convert(from, to, x.data(), y.data(), n, {3});
        int64_t wrong = 0, first = 0;
        visit_dtype(from, [&]<class From>(std::type_identity<From>) {
          visit_dtype(to, [&]<class To>(std::type_identity<To>) {
            const auto* a = static_cast<const From*>(x.data());
            const auto* b = static_cast<const To*>(y.data());
            for (int64_t i = 0; i < n; ++i) {
              const To expected = convert_element<To>(a[i]);
              bool same = std::memcmp(&expected, b + i, sizeof(To)) == 0;
              if constexpr (!std::is_integral_v<To>)
                same = same || (std::isnan(load_as_double(expected)) && std::isnan(load_as_double(b[i])));
              if (!same && wrong++ == 0) first = i;
            }
          });
        });
        INFO(dtype_name(from) << " to " << dtype_name(to) << ": " << wrong << " of " << n << " wrong, first "
                              << (n > 0 ? x.at(first) : 0));
        CHECK(wrong == 0);
      }
}

TEST_CASE("random bits are Philox words at any start and thread count", "[cpu][random]") {
  for (const uint64_t counter :
       {uint64_t{0}, uint64_t{0xfffffff0}, uint64_t{0xffffffffffffff00}, uint64_t{1} << 40})
    for (int64_t n : {0, 1, 3, 4, 5, 127, 1000, 70001}) {
      const uint64_t key = 0x123456789abcdef0;
      std::vector<uint32_t> y(static_cast<size_t>(n)), part(static_cast<size_t>(n));
      cpu::random_bits(key, counter, n, y.data(), cpu::Threads{3});
      int64_t wrong = 0;
      for (int64_t i = 0; i < n; ++i)
        wrong += y[static_cast<size_t>(i)] !=
                 philox_block(counter + static_cast<uint64_t>(i / 4), key)[static_cast<size_t>(i % 4)];
      CHECK(wrong == 0);
      for (int64_t first : {1, 2, 3, 61})
        if (first < n) {
          cpu::random_bits(key, counter, first, n - first, part.data());
          CHECK(std::memcmp(part.data(), y.data() + first, static_cast<size_t>(n - first) * 4) == 0);
        }
    }
}
