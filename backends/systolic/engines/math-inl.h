// Elementary functions on float32 vectors, to about 2 units in the last place. Included once per instruction
// set. Methods: Cody-Waite argument reduction and minimax polynomials of the classic single-precision
// libraries (S. Moshier's Cephes; N. Juffa's erf). Special values as in C: exp(-inf) = 0, log(0) = -inf, NaN
// in, NaN out.
#if defined(HEDDLE_SYSTOLIC_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_SYSTOLIC_MATH_INL_H
#undef HEDDLE_SYSTOLIC_MATH_INL_H
#else
#define HEDDLE_SYSTOLIC_MATH_INL_H
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::ScalableTag<int32_t>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
using M = hn::Mask<D>;

HWY_INLINE V constant(float v) { return hn::Set(D(), v); }
HWY_INLINE V fma(V a, V b, V c) { return hn::MulAdd(a, b, c); }

// a + x*(b + x*(c + ...)), the highest power first.
template <class... C>
HWY_INLINE V polynomial(V x, float first, C... rest) {
  V p = constant(first);
  ((p = fma(p, x, constant(rest))), ...);
  return p;
}

// 2^n for n in [-126, 127].
HWY_INLINE V power_of_two(VI n) {
  return hn::BitCast(D(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(DI(), 127))));
}

HWY_INLINE V exp(V x) {
  const V lowest = constant(-104.0f), highest = constant(89.0f);
  const V clamped = hn::Min(hn::Max(x, lowest), highest);
  const V n = hn::Round(hn::Mul(clamped, constant(1.44269504088896341f)));
  V r = fma(n, constant(-0.693359375f), clamped);
  r = fma(n, constant(2.12194440e-4f), r);
  const V p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                         1.6666665459e-1f, 5.0000001201e-1f);
  const V e = hn::Add(fma(hn::Mul(r, r), p, r), constant(1.0f));
  // Two factors, so that results below 2^-126 are reached through denormals.
  const VI whole = hn::ConvertTo(DI(), n);
  const VI half = hn::ShiftRight<1>(whole);
  const V scaled = hn::Mul(hn::Mul(e, power_of_two(half)), power_of_two(hn::Sub(whole, half)));
  return hn::IfThenElse(hn::IsNaN(x), x, scaled);
}

HWY_INLINE V log(V x) {
  const DI di;
  const M denormal = hn::Lt(x, constant(1.17549435e-38f));
  const V lifted = hn::IfThenElse(denormal, hn::Mul(x, constant(0x1p25f)), x);
  const VI bits = hn::BitCast(di, lifted);
  // m in [sqrt(1/2), sqrt(2)), x = m * 2^e
  const VI offset = hn::Sub(bits, hn::Set(di, 0x3f3504f3));
  const VI e = hn::ShiftRight<23>(offset);
  const V m = hn::BitCast(D(), hn::Sub(bits, hn::ShiftLeft<23>(e)));
  const V fe = hn::Sub(hn::ConvertTo(D(), e), hn::IfThenElseZero(denormal, constant(25.0f)));
  const V f = hn::Sub(m, constant(1.0f));
  const V z = hn::Mul(f, f);
  V p =
      polynomial(f, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
  V y = hn::Mul(hn::Mul(p, f), z);
  y = fma(fe, constant(-2.12194440e-4f), y);
  y = fma(z, constant(-0.5f), y);
  V r = hn::Add(f, y);
  r = fma(fe, constant(0.693359375f), r);
  const V infinity = constant(INFINITY);
  r = hn::IfThenElse(hn::Eq(x, infinity), infinity, r);
  r = hn::IfThenElse(hn::Eq(x, hn::Zero(D())), constant(-INFINITY), r);
  return hn::IfThenElse(hn::Or(hn::Lt(x, hn::Zero(D())), hn::IsNaN(x)), constant(NAN), r);
}

// log(1 + y) for y >= 0: log of the rounded sum, corrected by what the rounding lost.
HWY_INLINE V log1p(V y) {
  const V u = hn::Add(y, constant(1.0f));
  const V lost = hn::Sub(y, hn::Sub(u, constant(1.0f)));
  return hn::Add(log(u), hn::Div(lost, u));
}

HWY_INLINE V sigmoid(V x) {
  // e = exp(-|x|) never overflows: x >= 0: 1/(1 + e); x < 0: e/(1 + e).
  const V e = exp(hn::Neg(hn::Abs(x)));
  const V numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(D())), e, constant(1.0f));
  return hn::Div(numerator, hn::Add(constant(1.0f), e));
}

