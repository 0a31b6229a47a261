#include "cpu/kernels/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/rope.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

// The two sides of the pairs of one vector, and back, when pairs are interleaved in memory.
template <class D, class T>
HWY_INLINE void load_pairs(D d, const T* x, hn::Vec<D>& first, hn::Vec<D>& second) {
#if HWY_TARGET == HWY_SCALAR
  first = load(d, x);
  second = load(d, x + 1);
#else
  HWY_ALIGN Lane<D> both[2 * hn::MaxLanes(D())];
  hn::Store(load(d, x), d, both);
  hn::Store(load(d, x + hn::Lanes(d)), d, both + hn::Lanes(d));
  hn::LoadInterleaved2(d, both, first, second);
#endif
}
template <class D, class V, class T>
HWY_INLINE void store_pairs(D d, V first, V second, T* y) {
#if HWY_TARGET == HWY_SCALAR
  store(first, d, y);
  store(second, d, y + 1);
#else
  HWY_ALIGN Lane<D> both[2 * hn::MaxLanes(D())];
  hn::StoreInterleaved2(first, second, d, both);
  store(hn::Load(d, both), d, y);
  store(hn::Load(d, both + hn::Lanes(d)), d, y + hn::Lanes(d));
#endif
}

template <class D, class S>
HWY_INLINE hn::Vec<D> load_table(D d, const S* p) {
  if constexpr (std::is_same_v<S, float> && std::is_same_v<Lane<D>, double>) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), p));
  } else {
    return hn::LoadU(d, p);
  }
}

template <class T, class S>
void rope_rows(const RopeRows& r, const T* x, const S* cos, const S* sin, T* y, int64_t begin, int64_t end) {
  using D = WideTag<T>;
  using W = Wide<T>;
  const D d;
  const int64_t half = r.depth / 2;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = begin; row < end; ++row) {
    const int64_t table = row / r.repeat % r.positions * half;
    const T* from = x + row * r.depth;
    T* to = y + row * r.depth;
    int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto c = load_table(d, cos + table + i);
      auto s = load_table(d, sin + table + i);
      if (r.inverse) s = hn::Neg(s);
      auto first = c, second = c;
      if (r.interleaved) {
        load_pairs(d, from + 2 * i, first, second);
      } else {
        first = load(d, from + i);
        second = load(d, from + half + i);
      }
      const auto turned1 = hn::NegMulAdd(second, s, hn::Mul(first, c));
      const auto turned2 = hn::MulAdd(first, s, hn::Mul(second, c));
      if (r.interleaved) {
        store_pairs(d, turned1, turned2, to + 2 * i);
      } else {
        store(turned1, d, to + i);
        store(turned2, d, to + half + i);
      }
    }
    const hn::CappedTag<W, 1> one;
    for (; i < half; ++i) {
      const int64_t at1 = r.interleaved ? 2 * i : i, at2 = r.interleaved ? 2 * i + 1 : half + i;
      const W c = static_cast<W>(cos[table + i]), sign = r.inverse ? W(-1) : W(1);
      const W s = sign * static_cast<W>(sin[table + i]);
      const auto first = load(one, from + at1), second = load(one, from + at2);
      const auto cv = hn::Set(one, c), sv = hn::Set(one, s);
      store(hn::NegMulAdd(second, sv, hn::Mul(first, cv)), one, to + at1);
      store(hn::MulAdd(first, sv, hn::Mul(second, cv)), one, to + at2);
    }
  }
}

void rope_range(const RopeRows& r, const void* x, const void* cos, const void* sin, void* y, int64_t begin,
                int64_t end) {
  const auto run = [&]<class T, class S>(T, S) {
    rope_rows<T, S>(r, static_cast<const T*>(x), static_cast<const S*>(cos), static_cast<const S*>(sin),
                    static_cast<T*>(y), begin, end);
  };
  switch (r.dtype) {
    case DType::float64:
      return r.table_dtype == DType::float64 ? run(double(), double()) : run(double(), float());
    case DType::bfloat16:
      return run(bfloat16_t(), float());
    case DType::float16:
      return run(float16_t(), float());
    default:
      return run(float(), float());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(rope_range);

void rope(const RopeRows& r, Threads threads, const void* x, const void* cos, const void* sin, void* y) {
  parallel_for(threads, r.rows, grain_of(r.depth), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(rope_range)(r, x, cos, sin, y, begin, end);
  });
}

}  // namespace heddle::cpu
#endif
