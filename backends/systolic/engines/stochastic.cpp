#include "systolic/engines/stochastic.h"

#include <algorithm>
#include <cmath>

namespace heddle::systolic {
namespace {

// Bits of the fraction, and the exponent of the smallest normal number.
struct Format {
  int fraction, smallest;
};
Format format_of(DType d) {
  switch (d) {
    case DType::bfloat16:
      return {7, -126};
    case DType::float16:
      return {10, -14};
    case DType::float8_e4m3:
      return {3, -6};
    default:
      return {2, -14};
  }
}

// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

}  // namespace

bool can_round_stochastically(DType to) { return is_float(to) && size_of(to) < 4; }

uint64_t stochastic_key(uint64_t seed, uint32_t instruction) { return mixed(seed ^ mixed(instruction)); }

void round_stochastically(const StochasticRounding& rounding, float* values, size_t n, uint64_t first) {
  const Format format = format_of(rounding.to);
  for (size_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(values[i]);
    if (v == 0 || !std::isfinite(v)) continue;
    const double unit = std::ldexp(1.0, std::max(std::ilogb(v), format.smallest) - format.fraction);
    const double below = std::floor(v / unit), share = v / unit - below;
    const double chance = static_cast<double>(mixed(rounding.key + first + i) >> 11) * 0x1p-53;
    values[i] = static_cast<float>((chance < share ? below + 1 : below) * unit);
  }
}

}  // namespace heddle::systolic
