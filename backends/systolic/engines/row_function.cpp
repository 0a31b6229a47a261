// The functions of the scalar engine, one row at a time.
#include <cmath>
#include <cstring>

#include "systolic/engines/row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/row_function.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "hwy/highway.h"

#include "core/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
using namespace heddle::vmath::HWY_NAMESPACE;  // NOLINT: the functions below are written in its terms

HWY_INLINE V one() { return constant(1.0f); }
HWY_INLINE V half() { return constant(0.5f); }

constexpr float sqrt_half = 0.70710678118654752f;
constexpr float two_over_sqrt_pi = 1.12837916709551257f;
constexpr float one_over_sqrt_two_pi = 0.39894228040143268f;
constexpr float sqrt_two_over_pi = 0.79788456080286536f;

// The standard normal distribution function. By erf, as PyTorch's gelu: to 2 units in the last place of 1.
HWY_INLINE V normal(V x) { return fma(half(), erf(hn::Mul(x, constant(sqrt_half))), half()); }
HWY_INLINE V gelu_tanh_of(V x) {  // tanh of gelu_tanh's argument
  const V cube = hn::Mul(hn::Mul(x, x), x);
  return tanh(hn::Mul(constant(sqrt_two_over_pi), fma(constant(0.044715f), cube, x)));
}

// exp as core has it. Arguments that underflow, as masked scores do, are answered at once: on hosts that
// compute denormals in microcode, one such lane costs more than all the rest. exp(-104) is 0 in float32.
HWY_INLINE V exp_or_zero(V x) {
  const M dead = hn::Lt(x, constant(-104.0f));
  if (hn::AllTrue(D(), dead)) return hn::Zero(D());
  return hn::IfThenZeroElse(dead, exp(hn::IfThenZeroElse(dead, x)));
}

template <Function f>
HWY_INLINE V apply(V x, V alpha) {
  if constexpr (f == Function::copy || f == Function::identity) return x;
  if constexpr (f == Function::square) return hn::Mul(x, x);
  if constexpr (f == Function::abs) return hn::Abs(x);
  if constexpr (f == Function::sign) {
    const V s = hn::CopySign(one(), x);
    return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenZeroElse(hn::Eq(x, hn::Zero(D())), s));
  }
  if constexpr (f == Function::relu) return hn::IfThenElse(hn::IsNaN(x), x, hn::Max(x, hn::Zero(D())));
  if constexpr (f == Function::prelu) return hn::IfThenElse(hn::Lt(x, hn::Zero(D())), hn::Mul(alpha, x), x);
  if constexpr (f == Function::exp) return exp_or_zero(x);
  if constexpr (f == Function::log) return log(x);
  if constexpr (f == Function::sigmoid) return hn::IfThenElse(hn::IsNaN(x), x, sigmoid(x));
  if constexpr (f == Function::tanh) return tanh(x);
  if constexpr (f == Function::softplus) {
    const V r = hn::Add(hn::Max(x, hn::Zero(D())), log1p(exp(hn::Neg(hn::Abs(x)))));
    return hn::IfThenElse(hn::IsNaN(x), x, r);
  }
  if constexpr (f == Function::mish) {
    // tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2) with e = exp(x); 1 in float32 from x = 20 on.
    const V e = exp(hn::Min(x, constant(20.0f)));
    const V t = hn::Mul(e, hn::Add(e, constant(2.0f)));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(x, hn::Div(t, hn::Add(t, constant(2.0f)))));
  }
  if constexpr (f == Function::silu) return hn::Mul(x, sigmoid(x));
  if constexpr (f == Function::silu_dx) {
    const V s = sigmoid(x);
    return hn::Mul(s, fma(x, hn::Sub(one(), s), one()));
  }
  if constexpr (f == Function::gelu) return hn::Mul(x, normal(x));
  if constexpr (f == Function::gelu_dx) {
    const V density = hn::Mul(constant(one_over_sqrt_two_pi), exp(hn::Mul(hn::Mul(x, x), constant(-0.5f))));
    return fma(x, density, normal(x));
  }
  if constexpr (f == Function::gelu_tanh) return hn::Mul(hn::Mul(half(), x), hn::Add(one(), gelu_tanh_of(x)));
  if constexpr (f == Function::gelu_tanh_dx) {
    const V t = gelu_tanh_of(x);
    const V inner =
        fma(constant(3.0f * 0.044715f * sqrt_two_over_pi), hn::Mul(x, x), constant(sqrt_two_over_pi));
    const V slope = hn::Mul(hn::Sub(one(), hn::Mul(t, t)), inner);
    return hn::Mul(half(), fma(x, slope, hn::Add(one(), t)));
  }
  if constexpr (f == Function::gelu_sigmoid) return hn::Mul(x, sigmoid(hn::Mul(x, constant(1.702f))));
  if constexpr (f == Function::gelu_sigmoid_dx) {
    const V z = hn::Mul(x, constant(1.702f));
    const V s = sigmoid(z);
    return hn::Mul(s, fma(z, hn::Sub(one(), s), one()));
  }
  if constexpr (f == Function::erf) return erf(x);
  if constexpr (f == Function::erf_dx)
    return hn::Mul(constant(two_over_sqrt_pi), exp(hn::Neg(hn::Mul(x, x))));
  if constexpr (f == Function::tanh_dx) {
    const V t = tanh(x);
    return hn::Sub(one(), hn::Mul(t, t));
  }
  if constexpr (f == Function::sigmoid_dx) {
    const V e = exp(hn::Neg(hn::Abs(x)));
    const V d = hn::Add(one(), e);
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Div(e, hn::Mul(d, d)));
  }
  if constexpr (f == Function::sin) return sin(x);
  if constexpr (f == Function::cos) return sin(hn::Add(x, constant(1.57079637f)));  // unused: cos runs scalar
  if constexpr (f == Function::arctan) return arctan(x);
  if constexpr (f == Function::sqrt) return hn::Sqrt(x);
  if constexpr (f == Function::rsqrt) return hn::Div(one(), hn::Sqrt(x));
  if constexpr (f == Function::reciprocal) return hn::Div(one(), x);
  if constexpr (f == Function::floor) return hn::Floor(x);
  if constexpr (f == Function::ceil) return hn::Ceil(x);
  if constexpr (f == Function::round) return hn::Round(x);
  if constexpr (f == Function::is_nan) return hn::IfThenElseZero(hn::IsNaN(x), one());
}

