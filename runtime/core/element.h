// One element: dispatch on its dtype, and conversions between storage types with the meaning of the `convert`
// op.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "heddle/dtype.h"
#include "heddle/error.h"

namespace heddle {

// Calls f(std::type_identity<T>{}) with the storage type T of `dtype`; throws invalid_argument for a bad
// dtype.
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float64:
      return f(std::type_identity<double>{});
    case DType::float32:
      return f(std::type_identity<float>{});
    case DType::bfloat16:
      return f(std::type_identity<bfloat16_t>{});
    case DType::float16:
      return f(std::type_identity<float16_t>{});
    case DType::float8_e4m3:
      return f(std::type_identity<float8_e4m3_t>{});
    case DType::float8_e5m2:
      return f(std::type_identity<float8_e5m2_t>{});
    case DType::int8:
      return f(std::type_identity<int8_t>{});
    case DType::int16:
      return f(std::type_identity<int16_t>{});
    case DType::int32:
      return f(std::type_identity<int32_t>{});
    case DType::int64:
      return f(std::type_identity<int64_t>{});
    case DType::uint8:
      return f(std::type_identity<uint8_t>{});
    case DType::uint16:
      return f(std::type_identity<uint16_t>{});
    case DType::uint32:
      return f(std::type_identity<uint32_t>{});
    case DType::uint64:
      return f(std::type_identity<uint64_t>{});
    case DType::boolean:
      return f(std::type_identity<bool>{});
  }
  throw Error(ErrorCode::invalid_argument,
              "dtype " + std::to_string(static_cast<uint32_t>(dtype)) +
                  " is none that heddle/dtype.h lists; use one of heddle::all_dtypes");
}

// bfloat16, float16 and the two float8: types that are only stored.
template <class T>
concept StorageFloat = std::same_as<T, bfloat16_t> || std::same_as<T, float16_t> ||
    std::same_as<T, float8_e4m3_t> || std::same_as<T, float8_e5m2_t>;

// The element as a double; exact except for 64-bit integers beyond 2^53.
template <class T>
double load_as_double(const T& v) {
  if constexpr (StorageFloat<T>) {
    return static_cast<double>(to_float(v));
  } else if constexpr (std::same_as<T, bool>) {
    // The byte may come from a file and hold more than 0 or 1, which a bool may not.
    return *reinterpret_cast<const unsigned char*>(&v) != 0 ? 1.0 : 0.0;
  } else {
    return static_cast<double>(v);
  }
}

// float32 by rounding to odd: of the two neighbours of an inexact value, the one whose last bit is set.
// Rounding that once more to a format with at least two bits less gives what rounding `v` once would have
// given.
inline float round_to_odd(double v) {
  const float nearest = static_cast<float>(v);
  const uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (std::isnan(v) || static_cast<double>(nearest) == v || (bits & 1u) != 0) return nearest;
  const bool above = std::fabs(static_cast<double>(nearest)) > std::fabs(v);
  return std::bit_cast<float>(above ? bits - 1 : bits + 1);
}

template <StorageFloat T>
T narrow_float(float v) {
  if constexpr (std::same_as<T, bfloat16_t>) return to_bfloat16(v);
  if constexpr (std::same_as<T, float16_t>) return to_float16(v);
  if constexpr (std::same_as<T, float8_e4m3_t>) return to_float8_e4m3(v);
  if constexpr (std::same_as<T, float8_e5m2_t>) return to_float8_e5m2(v);
}

// Floats: round to nearest even, once. Integers: truncate toward zero, saturate, NaN is 0. bool: v != 0.
template <class T>
T store_from_double(double v) {
  if constexpr (std::same_as<T, bool>) {
    return v != 0;
  } else if constexpr (std::integral<T>) {
    // The limits as doubles: the lower one is exact, and the upper one plus one is a power of two.
    constexpr double low = static_cast<double>(std::numeric_limits<T>::min());
    constexpr double end = 2.0 * static_cast<double>(std::numeric_limits<T>::max() / 2 + 1);
    if (std::isnan(v)) return 0;
    if (v <= low) return std::numeric_limits<T>::min();
    if (v >= end) return std::numeric_limits<T>::max();
    return static_cast<T>(v);
  } else if constexpr (StorageFloat<T>) {
    return narrow_float<T>(round_to_odd(v));
  } else {
    return static_cast<T>(v);
  }
}

// `from` as the `convert` op converts it. Integers to narrower or differently signed integers keep the low
// bits.
template <class To, class From>
To convert_element(const From& from) {
  if constexpr (std::same_as<From, To> && !std::same_as<To, bool>) {
    return from;  // also keeps NaN payloads
  } else if constexpr (!std::integral<From> || std::same_as<From, bool>) {
    return store_from_double<To>(load_as_double(from));
  } else if constexpr (std::same_as<To, bool>) {
    return from != 0;
  } else if constexpr (std::integral<To> || std::same_as<To, float> || std::same_as<To, double>) {
    return static_cast<To>(from);
  } else {
    // Beyond 2^53 a double would round before the narrow float does: keep 52 bits, the last one sticky.
    const bool negative = std::cmp_less(from, 0);
    uint64_t magnitude = static_cast<uint64_t>(from);
    if (negative) magnitude = 0 - magnitude;
    if (magnitude >> 53 != 0)
      magnitude = (magnitude & ~0xfffull) | ((magnitude & 0xfffull) != 0 ? 0x1000ull : 0);
    const double exact = static_cast<double>(magnitude);
    return store_from_double<To>(negative ? -exact : exact);
  }
}

}  // namespace heddle
