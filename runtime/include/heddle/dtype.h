// Element types. Sixteen-bit and eight-bit floats are storage types: arithmetic happens in float or double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace heddle {

// Values equal HD_DTYPE_* of device_abi.h and never change.
enum class DType : uint32_t {
  float64 = 1,
  float32 = 2,
  bfloat16 = 3,
  float16 = 4,
  float8_e4m3 = 5,  // OCP e4m3fn: no infinity, largest 448
  float8_e5m2 = 6,  // OCP e5m2: IEEE-like, largest 57344
  int8 = 7,
  int16 = 8,
  int32 = 9,
  int64 = 10,
  uint8 = 11,
  uint16 = 12,
  uint32 = 13,
  uint64 = 14,
  boolean = 15,  // one byte, 0 or 1
};

inline constexpr DType f64 = DType::float64, f32 = DType::float32, bf16 = DType::bfloat16,
                       f16 = DType::float16, f8e4m3 = DType::float8_e4m3, f8e5m2 = DType::float8_e5m2,
                       i8 = DType::int8, i16 = DType::int16, i32 = DType::int32, i64 = DType::int64,
                       u8 = DType::uint8, u16 = DType::uint16, u32 = DType::uint32, u64 = DType::uint64,
                       boolean = DType::boolean;

inline constexpr DType all_dtypes[] = {f64, f32, bf16, f16, f8e4m3, f8e5m2, i8,     i16,
                                       i32, i64, u8,   u16, u32,    u64,    boolean};

// Bytes per element.
constexpr size_t size_of(DType d) {
  switch (d) {
    case DType::float64:
    case DType::int64:
    case DType::uint64:
      return 8;
    case DType::float32:
    case DType::int32:
    case DType::uint32:
      return 4;
    case DType::bfloat16:
    case DType::float16:
    case DType::int16:
    case DType::uint16:
      return 2;
    default:
      return 1;
  }
}
constexpr bool is_float(DType d) { return d <= DType::float8_e5m2; }
constexpr bool is_integer(DType d) { return d >= DType::int8 && d <= DType::uint64; }
constexpr bool is_signed(DType d) { return d <= DType::int64; }

// "float32", "bfloat16", "int64", "bool".
const char* dtype_name(DType d);
// Accepts the long names and the short ones ("f32", "bf16", "i64"); nullopt for anything else.
std::optional<DType> parse_dtype(std::string_view name);

// Half the distance between 1 and the next representable number: the largest relative error of one rounding.
// 2^-p for p significand bits (float64 2^-53, float32 2^-24, float16 2^-11, bfloat16 2^-8), 0 for integers
// and bool.
double unit_roundoff(DType d);

// Storage types. Conversions round to nearest even; overflow gives infinity (e4m3: NaN, it has no infinity);
// NaN stays NaN.
struct bfloat16_t {
  uint16_t bits;
};
struct float16_t {
  uint16_t bits;
};
struct float8_e4m3_t {
  uint8_t bits;
};
struct float8_e5m2_t {
  uint8_t bits;
};

float to_float(bfloat16_t v);
float to_float(float16_t v);
float to_float(float8_e4m3_t v);
float to_float(float8_e5m2_t v);
bfloat16_t to_bfloat16(float v);
float16_t to_float16(float v);
float8_e4m3_t to_float8_e4m3(float v);
float8_e5m2_t to_float8_e5m2(float v);

// dtype_of<float> == DType::float32 and so on, for every C++ type that can be an element.
template <class T>
struct DTypeOf;
template <DType D>
using DTypeConstant = std::integral_constant<DType, D>;
template <>
struct DTypeOf<double> : DTypeConstant<DType::float64> {};
template <>
struct DTypeOf<float> : DTypeConstant<DType::float32> {};
template <>
struct DTypeOf<bfloat16_t> : DTypeConstant<DType::bfloat16> {};
template <>
struct DTypeOf<float16_t> : DTypeConstant<DType::float16> {};
template <>
struct DTypeOf<float8_e4m3_t> : DTypeConstant<DType::float8_e4m3> {};
template <>
struct DTypeOf<float8_e5m2_t> : DTypeConstant<DType::float8_e5m2> {};
template <>
struct DTypeOf<int8_t> : DTypeConstant<DType::int8> {};
template <>
struct DTypeOf<int16_t> : DTypeConstant<DType::int16> {};
template <>
struct DTypeOf<int32_t> : DTypeConstant<DType::int32> {};
template <>
struct DTypeOf<int64_t> : DTypeConstant<DType::int64> {};
template <>
struct DTypeOf<uint8_t> : DTypeConstant<DType::uint8> {};
template <>
struct DTypeOf<uint16_t> : DTypeConstant<DType::uint16> {};
template <>
struct DTypeOf<uint32_t> : DTypeConstant<DType::uint32> {};
template <>
struct DTypeOf<uint64_t> : DTypeConstant<DType::uint64> {};
template <>
struct DTypeOf<bool> : DTypeConstant<DType::boolean> {};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace heddle