template <Function f, bool checked>
Fault function(void* out, const void* a, const void* b, const void*, size_t n) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const auto* in = static_cast<const float*>(a);
  auto* to = static_cast<float*>(out);
  const V alpha = f == Function::prelu ? hn::Set(d, *static_cast<const float*>(b)) : hn::Zero(d);
  V low = hn::Zero(d), high = hn::Zero(d);
  bool magnitude = false;
  if constexpr (checked) {
    const auto range = function_range(f);
    if (range) low = hn::Set(d, range->low), high = hn::Set(d, range->high), magnitude = range->magnitude;
  }
  bool outside = false;
  const auto one_vector = [&](V x) HWY_ATTR {
    if constexpr (checked) {
      const V m = magnitude ? hn::Abs(x) : x;
      // NaN is in no range and passes: it gives NaN.
      outside = outside || !hn::AllFalse(d, hn::Or(hn::Lt(m, low), hn::Gt(m, high)));
    }
    return apply<f>(x, alpha);
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(one_vector(hn::LoadU(d, in + i)), d, to + i);
  if (i < n) {
    HWY_ALIGN float tail[hn::MaxLanes(d)];
    hn::Store(hn::Set(d, in[n - 1]), d, tail);
    std::memcpy(tail, in + i, (n - i) * sizeof(float));
    const V r = one_vector(hn::Load(d, tail));
    hn::Store(r, d, tail);
    std::memcpy(to + i, tail, (n - i) * sizeof(float));
  }
  return outside ? Fault::function_range : Fault::ok;
}

template <size_t... fs>
RowKernel pick(Function f, bool checked, std::index_sequence<fs...>) {
  static constexpr RowKernel plain[] = {function<static_cast<Function>(fs), false>...};
  static constexpr RowKernel trapped[] = {function<static_cast<Function>(fs), true>...};
  return (checked ? trapped : plain)[static_cast<size_t>(f)];
}

RowKernel vector_function(Function f, bool checked) {
  return pick(f, checked, std::make_index_sequence<function_count>{});
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {

HWY_EXPORT(vector_function);

namespace {

// Arguments of any size need an exact reduction: the C library, element by element. GpSimd only.
template <float (*f)(float)>
Fault scalar_function(void* out, const void* a, const void*, const void*, size_t n) {
  const auto* in = static_cast<const float*>(a);
  auto* to = static_cast<float*>(out);
  for (size_t i = 0; i < n; ++i) to[i] = f(in[i]);
  return Fault::ok;
}
float any_sin(float x) { return std::sin(x); }
float any_cos(float x) { return std::cos(x); }

}  // namespace

RowKernel function_kernel(Function f, bool checked) {
  if (f == Function::cos) return scalar_function<any_cos>;
  if (f == Function::sin && !checked) return scalar_function<any_sin>;
  return HWY_DYNAMIC_DISPATCH(vector_function)(f, checked && function_range(f).has_value());
}

}  // namespace heddle::systolic
#endif
