// What tests of the cpu kernels share: random tensors, the element-wise bound, and every instruction set in
// turn.
#pragma once

#include <hwy/targets.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "heddle/tensor.h"
#include "tests/property.h"

namespace heddle::test {

// Calls f(name) once per instruction set that the kernels are compiled for and this machine has.
template <class F>
void each_instruction_set(F&& f) {
  struct Restore {
    ~Restore() {
      hwy::SetSupportedTargetsForTest(0);
      hwy::GetChosenTarget().DeInit();
    }
  } restore;
  hwy::SetSupportedTargetsForTest(0);
  const int64_t offered = hwy::SupportedTargets();
#if HWY_ARCH_X86
  const int64_t wanted[] = {HWY_AVX3, HWY_AVX2, HWY_SCALAR};
#else
  const int64_t wanted[] = {HWY_NEON, HWY_SCALAR};
#endif
  for (const int64_t target : wanted) {
    if (target != HWY_SCALAR && (offered & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    f(std::string(hwy::TargetName(target)));
  }
}

// Uniform in [-range, range], rounded to the dtype.
inline Tensor random_tensor(std::mt19937_64& random, DType dtype, const Shape& shape, double range = 1) {
  Tensor t(dtype, shape);
  std::uniform_real_distribution<double> uniform(-range, range);
  for (int64_t i = 0, n = t.elements(); i < n; ++i) t.set(i, uniform(random));
  return t;
}

inline std::vector<double> to_doubles(const Tensor& t) {
  std::vector<double> values(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = t.at(static_cast<int64_t>(i));
  return values;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && (a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}

// |got - ref| <= bound + u_out * |ref| for every element; infinities and NaN must be equal. The bound is what
// the arithmetic may err by before the result is rounded to its dtype; a number too large for the dtype may
// be infinite.
inline void check_close(const std::string& what, const Tensor& got, const std::vector<double>& ref,
                        const std::vector<double>& bound) {
  REQUIRE(got.elements() == static_cast<int64_t>(ref.size()));
  const double u = unit_roundoff(got.dtype());
  // Below the smallest normal number rounding is absolute.
  const double tiny = got.dtype() == DType::float16 ? 6e-8 : got.dtype() == DType::float64 ? 1e-307 : 1.2e-38;
  const double largest = got.dtype() == DType::float16   ? 65504
                         : got.dtype() == DType::float64 ? 1.7e308
                                                         : 3.38e38;
  int64_t wrong = 0, first = -1;
  for (int64_t i = 0; i < got.elements(); ++i) {
    const double g = got.at(i), r = ref[static_cast<size_t>(i)];
    const double allowed = bound[static_cast<size_t>(i)] + u * std::abs(r) + tiny;
    bool ok = std::isnan(r) ? std::isnan(g) : std::isinf(r) ? g == r : std::abs(g - r) <= allowed;
    if (std::isinf(g) && std::abs(r) + allowed >= largest && std::signbit(g) == std::signbit(r)) ok = true;
    if (!ok && wrong++ == 0) first = i;
  }
  if (wrong == 0) return;
  const double g = got.at(first), r = ref[static_cast<size_t>(first)];
  FAIL_CHECK(what << ": " << wrong << " of " << got.elements() << " are wrong; first at " << first << ": got "
                  << g << ", expected " << r << ", error " << std::abs(g - r) << ", allowed "
                  << bound[static_cast<size_t>(first)] + u * std::abs(r));
}

}  // namespace heddle::test
