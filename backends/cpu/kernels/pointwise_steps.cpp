#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/pointwise_steps.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "core/math-inl.h"
#include "cpu/kernels/pointwise_steps.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace vm = heddle::vmath::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr float sqrt_half = 0.70710678118654752f, sqrt_two_over_pi = 0.79788456080286536f,
                inv_sqrt_two_pi = 0.39894228040143268f;

HWY_INLINE V set(float x) { return hn::Set(D(), x); }
HWY_INLINE V one_where(hn::Mask<D> m) { return hn::IfThenElseZero(m, set(1.0f)); }

// f over vectors of up to three operands; the last, partial vector goes through buffers.
template <int Operands, class F>
HWY_INLINE void each(const float* a, const float* b, const float* c, float* out, int64_t n, F f) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  const V zero = hn::Zero(d);
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(f(hn::LoadU(d, a + i), Operands > 1 ? hn::LoadU(d, b + i) : zero,
                 Operands > 2 ? hn::LoadU(d, c + i) : zero),
               d, out + i);
  if (i == n) return;
  HWY_ALIGN float ta[hn::MaxLanes(D())] = {}, tb[hn::MaxLanes(D())] = {}, tc[hn::MaxLanes(D())] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(float);
  std::memcpy(ta, a + i, bytes);
  if (Operands > 1) std::memcpy(tb, b + i, bytes);
  if (Operands > 2) std::memcpy(tc, c + i, bytes);
  hn::Store(f(hn::Load(d, ta), hn::Load(d, tb), hn::Load(d, tc)), d, ta);
  std::memcpy(out + i, ta, bytes);
}

template <class F>
HWY_INLINE V each_lane(V x, V y, F f) {
  HWY_ALIGN float a[hn::MaxLanes(D())], b[hn::MaxLanes(D())];
  hn::Store(x, D(), a);
  hn::Store(y, D(), b);
  for (size_t i = 0; i < hn::Lanes(D()); ++i) a[i] = f(a[i], b[i]);
  return hn::Load(D(), a);
}

HWY_INLINE V nan_through(V a, V b, V r) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::IsNaN(b), b, r));
}
HWY_INLINE V normal_cdf(V x) { return hn::MulAdd(vm::erf(hn::Mul(x, set(sqrt_half))), set(0.5f), set(0.5f)); }
HWY_INLINE V tanh_argument(V x) {
  return hn::Mul(hn::Mul(set(sqrt_two_over_pi), x), hn::MulAdd(hn::Mul(x, x), set(0.044715f), set(1.0f)));
}

HWY_INLINE V gelu_tanh_slope(V x) {
  const V t = vm::tanh(tanh_argument(x));
  const V half = set(0.5f);
  const V slope = hn::Mul(set(sqrt_two_over_pi), hn::MulAdd(hn::Mul(x, x), set(3 * 0.044715f), set(1.0f)));
  const V falling = hn::Mul(hn::Mul(hn::Mul(half, x), hn::NegMulAdd(t, t, set(1.0f))), slope);
  return hn::Add(hn::MulAdd(half, t, half), falling);
}

