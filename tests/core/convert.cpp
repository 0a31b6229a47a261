// Every conversion between storage types against an oracle that shares no code with it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "core/element.h"
#include "heddle/tensor.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

using Wide = long double;  // 64 significant bits on x86: every element of every dtype, exactly
static_assert(std::numeric_limits<Wide>::digits >= 64);

template <class T>
Wide exact(T v) {
  if constexpr (StorageFloat<T>) {
    return static_cast<Wide>(to_float(v));
  } else {
    return static_cast<Wide>(v);
  }
}

// The finite values that are not negative of a narrow float, in order: element i has bit pattern i.
template <class T>
const std::vector<Wide>& finite_values() {
  static const std::vector<Wide> values = [] {
    std::vector<Wide> v;
    for (uint32_t bits = 0; bits < 1u << (8 * sizeof(T) - 1); ++bits) {
      const float f = to_float(T{static_cast<decltype(T::bits)>(bits)});
      if (!std::isfinite(f)) break;
      v.push_back(static_cast<Wide>(f));
    }
    return v;
  }();
  return values;
}

// Nearest by search, ties to the even pattern; infinity (NaN in e4m3) is the pattern after the largest
// number.
template <class T>
uint32_t nearest_pattern(Wide magnitude) {
  const auto& values = finite_values<T>();
  const auto above = std::lower_bound(values.begin(), values.end(), magnitude);
  const auto index = static_cast<uint32_t>(above - values.begin());
  if (above != values.end() && *above == magnitude) return index;
  const Wide below = values[index - 1];
  // Beyond the largest number, the next one would be as far away as the one before it, or twice at a power of
  // two.
  const Wide next =
      above != values.end() ? *above : values.back() + (values.back() - values[values.size() - 2]);
  const Wide middle = below + (next - below) / 2;
  if (magnitude == middle) return (index & 1) != 0 ? index - 1 : index;
  return magnitude < middle ? index - 1 : index;
}

// True when `got` is what the `convert` op makes of `from`.
template <class To, class From>
bool correct(From from, To got) {
  const Wide v = exact(from);
  if constexpr (std::same_as<To, bool>) {
    return got == (v != 0);
  } else if constexpr (std::integral<To>) {
    constexpr Wide low = static_cast<Wide>(std::numeric_limits<To>::min());
    constexpr Wide high = static_cast<Wide>(std::numeric_limits<To>::max());
    if (std::isnan(v)) return got == 0;
    if constexpr (std::integral<From>) {
      // Modulo 2^n, in 128 bits. (__extension__: ISO C++ has no such type.)
      __extension__ using Int128 = __int128;
      const Int128 modulus = Int128{1} << (8 * sizeof(To));
      Int128 wrapped = static_cast<Int128>(from) % modulus;
      if (wrapped < static_cast<Int128>(std::numeric_limits<To>::min())) wrapped += modulus;
      if (wrapped > static_cast<Int128>(std::numeric_limits<To>::max())) wrapped -= modulus;
      return static_cast<Int128>(got) == wrapped;
    } else {
      return static_cast<Wide>(got) == std::clamp(std::trunc(v), low, high);
    }
  } else if constexpr (std::floating_point<To>) {
    return std::isnan(v) ? std::isnan(got)
                         : got == static_cast<To>(v) && std::signbit(got) == std::signbit(v);
  } else {
    if (std::isnan(v)) return std::isnan(to_float(got));
    const uint32_t expected = nearest_pattern<To>(std::fabs(v));
    const uint32_t sign = 1u << (8 * sizeof(To) - 1);
    const bool nan = expected >= finite_values<To>().size() && std::same_as<To, float8_e4m3_t>;
    if (nan) return std::isnan(to_float(got));
    return got.bits == (expected | (std::signbit(v) ? sign : 0));
  }
}

// Converts through Tensor::to to every dtype and counts wrong elements.
template <class From>
int wrong_conversions(const std::vector<From>& values) {
  const Tensor from = Tensor::of(values, {static_cast<int64_t>(values.size())});
  int wrong = 0;
  for (DType d : all_dtypes) {
    const Tensor to = from.to(d);
    visit_dtype(d, [&]<class To>(std::type_identity<To>) {
      for (size_t i = 0; i < values.size(); ++i) {
        if (correct<To, From>(values[i], to.values<To>()[i])) continue;
        if (++wrong <= 5) {
          UNSCOPED_INFO(dtype_name(dtype_of<From>)
                        << " " << static_cast<double>(exact(values[i])) << " became " << dtype_name(d) << " "
                        << static_cast<double>(exact(to.values<To>()[i])));
        }
      }
    });
  }
  return wrong;
}