HWY_INLINE V tanh(V x) {
  const V a = hn::Abs(x);
  const V z = hn::Mul(x, x);
  const V p = polynomial(z, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                         -3.33332819422e-1f);
  const V near = fma(hn::Mul(p, z), x, x);
  const V e = exp(hn::Add(a, a));
  const V far = hn::Sub(constant(1.0f), hn::Div(constant(2.0f), hn::Add(e, constant(1.0f))));
  return hn::IfThenElse(hn::Lt(a, constant(0.625f)), near,
                        hn::IfThenElse(hn::IsNaN(x), x, hn::CopySign(far, x)));
}

HWY_INLINE V erf(V x) {
  const V t = hn::Abs(x);
  const V s = hn::Mul(x, x);
  V far = fma(constant(-1.72853470e-5f), t, constant(3.83197126e-4f));
  const V u = fma(constant(-3.88396438e-3f), t, constant(2.42546219e-2f));
  far = fma(far, s, u);
  far = fma(far, t, constant(-1.06777877e-1f));
  far = fma(far, t, constant(-6.34846687e-1f));
  far = fma(far, t, constant(-1.28717512e-1f));
  far = fma(far, t, hn::Neg(t));
  far = hn::CopySign(hn::Sub(constant(1.0f), exp(far)), x);
  far = hn::IfThenElse(hn::Gt(t, constant(4.0f)), hn::CopySign(constant(1.0f), x), far);
  const V near = fma(polynomial(s, -5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f, 1.12819925e-1f,
                                -3.76125336e-1f, 1.28379166e-1f),
                     x, x);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Gt(t, constant(0.927734375f)), far, near));
}

// sin of |x| up to a few thousand: x - n*pi in three parts, then an odd polynomial on [-pi/2, pi/2].
HWY_INLINE V sin(V x) {
  const V n = hn::Round(hn::Mul(x, constant(0.318309886183790672f)));
  V r = fma(n, constant(-3.140625f), x);
  r = fma(n, constant(-9.67502593994140625e-4f), r);
  r = fma(n, constant(-1.509957990978376432e-7f), r);
  const V z = hn::Mul(r, r);
  const V p = polynomial(z, 2.6083159809786593541503e-06f, -0.0001981069071916863322258f,
                         0.00833307858556509017944336f, -0.166666597127914428710938f);
  const V s = fma(hn::Mul(p, z), r, r);
  const VI odd = hn::ShiftLeft<31>(hn::ConvertTo(DI(), n));
  return hn::Xor(s, hn::BitCast(D(), odd));
}

HWY_INLINE V arctan(V x) {
  const V a = hn::Abs(x);
  const M large = hn::Gt(a, constant(2.414213562373095f)), middle = hn::Gt(a, constant(0.4142135623730950f));
  const V one = constant(1.0f);
  V y = hn::IfThenElse(large, hn::Neg(hn::Div(one, a)),
                       hn::IfThenElse(middle, hn::Div(hn::Sub(a, one), hn::Add(a, one)), a));
  const V start = hn::IfThenElse(large, constant(1.5707963267948966f),
                                 hn::IfThenElseZero(middle, constant(0.7853981633974483f)));
  const V z = hn::Mul(y, y);
  const V p = polynomial(z, 8.05374449538e-2f, -1.38776856032e-1f, 1.99777106478e-1f, -3.33329491539e-1f);
  const V r = hn::Add(start, fma(hn::Mul(p, z), y, y));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::CopySign(r, x));
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