void RunStep(ScalarOp op, const float* a, const float* b, const float* c, float* out, int64_t n) {
  const V zero = hn::Zero(D()), one = set(1.0f);
  const auto unary = [&](auto f) { each<1>(a, b, c, out, n, [&](V x, V, V) { return f(x); }); };
  const auto binary = [&](auto f) { each<2>(a, b, c, out, n, [&](V x, V y, V) { return f(x, y); }); };
  switch (op) {
    case ScalarOp::add:
      return binary([](V x, V y) { return hn::Add(x, y); });
    case ScalarOp::sub:
      return binary([](V x, V y) { return hn::Sub(x, y); });
    case ScalarOp::mul:
      return binary([](V x, V y) { return hn::Mul(x, y); });
    case ScalarOp::div:
      return binary([](V x, V y) { return hn::Div(x, y); });
    case ScalarOp::min:
      return binary([](V x, V y) { return nan_through(x, y, hn::Min(x, y)); });
    case ScalarOp::max:
      return binary([](V x, V y) { return nan_through(x, y, hn::Max(x, y)); });
    case ScalarOp::pow:
      return binary([](V x, V y) {
        return each_lane(x, y, [](float p, float q) {
          return static_cast<float>(std::pow(static_cast<double>(p), static_cast<double>(q)));
        });
      });
    case ScalarOp::mod:
      return binary([](V x, V y) {
        return each_lane(x, y, [](float p, float q) {
          const float r = std::fmod(p, q);
          return r != 0 && (r < 0) != (q < 0) ? r + q : r;
        });
      });
    case ScalarOp::equal:
      return binary([](V x, V y) { return one_where(hn::Eq(x, y)); });
    case ScalarOp::not_equal:  // hn::Ne is false for NaN on some instruction sets
      return binary([](V x, V y) { return one_where(hn::Not(hn::Eq(x, y))); });
    case ScalarOp::less:
      return binary([](V x, V y) { return one_where(hn::Lt(x, y)); });
    case ScalarOp::less_equal:
      return binary([](V x, V y) { return one_where(hn::Le(x, y)); });
    case ScalarOp::greater:
      return binary([](V x, V y) { return one_where(hn::Gt(x, y)); });
    case ScalarOp::greater_equal:
      return binary([](V x, V y) { return one_where(hn::Ge(x, y)); });
    case ScalarOp::logical_and:
    case ScalarOp::bit_and:
      return binary([](V x, V y) { return hn::Mul(x, y); });
    case ScalarOp::logical_or:
    case ScalarOp::bit_or:
      return binary([](V x, V y) { return hn::Max(x, y); });
    case ScalarOp::logical_xor:
    case ScalarOp::bit_xor:
      return binary([](V x, V y) { return one_where(hn::Ne(x, y)); });
    case ScalarOp::logical_not:
      return unary([&](V x) { return hn::Sub(one, x); });
    case ScalarOp::neg:
      return unary([](V x) { return hn::Neg(x); });
    case ScalarOp::abs:
      return unary([](V x) { return hn::Abs(x); });
    case ScalarOp::sign:
      return unary([&](V x) {
        return hn::IfThenElse(
            hn::Gt(x, zero), one,
            hn::IfThenElse(hn::Lt(x, zero), hn::Neg(one), hn::IfThenElse(hn::IsNaN(x), x, zero)));
      });
    case ScalarOp::exp:
      return unary([](V x) { return vm::exp(x); });
    case ScalarOp::log:
      return unary([](V x) { return vm::log(x); });
    case ScalarOp::sqrt:
      return unary([](V x) { return hn::Sqrt(x); });
    case ScalarOp::rsqrt:
      return unary([&](V x) { return hn::Div(one, hn::Sqrt(x)); });
    case ScalarOp::reciprocal:
      return unary([&](V x) { return hn::Div(one, x); });
    case ScalarOp::sin:
      return unary([](V x) { return each_lane(x, x, [](float p, float) { return std::sin(p); }); });
    case ScalarOp::cos:
      return unary([](V x) { return each_lane(x, x, [](float p, float) { return std::cos(p); }); });
    case ScalarOp::tanh:
      return unary([](V x) { return vm::tanh(x); });
    case ScalarOp::erf:
      return unary([](V x) { return vm::erf(x); });
    case ScalarOp::floor:
      return unary([](V x) { return hn::Floor(x); });
    case ScalarOp::ceil:
      return unary([](V x) { return hn::Ceil(x); });
    case ScalarOp::round:
      return unary([](V x) { return hn::Round(x); });
    case ScalarOp::square:
      return unary([](V x) { return hn::Mul(x, x); });
    case ScalarOp::sigmoid:
      return unary([](V x) { return vm::sigmoid(x); });
    case ScalarOp::is_nan:
      return unary([](V x) { return one_where(hn::IsNaN(x)); });
    case ScalarOp::relu:
      return unary([&](V x) { return nan_through(x, x, hn::Max(x, zero)); });
    case ScalarOp::gelu_erf:
      return unary([](V x) { return hn::Mul(x, normal_cdf(x)); });
    case ScalarOp::gelu_tanh:
      return unary([](V x) {
        const V h = hn::Mul(set(0.5f), x);
        return hn::MulAdd(h, vm::tanh(tanh_argument(x)), h);
      });
    case ScalarOp::silu:
      return unary([](V x) { return hn::Mul(x, vm::sigmoid(x)); });
    case ScalarOp::softplus:
      return unary([&](V x) {
        return hn::IfThenElse(hn::IsNaN(x), x,
                              hn::Add(hn::Max(x, zero), vm::log1p(vm::exp(hn::Neg(hn::Abs(x))))));
      });
    case ScalarOp::gelu_erf_grad:
      return unary([](V x) {
        const V density = hn::Mul(set(inv_sqrt_two_pi), vm::exp(hn::Mul(set(-0.5f), hn::Mul(x, x))));
        return hn::MulAdd(x, density, normal_cdf(x));
      });
    case ScalarOp::gelu_tanh_grad:
      return unary([](V x) { return gelu_tanh_slope(x); });
    case ScalarOp::silu_grad:
      return unary([&](V x) {
        const V s = vm::sigmoid(x);
        return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
      });
    case ScalarOp::select:
      return each<3>(a, b, c, out, n, [&](V p, V x, V y) { return hn::IfThenElse(hn::Ne(p, zero), x, y); });
    default:
      return unary([](V x) { return x; });
  }
}

