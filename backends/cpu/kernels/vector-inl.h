// Vectors of float (or double) over elements of any float dtype, for one instruction set. Included inside
// files that Highway compiles once per instruction set; everything here is inline.
//
//   load(d, p)  load_n(d, p, n)         elements widened to the lanes of d; lanes n.. are zero
//   store(v, d, p)  store_n(v, d, p, n) lanes rounded to nearest even; NaN stays NaN
//   exp(d, x)  log(d, x)                within 2 units in the last place (float), libm (double); IEEE special
//   cases exp2_falling(d, x)                  2^x for x <= 0 (-inf gives 0, NaN stays), 0 below 2^-126
//   steps(d, n, f)                      a loop over n elements, vector by vector
//   transpose4(a, b, c, e)              four rows of four floats to columns
#if defined(HEDDLE_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_CPU_VECTOR_INL_H_
#undef HEDDLE_CPU_VECTOR_INL_H_
#else
#define HEDDLE_CPU_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "heddle/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The type that arithmetic on elements of T happens in.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
template <class T>
using WideTag = hn::ScalableTag<Wide<T>>;
template <class D>
using Lane = hn::TFromD<D>;

inline constexpr bool has_masked_memory = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL;
// Elsewhere half floats are converted one by one.
inline constexpr bool has_half_conversion = has_masked_memory || HWY_TARGET == HWY_AVX2 || HWY_ARCH_ARM;

template <class D, class T>
HWY_INLINE hn::Vec<D> load(D d, const T* HWY_RESTRICT p) {
  if constexpr (std::is_same_v<T, Lane<D>>) {
    return hn::LoadU(d, p);
  } else if constexpr (std::is_same_v<T, bfloat16_t>) {
    const hn::Rebind<uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, &p->bits))));
  } else if constexpr (has_half_conversion) {
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
  } else {
    HWY_ALIGN Lane<D> lanes[hn::MaxLanes(D())];
    for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = to_float(p[i]);
    return hn::Load(d, lanes);
  }
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load_n(D d, const T* HWY_RESTRICT p, size_t n) {
  if constexpr (has_masked_memory && std::is_same_v<T, Lane<D>>) {
    return hn::MaskedLoad(hn::FirstN(d, n), d, p);
  } else if constexpr (HWY_TARGET == HWY_AVX2 && std::is_same_v<T, Lane<D>>) {
    return hn::MaskedLoad(hn::FirstN(d, n), d, p);
  } else {
    T part[hn::MaxLanes(D())] = {};
    for (size_t i = 0; i < n; ++i) part[i] = p[i];
    return load(d, part);
  }
}

template <class V, class D, class T>
HWY_INLINE void store(V v, D d, T* HWY_RESTRICT p) {
  if constexpr (std::is_same_v<T, Lane<D>>) {
    hn::StoreU(v, d, p);
  } else if constexpr (std::is_same_v<T, bfloat16_t>) {
    // Highway 1.0.3 truncates here; we round to nearest even and keep NaN quiet.
    const hn::Rebind<uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
    const auto bits = hn::BitCast(d32, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFF))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d32, 0x40));
    const auto half = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(v)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(hn::RebindToSigned<D>(), half)), d16, &p->bits);
  } else if constexpr (has_half_conversion) {
    const hn::Rebind<hwy::float16_t, D> d16;
    hn::StoreU(hn::DemoteTo(d16, v), d16, reinterpret_cast<hwy::float16_t*>(p));
  } else {
    HWY_ALIGN Lane<D> lanes[hn::MaxLanes(D())];
    hn::Store(v, d, lanes);
    for (size_t i = 0; i < hn::Lanes(d); ++i) p[i] = to_float16(lanes[i]);
  }
}

template <class V, class D, class T>
HWY_INLINE void store_n(V v, D d, T* HWY_RESTRICT p, size_t n) {
  if constexpr ((has_masked_memory || HWY_TARGET == HWY_AVX2) && std::is_same_v<T, Lane<D>>) {
    hn::BlendedStore(v, hn::FirstN(d, n), d, p);
  } else {
    T part[hn::MaxLanes(D())];
    store(v, d, part);
    for (size_t i = 0; i < n; ++i) p[i] = part[i];
  }
}

// f(lane) for each lane: the path of rare or slow functions.
template <class D, class V, class F>
HWY_INLINE hn::Vec<D> each_lane(D d, V v, F f) {
  HWY_ALIGN Lane<D> lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = f(lanes[i]);
  return hn::Load(d, lanes);
}