template <class T>
std::vector<T> all_values() {
  std::vector<T> values;
  for (uint32_t bits = 0; bits < 1u << (8 * sizeof(T)); ++bits) {
    if constexpr (StorageFloat<T>) {
      values.push_back(T{static_cast<decltype(T::bits)>(bits)});
    } else {
      values.push_back(static_cast<T>(bits));
    }
  }
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("every 8- and 16-bit value converts correctly to every dtype", "", bfloat16_t, float16_t,
                   float8_e4m3_t, float8_e5m2_t, int8_t, int16_t, uint8_t, uint16_t) {
  CHECK(wrong_conversions(all_values<TestType>()) == 0);
}

TEST_CASE("booleans convert to 0 and 1 in every dtype") {
  const Tensor from = Tensor::of<bool>({true, false}, {2});
  for (DType d : all_dtypes) {
    CHECK(from.to(d).at(0) == 1);
    CHECK(from.to(d).at(1) == 0);
  }
  // A byte other than 0 and 1, as a file may hold, is still true.
  uint8_t bytes[] = {2, 0, 255};
  const Tensor odd = Tensor::borrow(bytes, DType::boolean, {3});
  CHECK(odd.to(i32).at(0) == 1);
  CHECK(odd.at(2) == 1);
  CHECK(odd.to(DType::boolean).values<bool>()[1] == false);
}

TEMPLATE_TEST_CASE("wide integers convert correctly near every power of two and at random", "", int32_t,
                   int64_t, uint32_t, uint64_t) {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  std::vector<TestType> values = {0, std::numeric_limits<TestType>::min(),
                                  std::numeric_limits<TestType>::max()};
  for (int bit = 0; bit < static_cast<int>(8 * sizeof(TestType)); ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    for (uint64_t v : {power - 1, power, power + 1, 0 - power, power + (power >> 9), power + (power >> 9) + 1,
                       power + (power >> 9) - 1, power + (power >> 8), power + (power >> 12) + 1,
                       power + (power >> 12), power + (power >> 25), power + (power >> 25) + 1}) {
      values.push_back(static_cast<TestType>(v));
    }
  }
  for (int i = 0; i < 20000; ++i) values.push_back(static_cast<TestType>(random() >> draw(random, 0, 63)));
  CHECK(wrong_conversions(values) == 0);
}

TEMPLATE_TEST_CASE("float and double convert correctly at limits, at ties and at random", "", float, double) {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  using Bits = std::conditional_t<std::same_as<TestType, float>, uint32_t, uint64_t>;
  const TestType infinity = std::numeric_limits<TestType>::infinity();
  std::vector<TestType> values = {0,
                                  -TestType{0},
                                  infinity,
                                  -infinity,
                                  std::numeric_limits<TestType>::quiet_NaN(),
                                  std::numeric_limits<TestType>::denorm_min(),
                                  std::numeric_limits<TestType>::max(),
                                  std::numeric_limits<TestType>::min()};
  for (int exponent = -30; exponent <= 66; ++exponent) {
    const TestType power = std::ldexp(TestType{1}, exponent);
    for (TestType v : {power, power * TestType(1.5), power - 1, power + 1, power - TestType(0.5)}) {
      for (TestType near : {v, std::nextafter(v, infinity), std::nextafter(v, -infinity)}) {
        values.push_back(near);
        values.push_back(-near);
      }
    }
  }
  for (int i = 0; i < 20000; ++i) values.push_back(std::bit_cast<TestType>(static_cast<Bits>(random())));
  for (int i = 0; i < 20000; ++i) {  // sizes that fit the narrow types
    const auto mantissa = static_cast<TestType>(draw(random, -(1 << 20), 1 << 20));
    values.push_back(std::ldexp(mantissa, static_cast<int>(draw(random, -40, 10))));
  }
  CHECK(wrong_conversions(values) == 0);
}

TEST_CASE("a double is rounded to a narrow float once, not first to float32") {
  // 1 + 2^-8 + 2^-30: above the tie of bfloat16; rounding to float32 first would drop 2^-30 and tie to even.
  CHECK(store_from_double<bfloat16_t>(1 + 0x1p-8 + 0x1p-40).bits == 0x3f81);
  CHECK(store_from_double<bfloat16_t>(1 + 0x1p-8).bits == 0x3f80);
  CHECK(store_from_double<bfloat16_t>(-1 - 0x1p-8 - 0x1p-40).bits == 0xbf81);
  CHECK(store_from_double<float16_t>(1 + 0x1p-11 + 0x1p-40).bits == 0x3c01);
  // The same for 64-bit integers, which a double would round first.
  const int64_t above_tie = (int64_t{1} << 62) + (int64_t{1} << 54) + 1;
  CHECK(convert_element<bfloat16_t>(above_tie).bits == 0x5e81);
  CHECK(convert_element<bfloat16_t>(above_tie - 1).bits == 0x5e80);
  CHECK(convert_element<bfloat16_t>(-above_tie).bits == 0xde81);
}

TEST_CASE("64-bit integers convert to each other without passing through double") {
  const int64_t odd = (int64_t{1} << 62) + 1;
  CHECK(convert_element<uint64_t>(odd) == static_cast<uint64_t>(odd));
  CHECK(convert_element<uint64_t>(int64_t{-1}) == std::numeric_limits<uint64_t>::max());
  CHECK(convert_element<int64_t>(std::numeric_limits<uint64_t>::max()) == -1);
  CHECK(convert_element<int8_t>(int64_t{300}) == 44);
}

}  // namespace heddle::test