void LoadBfloat16(const uint16_t* from, float* to, int64_t n) {
  const D d;
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, from + i)))), d, to + i);
  for (; i < n; ++i) to[i] = to_float(bfloat16_t{from[i]});
}

void StoreBfloat16(const float* from, uint16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {  // branch-free, so that compilers vectorise it
    uint32_t bits;
    std::memcpy(&bits, from + i, sizeof(bits));
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
    to[i] = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
  }
}

}  // namespace heddle::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(RunStep);
HWY_EXPORT(LoadBfloat16);
HWY_EXPORT(StoreBfloat16);

void run_step(ScalarOp op, const float* a, const float* b, const float* c, float* out, int64_t n) {
  HWY_DYNAMIC_DISPATCH(RunStep)(op, a, b, c, out, n);
}

void load_elements(DType dtype, const void* from, float* to, int64_t n) {
  switch (dtype) {
    case DType::bfloat16:
      HWY_DYNAMIC_DISPATCH(LoadBfloat16)(static_cast<const uint16_t*>(from), to, n);
      break;
    case DType::float16:
      for (int64_t i = 0; i < n; ++i) to[i] = to_float(static_cast<const float16_t*>(from)[i]);
      break;
    case DType::boolean:
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<const uint8_t*>(from)[i] != 0 ? 1.0f : 0.0f;
      break;
    default:
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
      break;
  }
}

void store_elements(DType dtype, const float* from, void* to, int64_t n) {
  switch (dtype) {
    case DType::bfloat16:
      HWY_DYNAMIC_DISPATCH(StoreBfloat16)(from, static_cast<uint16_t*>(to), n);
      break;
    case DType::float16:
      for (int64_t i = 0; i < n; ++i) static_cast<float16_t*>(to)[i] = to_float16(from[i]);
      break;
    case DType::boolean:
      for (int64_t i = 0; i < n; ++i) static_cast<uint8_t*>(to)[i] = from[i] != 0;
      break;
    default:
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
      break;
  }
}

}  // namespace heddle::cpu
#endif