// 2^r for |r| <= 0.5, within 0.1 units of rounding before rounding; exactly 1 at 0.
template <class D, class V>
HWY_INLINE V exp2_fraction(D d, V r) {
  V p = hn::MulAdd(r, hn::Set(d, 0.0001545316294214853f), hn::Set(d, 0.001339086336464892f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.009618082557285924f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.05550357114219124f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.24022650760605087f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.6931471880262288f));
  return hn::MulAdd(p, r, hn::Set(d, 1.0f));
}

// Keeps NaN: x86 returns the second operand when one is NaN, Arm returns NaN, the scalar target drops it.
template <class D, class V>
HWY_INLINE V at_least(D d, float bound, V x) {
  const V y = hn::Max(hn::Set(d, bound), x);
  return HWY_TARGET == HWY_SCALAR ? hn::IfThenElse(hn::IsNaN(x), x, y) : y;
}
template <class D, class V>
HWY_INLINE V at_most(D d, float bound, V x) {
  const V y = hn::Min(hn::Set(d, bound), x);
  return HWY_TARGET == HWY_SCALAR ? hn::IfThenElse(hn::IsNaN(x), x, y) : y;
}

template <class D, class V>
HWY_INLINE V exp2_falling(D d, V x) {
  const hn::RebindToSigned<D> di;
  x = at_least(d, -127.0f, x);
  // Adding 1.5 * 2^23 + 127 leaves round(x) + 127 in the low bits, where the exponent is made of.
  const V magic = hn::Set(d, 12583039.0f);
  const V t = hn::Add(x, magic);
  const V r = hn::Sub(x, hn::Sub(t, magic));
  const V scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, t)));
  return hn::Mul(exp2_fraction(d, r), scale);
}

// e^x for x <= 0, cheaper than exp: within 1 + |x| / 2 units in the last place, which is what rounding x
// itself costs. Denormal results come out as such.
template <class D, class V>
HWY_INLINE V exp_falling(D d, V x) {
  if constexpr (std::is_same_v<Lane<D>, double>) {
    return each_lane(d, x, [](double v) { return std::exp(v); });
  } else {
    const hn::RebindToSigned<D> di;
    x = at_least(d, -150.0f, hn::Mul(x, hn::Set(d, 1.44269504f)));
    // As exp2_falling, with 64 more in the exponent until the last product.
    const V magic = hn::Set(d, 12583103.0f);
    const V t = hn::Add(x, magic);
    const V r = hn::Sub(x, hn::Sub(t, magic));
    const V scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, t)));
    return hn::Mul(hn::Mul(exp2_fraction(d, r), scale), hn::Set(d, 0x1p-64f));
  }
}

template <class D, class V>
HWY_INLINE V exp(D d, V x) {
  if constexpr (std::is_same_v<Lane<D>, double>) {
    return each_lane(d, x, [](double v) { return std::exp(v); });
  } else {
    const hn::RebindToSigned<D> di;
    x = at_most(d, 89.0f, at_least(d, -104.0f, x));
    const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
    // ln 2 in two parts; n * the first is exact.
    V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
    r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
    V p = hn::MulAdd(r, hn::Set(d, 1.9875691500e-4f), hn::Set(d, 1.3981999507e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
    p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
    p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
    // Two scalings, so that infinity and the denormal numbers come out as such.
    const auto e = hn::ConvertTo(di, n);
    const auto half = hn::ShiftRight<1>(e);
    const auto bias = hn::Set(di, 127);
    const V s1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
    const V s2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(e, half), bias)));
    return hn::Mul(hn::Mul(p, s1), s2);
  }
}

template <class D, class V>
HWY_INLINE V log(D d, V x) {
  if constexpr (std::is_same_v<Lane<D>, double>) {
    return each_lane(d, x, [](double v) { return std::log(v); });
  } else {
    const hn::RebindToSigned<D> di;
    const V smallest = hn::Set(d, std::numeric_limits<float>::min());
    const auto tiny = hn::Lt(x, smallest);
    const V y = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
    // y = m * 2^e with sqrt(1/2) <= m < sqrt(2)
    const auto bits = hn::Sub(hn::BitCast(di, y), hn::Set(di, 0x3F3504F3));
    const auto e = hn::ShiftRight<23>(bits);
    const V m = hn::BitCast(d, hn::Sub(hn::BitCast(di, y), hn::ShiftLeft<23>(e)));
    const V ef = hn::Sub(hn::ConvertTo(d, e), hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
    const V f = hn::Sub(m, hn::Set(d, 1.0f));
    const V f2 = hn::Mul(f, f);
    V p = hn::MulAdd(f, hn::Set(d, 7.0376836292e-2f), hn::Set(d, -1.1514610310e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.1676998740e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, -1.2420140846e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.4249322787e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, -1.6668057665e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 2.0000714765e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, -2.4999993993e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 3.3333331174e-1f));
    p = hn::Mul(hn::Mul(p, f), f2);
    p = hn::MulAdd(ef, hn::Set(d, -2.12194440e-4f), p);
    p = hn::NegMulAdd(hn::Set(d, 0.5f), f2, p);
    V r = hn::MulAdd(ef, hn::Set(d, 0.693359375f), hn::Add(f, p));
    const float inf = std::numeric_limits<float>::infinity();
    r = hn::IfThenElse(hn::Eq(x, hn::Set(d, inf)), x, r);
    r = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Set(d, -inf), r);
    // x < 0 or NaN
    return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), r, hn::Set(d, std::numeric_limits<float>::quiet_NaN()));
  }
}

