#include "heddle/dtype.h"

#include <bit>
#include <cmath>

namespace heddle {
namespace {

struct Name {
  DType dtype;
  const char* full;
  const char* brief;
};

constexpr Name names[] = {
    {DType::float64, "float64", "f64"},
    {DType::float32, "float32", "f32"},
    {DType::bfloat16, "bfloat16", "bf16"},
    {DType::float16, "float16", "f16"},
    {DType::float8_e4m3, "float8_e4m3", "f8e4m3"},
    {DType::float8_e5m2, "float8_e5m2", "f8e5m2"},
    {DType::int8, "int8", "i8"},
    {DType::int16, "int16", "i16"},
    {DType::int32, "int32", "i32"},
    {DType::int64, "int64", "i64"},
    {DType::uint8, "uint8", "u8"},
    {DType::uint16, "uint16", "u16"},
    {DType::uint32, "uint32", "u32"},
    {DType::uint64, "uint64", "u64"},
    {DType::boolean, "bool", "boolean"},
};

// A binary float with fewer bits than float32. `ieee`: the largest exponent means infinity and NaN; otherwise
// only the all-ones pattern is NaN and there is no infinity (e4m3fn).
struct Format {
  int exponent_bits, mantissa_bits;
  bool ieee;
  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr uint32_t sign() const { return 1u << (exponent_bits + mantissa_bits); }
  constexpr uint32_t all_ones() const { return sign() - 1; }
  constexpr uint32_t infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }
  constexpr uint32_t quiet_nan() const {
    return ieee ? infinity() | (1u << (mantissa_bits - 1)) : all_ones();
  }
  constexpr uint32_t overflow() const { return ieee ? infinity() : all_ones(); }
};
constexpr Format half{5, 10, true}, e4m3{4, 3, false}, e5m2{5, 2, true};

// value / 2^shift, rounded to nearest even.
constexpr uint32_t shift_to_even(uint32_t value, int shift) {
  return (value + (1u << (shift - 1)) - 1 + ((value >> shift) & 1)) >> shift;
}

uint32_t encode(float v, Format f) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 31) != 0 ? f.sign() : 0;
  if (magnitude > 0x7f800000u) return sign | f.quiet_nan();
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  const int smallest = 1 - f.bias();  // exponent of the smallest normal number
  uint32_t result = 0;
  if (exponent >= smallest) {
    const uint32_t rebiased = magnitude - (static_cast<uint32_t>(127 - f.bias()) << 23);
    result = shift_to_even(rebiased, 23 - f.mantissa_bits);
    if (result >= f.overflow()) result = f.overflow();
  } else {
    // A subnormal result counts units of 2^(smallest - mantissa_bits). A carry out of the mantissa is the
    // smallest normal number, as it should be. Subnormal float32 inputs are far below half a unit of every
    // format here.
    const int shift = smallest - exponent + 23 - f.mantissa_bits;
    if (shift <= 25) result = shift_to_even((magnitude & 0x7fffffu) | 0x800000u, shift);
  }
  return sign | result;
}

float decode(uint32_t bits, Format f) {
  const uint32_t magnitude = bits & f.all_ones();
  const uint32_t sign = (bits & f.sign()) != 0 ? 0x80000000u : 0;
  const uint32_t exponent = magnitude >> f.mantissa_bits;
  const uint32_t mantissa = magnitude & ((1u << f.mantissa_bits) - 1);
  if (f.ieee ? magnitude >= f.infinity() : magnitude == f.all_ones()) {
    const bool nan = !f.ieee || mantissa != 0;
    return std::bit_cast<float>(sign | 0x7f800000u |
                                (nan ? 0x400000u | (mantissa << (23 - f.mantissa_bits)) : 0));
  }
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(mantissa), 1 - f.bias() - f.mantissa_bits);
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((exponent + static_cast<uint32_t>(127 - f.bias())) << 23) |
                              (mantissa << (23 - f.mantissa_bits)));
}

}  // namespace

const char* dtype_name(DType d) {
  for (const Name& n : names) {
    if (n.dtype == d) return n.full;
  }
  return "invalid dtype";
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (const Name& n : names) {
    if (name == n.full || name == n.brief) return n.dtype;
  }
  return std::nullopt;
}

double unit_roundoff(DType d) {
  switch (d) {
    case DType::float64:
      return 0x1p-53;
    case DType::float32:
      return 0x1p-24;
    case DType::bfloat16:
      return 0x1p-8;
    case DType::float16:
      return 0x1p-11;
    case DType::float8_e4m3:
      return 0x1p-4;
    case DType::float8_e5m2:
      return 0x1p-3;
    default:
      return 0;
  }
}

float to_float(bfloat16_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }
float to_float(float16_t v) { return decode(v.bits, half); }
float to_float(float8_e4m3_t v) { return decode(v.bits, e4m3); }
float to_float(float8_e5m2_t v) { return decode(v.bits, e5m2); }

bfloat16_t to_bfloat16(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = bits >> 31 << 15;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7fc0u)};
  return {static_cast<uint16_t>(sign | shift_to_even(magnitude, 16))};
}
float16_t to_float16(float v) { return {static_cast<uint16_t>(encode(v, half))}; }
float8_e4m3_t to_float8_e4m3(float v) { return {static_cast<uint8_t>(encode(v, e4m3))}; }
float8_e5m2_t to_float8_e5m2(float v) { return {static_cast<uint8_t>(encode(v, e5m2))}; }

}  // namespace heddle
