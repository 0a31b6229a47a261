// Float32 operators of the vector engine, one row at a time.
#include <cmath>
#include <cstring>

#include "systolic/engines/row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/row_alu.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "hwy/highway.h"

#include "systolic/engines/float_operators-inl.h"
#include "systolic/engines/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// f over whole vectors, then over the tail.
template <class F>
HWY_INLINE void each_vector(float* out, const float* a, const float* b, size_t n, const F& f) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V first = f(hn::LoadU(d, a + i), hn::LoadU(d, b + i));
    const V second = f(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes));
    hn::StoreU(first, d, out + i);
    hn::StoreU(second, d, out + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  if (i < n) store_tail(d, f(load_tail(d, a + i, n - i), load_tail(d, b + i, n - i)), out + i, n - i);
}

template <class Op, Form form>
Fault binary(void* out, const void* a, const void* b, const void*, size_t n) {
  const D d;
  const auto* fa = static_cast<const float*>(a);
  const auto* fb = static_cast<const float*>(b);
  auto* fo = static_cast<float*>(out);
  const Op op;
  if constexpr (form == Form::vector_vector) {
    each_vector(fo, fa, fb, n, [&](V x, V y) HWY_ATTR { return op(x, y); });
  } else if constexpr (form == Form::vector_scalar) {
    const V s = hn::Set(d, *fb);
    each_vector(fo, fa, fa, n, [&](V x, V) HWY_ATTR { return op(x, s); });
  } else {
    const V s = hn::Set(d, *fa);
    each_vector(fo, fb, fb, n, [&](V x, V) HWY_ATTR { return op(s, x); });
  }
  return Fault::ok;
}

Fault scale_bias(void* out, const void* a, const void* b, const void* c, size_t n) {
  const D d;
  const V scale = hn::Set(d, *static_cast<const float*>(b)), bias = hn::Set(d, *static_cast<const float*>(c));
  const auto* x = static_cast<const float*>(a);
  each_vector(static_cast<float*>(out), x, x, n,
              [&](V v, V) HWY_ATTR { return hn::Add(hn::Mul(v, scale), bias); });
  return Fault::ok;
}

// Registers move as bits, so integers pass unharmed; a float predicate -0 is zero like 0.
template <bool scalar>
Fault select(void* out, const void* a, const void* b, const void* c, size_t n) {
  const auto* x = static_cast<const float*>(a);
  const auto* p = static_cast<const float*>(b);
  const auto* y = static_cast<const float*>(c);
  auto* o = static_cast<float*>(out);
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V other = scalar ? hn::Set(d, *y) : hn::LoadU(d, y + i);
    hn::StoreU(hn::IfThenElse(nonzero(hn::LoadU(d, p + i)), hn::LoadU(d, x + i), other), d, o + i);
  }
  for (; i < n; ++i) o[i] = p[i] != 0 ? x[i] : y[scalar ? 0 : i];
  return Fault::ok;
}

template <class Op>
RowKernel form_of(Form form) {
  switch (form) {
    case Form::vector_vector:
      return binary<Op, Form::vector_vector>;
    case Form::vector_scalar:
      return binary<Op, Form::vector_scalar>;
    default:
      return binary<Op, Form::scalar_vector>;
  }
}

RowKernel float_binary(AluOp op, Form form) {
  RowKernel kernel = nullptr;
  with_operator(op, [&](auto f) { kernel = form_of<decltype(f)>(form); });
  return kernel;
}

RowKernel float_scale_bias() { return scale_bias; }
RowKernel float_select(bool scalar) { return scalar ? select<true> : select<false>; }

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {

HWY_EXPORT(float_binary);
HWY_EXPORT(float_scale_bias);
HWY_EXPORT(float_select);

RowKernel integer_binary_kernel(AluOp op, Form form, bool is_unsigned);  // row_integer.cpp

namespace {

float floored_mod(float a, float b) {
  const float m = std::fmod(a, b);
  return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

template <float (*f)(float, float), Form form>
Fault scalar_loop(void* out, const void* a, const void* b, const void*, size_t n) {
  const auto* fa = static_cast<const float*>(a);
  const auto* fb = static_cast<const float*>(b);
  auto* fo = static_cast<float*>(out);
  for (size_t i = 0; i < n; ++i)
    fo[i] = f(fa[form == Form::scalar_vector ? 0 : i], fb[form == Form::vector_scalar ? 0 : i]);
  return Fault::ok;
}

template <float (*f)(float, float)>
RowKernel scalar_form(Form form) {
  switch (form) {
    case Form::vector_vector:
      return scalar_loop<f, Form::vector_vector>;
    case Form::vector_scalar:
      return scalar_loop<f, Form::vector_scalar>;
    default:
      return scalar_loop<f, Form::scalar_vector>;
  }
}

float power(float a, float b) { return std::pow(a, b); }

}  // namespace

RowKernel binary_kernel(AluOp op, Form form, Arithmetic arithmetic) {
  if (arithmetic != Arithmetic::float32)
    return integer_binary_kernel(op, form, arithmetic == Arithmetic::uint32);
  if (op == AluOp::power) return scalar_form<power>(form);
  if (op == AluOp::mod) return scalar_form<floored_mod>(form);
  return HWY_DYNAMIC_DISPATCH(float_binary)(op, form);
}
RowKernel scale_bias_kernel() { return HWY_DYNAMIC_DISPATCH(float_scale_bias)(); }
RowKernel select_kernel(bool c_is_scalar) { return HWY_DYNAMIC_DISPATCH(float_select)(c_is_scalar); }

}  // namespace heddle::systolic
#endif