// A whole vector, where the other case is a number of lanes. Loops are written once for both: `steps` calls
// f(i, Whole()) for whole vectors and f(i, n) for the n elements that are left, k counting up to 4 so that
// sums can run side by side.
struct Whole {};

template <class D, class T>
HWY_INLINE hn::Vec<D> load_n(D d, const T* HWY_RESTRICT p, Whole) {
  return load(d, p);
}
template <class V, class D, class T>
HWY_INLINE void store_n(V v, D d, T* HWY_RESTRICT p, Whole) {
  store(v, d, p);
}
// v in the lanes that count, `other` in the rest.
template <class D, class V>
HWY_INLINE V keep_n(D, V v, Whole, Lane<D>) {
  return v;
}
template <class D, class V>
HWY_INLINE V keep_n(D d, V v, size_t n, Lane<D> other) {
  return hn::IfThenElse(hn::FirstN(d, n), v, hn::Set(d, other));
}

template <class D, class F>
HWY_INLINE void steps(D d, int64_t n, F f) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    f(i, Whole(), 0);
    f(i + lanes, Whole(), 1);
    f(i + 2 * lanes, Whole(), 2);
    f(i + 3 * lanes, Whole(), 3);
  }
  for (; i + lanes <= n; i += lanes) f(i, Whole(), 0);
  if (i < n) f(i, static_cast<size_t>(n - i), 1);
}

template <class D, class V>
HWY_INLINE Lane<D> sum_of(D d, V v) {
  return hn::GetLane(hn::SumOfLanes(d, v));
}
template <class D, class V>
HWY_INLINE Lane<D> max_of(D d, V v) {
  return hn::GetLane(hn::MaxOfLanes(d, v));
}

// Four sums (or maxima) side by side: latency hides, and rounding errors grow less.
template <class D>
struct Sums {
  hn::Vec<D> part[4];
  explicit Sums(D d) { part[0] = part[1] = part[2] = part[3] = hn::Zero(d); }
  Lane<D> total(D d) const {
    return sum_of(d, hn::Add(hn::Add(part[0], part[1]), hn::Add(part[2], part[3])));
  }
};
template <class D>
struct Maxima {
  hn::Vec<D> part[4];
  explicit Maxima(D d) {
    part[0] = part[1] = part[2] = part[3] = hn::Set(d, -std::numeric_limits<Lane<D>>::infinity());
  }
  Lane<D> total(D d) const {
    return max_of(d, hn::Max(hn::Max(part[0], part[1]), hn::Max(part[2], part[3])));
  }
};

// Four rows of four floats to columns.
#if HWY_TARGET != HWY_SCALAR
using Four = hn::FixedTag<float, 4>;
HWY_INLINE void transpose4(hn::Vec<Four>& a, hn::Vec<Four>& b, hn::Vec<Four>& c, hn::Vec<Four>& e) {
  const Four d4;
  const hn::RepartitionToWide<Four> d2;
  const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d4, a, b));
  const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d4, a, b));
  const auto ce_low = hn::BitCast(d2, hn::InterleaveLower(d4, c, e));
  const auto ce_high = hn::BitCast(d2, hn::InterleaveUpper(d4, c, e));
  a = hn::BitCast(d4, hn::InterleaveLower(d2, ab_low, ce_low));
  b = hn::BitCast(d4, hn::InterleaveUpper(d2, ab_low, ce_low));
  c = hn::BitCast(d4, hn::InterleaveLower(d2, ab_high, ce_high));
  e = hn::BitCast(d4, hn::InterleaveUpper(d2, ab_high, ce_high));
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#endif
