// The last elements of a row, fewer than a vector. Included once per instruction set.
#if defined(HEDDLE_SYSTOLIC_TAIL_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_SYSTOLIC_TAIL_INL_H
#undef HEDDLE_SYSTOLIC_TAIL_INL_H
#else
#define HEDDLE_SYSTOLIC_TAIL_INL_H
#endif

#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {

// n elements, 0 < n < lanes, with zeros behind. Touches no memory behind them: rows end where values end.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_tail(D d, const float* from, size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float padded[hn::MaxLanes(d)] = {};
  std::memcpy(padded, from, n * sizeof(float));
  return hn::Load(d, padded);
#else
  return hn::MaskedLoad(hn::FirstN(d, n), d, from);
#endif
}

template <class D>
HWY_INLINE void store_tail(D d, hwy::HWY_NAMESPACE::Vec<D> v, float* to, size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float padded[hn::MaxLanes(d)];
  hn::Store(v, d, padded);
  std::memcpy(to, padded, n * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(d, n), d, to);
#endif
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
