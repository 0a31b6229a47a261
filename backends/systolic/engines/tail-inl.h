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

namespace hn = hwy::HWY_NAMESPACE;

// n elements, 0 < n < lanes, with zeros behind. Touches no memory behind them: rows end where values end.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_tail(D d, const T* from, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T padded[hn::MaxLanes(d)] = {};
  std::memcpy(padded, from, n * sizeof(T));
  return hn::Load(d, padded);
#else
  return hn::MaskedLoad(hn::FirstN(d, n), d, from);
#endif
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_tail(D d, hn::Vec<D> v, T* to, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T padded[hn::MaxLanes(d)];
  hn::Store(v, d, padded);
  std::memcpy(to, padded, n * sizeof(T));
#else
  hn::BlendedStore(v, hn::FirstN(d, n), d, to);
#endif
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
