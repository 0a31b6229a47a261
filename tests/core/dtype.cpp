#include "heddle/dtype.h"

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "core/element.h"
#include "heddle/device_abi.h"
#include "tests/catch.h"
#include "tests/expect_error.h"

namespace heddle::test {
namespace {

// The value of a bit pattern, straight from the definition of the format.
template <class T>
double value_by_definition(uint32_t bits) {
  constexpr int exponent_bits = std::same_as<T, bfloat16_t>      ? 8
                                : std::same_as<T, float16_t>     ? 5
                                : std::same_as<T, float8_e4m3_t> ? 4
                                                                 : 5;
  constexpr int mantissa_bits = static_cast<int>(sizeof(T)) * 8 - 1 - exponent_bits;
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
  const double sign = (bits >> (exponent_bits + mantissa_bits)) != 0 ? -1.0 : 1.0;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (exponent == (1 << exponent_bits) - 1) {
    if (!std::same_as<T, float8_e4m3_t>) {
      return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : nan;
    }
    if (mantissa == (1 << mantissa_bits) - 1) return nan;
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

template <class T>
T pattern(uint32_t bits) {
  return T{static_cast<decltype(T::bits)>(bits)};
}

template <class T>
constexpr uint32_t patterns = 1u << (8 * sizeof(T));

}  // namespace

TEMPLATE_TEST_CASE("every bit pattern of a storage float has its defined value and survives a round trip", "",
                   bfloat16_t, float16_t, float8_e4m3_t, float8_e5m2_t) {
  int wrong = 0;
  for (uint32_t bits = 0; bits < patterns<TestType>; ++bits) {
    const double expected = value_by_definition<TestType>(bits);
    const float got = to_float(pattern<TestType>(bits));
    const TestType back = narrow_float<TestType>(got);
    if (std::isnan(expected)) {
      wrong += !std::isnan(got) || !std::isnan(to_float(back));
    } else {
      wrong += static_cast<double>(got) != expected || std::signbit(got) != std::signbit(expected);
      wrong += back.bits != bits;
    }
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("between two neighbours a storage float rounds to the nearest, ties to even", "",
                   bfloat16_t, float16_t, float8_e4m3_t, float8_e5m2_t) {
  int wrong = 0, pairs = 0;
  const auto check = [&](double v, uint32_t expected) {
    // Both signs, from double; and from float where the float is the same number.
    const uint32_t sign = patterns<TestType> / 2;
    wrong += store_from_double<TestType>(v).bits != expected;
    wrong += store_from_double<TestType>(-v).bits != (expected | sign);
    const float f = static_cast<float>(v);
    if (static_cast<double>(f) == v) {
      wrong += narrow_float<TestType>(f).bits != expected;
      wrong += narrow_float<TestType>(-f).bits != (expected | sign);
    }
  };
  for (uint32_t bits = 0; bits + 1 < patterns<TestType> / 2; ++bits) {
    const double low = value_by_definition<TestType>(bits), high = value_by_definition<TestType>(bits + 1);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    ++pairs;
    const double middle = low + (high - low) / 2;
    check(low, bits);
    check(middle, bits + (bits & 1));
    check(std::nextafter(middle, low), bits);
    check(std::nextafter(middle, high), bits + 1);
    check(static_cast<double>(std::nextafterf(static_cast<float>(middle), static_cast<float>(low))), bits);
    check(static_cast<double>(std::nextafterf(static_cast<float>(middle), static_cast<float>(high))),
          bits + 1);
  }
  CHECK(wrong == 0);
  CHECK(pairs > 100);
}

TEST_CASE("storage floats overflow to infinity, and e4m3 to NaN") {
  const float infinity = std::numeric_limits<float>::infinity();
  // The first value that rounds away is the tie above the largest number; e4m3's largest is even, so its tie
  // stays.
  CHECK(to_float(to_float16(65504.0f)) == 65504.0f);
  CHECK(to_float(to_float16(65519.99f)) == 65504.0f);
  CHECK(to_float(to_float16(65520.0f)) == infinity);
  CHECK(to_float(to_float16(-1e30f)) == -infinity);
  CHECK(to_float(to_float8_e5m2(61439.0f)) == 57344.0f);
  CHECK(to_float(to_float8_e5m2(61440.0f)) == infinity);
  CHECK(to_float(to_float8_e4m3(464.0f)) == 448.0f);
  CHECK(std::isnan(to_float(to_float8_e4m3(464.1f))));
  CHECK(std::isnan(to_float(to_float8_e4m3(infinity))));
  CHECK(to_float8_e4m3(-infinity).bits == 0xff);
  CHECK(to_float(to_bfloat16(std::numeric_limits<float>::max())) == infinity);
  CHECK(to_bfloat16(3.3895313892515355e38f).bits == 0x7f7f);
  CHECK(to_float(store_from_double<bfloat16_t>(1e300)) == infinity);
  CHECK(to_float(store_from_double<float16_t>(-1e300)) == -infinity);
  CHECK(store_from_double<float16_t>(-1e-300).bits == 0x8000);
}

TEST_CASE("NaN stays NaN in every storage float, with any payload") {
  for (uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xffffffffu, 0xff800100u}) {
    const float nan = std::bit_cast<float>(bits);
    CHECK(std::isnan(to_float(to_bfloat16(nan))));
    CHECK(std::isnan(to_float(to_float16(nan))));
    CHECK(std::isnan(to_float(to_float8_e4m3(nan))));
    CHECK(std::isnan(to_float(to_float8_e5m2(nan))));
  }
}

TEST_CASE("dtype names, sizes and classes") {
  std::set<std::string> names;
  for (DType d : all_dtypes) {
    CHECK(parse_dtype(dtype_name(d)) == d);
    names.insert(dtype_name(d));
    visit_dtype(d, [&]<class T>(std::type_identity<T>) {
      CHECK(dtype_of<T> == d);
      CHECK(sizeof(T) == size_of(d));
    });
    CHECK(is_float(d) + is_integer(d) + (d == DType::boolean) == 1);
    CHECK((unit_roundoff(d) > 0) == is_float(d));
  }
  CHECK(names.size() == std::size(all_dtypes));
  CHECK(parse_dtype("f32") == f32);
  CHECK(parse_dtype("bf16") == bf16);
  CHECK(parse_dtype("i64") == i64);
  CHECK(parse_dtype("float32 ") == std::nullopt);
  CHECK(parse_dtype("") == std::nullopt);
  CHECK(is_signed(i8));
  CHECK(is_signed(f8e5m2));
  CHECK_FALSE(is_signed(u8));
  CHECK_FALSE(is_signed(DType::boolean));
  expect_error(ErrorCode::invalid_argument, "dtype 99",
               [] { visit_dtype(static_cast<DType>(99), [](auto) {}); });
}

TEST_CASE("the unit roundoff is the largest relative error of one rounding") {
  for (DType d : {f64, f32, bf16, f16, f8e4m3, f8e5m2}) {
    CAPTURE(dtype_name(d));
    const double u = unit_roundoff(d);
    visit_dtype(d, [&]<class T>(std::type_identity<T>) {
      CHECK(load_as_double(store_from_double<T>(1 + u)) == 1.0);  // the tie goes to even
      CHECK(load_as_double(store_from_double<T>(1 + 2 * u)) == 1 + 2 * u);
    });
  }
}

TEST_CASE("dtypes and error codes are the numbers of the device contract") {
  CHECK(static_cast<int>(DType::float64) == HD_DTYPE_FLOAT64);
  CHECK(static_cast<int>(DType::bfloat16) == HD_DTYPE_BFLOAT16);
  CHECK(static_cast<int>(DType::float8_e5m2) == HD_DTYPE_FLOAT8_E5M2);
  CHECK(static_cast<int>(DType::int64) == HD_DTYPE_INT64);
  CHECK(static_cast<int>(DType::uint64) == HD_DTYPE_UINT64);
  CHECK(static_cast<int>(ErrorCode::invalid_argument) == HD_ERROR_INVALID_ARGUMENT);
  CHECK(static_cast<int>(ErrorCode::io) == HD_ERROR_IO);
  CHECK(static_cast<int>(ErrorCode::internal) == HD_ERROR_INTERNAL);
}

TEST_CASE("an error carries its code and its sentence") {
  const Error e(ErrorCode::poisoned, "variable 'w' is half-written; load it again");
  CHECK(e.code() == ErrorCode::poisoned);
  CHECK(std::string(e.what()) == "variable 'w' is half-written; load it again");
  CHECK(std::string(error_code_name(e.code())) == "poisoned");
  CHECK(std::string(error_code_name(static_cast<ErrorCode>(1000))) == "unknown");
}

}  // namespace heddle::test
