// Reductions of float32 rows: 32 partial results in whole vectors, joined by a fixed tree.
#include <cmath>

#include "systolic/engines/row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/row_reduce.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "hwy/highway.h"

#include "systolic/engines/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr size_t lanes = hn::MaxLanes(D());
constexpr size_t vectors = partial_count / lanes;

// The operators as the vector engine has them, on vectors of any length.
struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    return hn::Add(a, b);
  }
  static constexpr float identity = 0.0f;
};
struct Times {
  template <class T>
  T operator()(T a, T b) const {
    return hn::Mul(a, b);
  }
  static constexpr float identity = 1.0f;
};
struct Largest {
  template <class T>
  T operator()(T a, T b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::IsNaN(b), b, hn::Max(a, b)));
  }
  static constexpr float identity = -INFINITY;
};
struct Smallest {
  template <class T>
  T operator()(T a, T b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::IsNaN(b), b, hn::Min(a, b)));
  }
  static constexpr float identity = INFINITY;
};

// Element i of the row goes to lane i % 32 of the partial results.
template <class Op>
HWY_INLINE void add_row(V* partial, const float* a, size_t n) {
  const D d;
  const Op op;
  size_t i = 0;
  for (; i + partial_count <= n; i += partial_count)
    for (size_t j = 0; j < vectors; ++j) partial[j] = op(partial[j], hn::LoadU(d, a + i + j * lanes));
  for (size_t j = 0; i < n; ++j, i += lanes) {
    if (n - i >= lanes)
      partial[j] = op(partial[j], hn::LoadU(d, a + i));
    else
      partial[j] =
          hn::IfThenElse(hn::FirstN(d, n - i), op(partial[j], load_tail(d, a + i, n - i)), partial[j]);
  }
}

// t[i] = t[i] (op) t[i + half], half = 16, 8, 4, 2, 1: first whole vectors, then halves of one.
template <class Op, class DD, class VV>
HWY_INLINE float halve([[maybe_unused]] DD d, VV v) {
#if HWY_TARGET != HWY_SCALAR  // which has no halves
  if constexpr (hn::MaxLanes(d) > 1) {
    const hn::Half<DD> h;
    return halve<Op>(h, Op()(hn::LowerHalf(h, v), hn::UpperHalf(h, v)));
  }
#endif
  return hn::GetLane(v);
}
template <class Op>
HWY_INLINE float tree(V* partial) {
  for (size_t half = vectors / 2; half > 0; half /= 2)
    for (size_t j = 0; j < half; ++j) partial[j] = Op()(partial[j], partial[j + half]);
  return halve<Op>(D(), partial[0]);
}

template <class Op>
void row(float* partial, const float* a, size_t n) {
  const D d;
  V p[vectors];
  for (size_t j = 0; j < vectors; ++j) p[j] = hn::LoadU(d, partial + j * lanes);
  add_row<Op>(p, a, n);
  for (size_t j = 0; j < vectors; ++j) hn::StoreU(p[j], d, partial + j * lanes);
}
template <class Op>
float finish(const float* partial) {
  V p[vectors];
  for (size_t j = 0; j < vectors; ++j) p[j] = hn::LoadU(D(), partial + j * lanes);
  return tree<Op>(p);
}
template <class Op>
float whole(const float* a, size_t n) {
  V p[vectors];
  for (size_t j = 0; j < vectors; ++j) p[j] = hn::Set(D(), Op::identity);
  add_row<Op>(p, a, n);
  return tree<Op>(p);
}

template <class Op>
Reduction make() {
  return {Op::identity, row<Op>, finish<Op>, whole<Op>};
}
Reduction float_reduction(AluOp op) {
  switch (op) {
    case AluOp::add:
      return make<Sum>();
    case AluOp::multiply:
      return make<Times>();
    case AluOp::maximum:
      return make<Largest>();
    default:
      return make<Smallest>();
  }
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {
HWY_EXPORT(float_reduction);
Reduction reduction(AluOp op) { return HWY_DYNAMIC_DISPATCH(float_reduction)(op); }
}  // namespace heddle::systolic
#endif
