#include "cpu/kernels/dropout.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/dropout.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/philox-inl.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

// Which lanes of d to keep, from their words.
template <class D>
HWY_INLINE hn::Mask<D> kept(D d, const uint32_t* words, uint32_t threshold) {
  if constexpr (sizeof(Lane<D>) == 4) {
    // Signed comparisons exist everywhere: flipping the top bit keeps the order.
    const hn::RebindToSigned<D> d32;
    const auto flip = hn::Set(d32, std::numeric_limits<int32_t>::min());
    const auto bits = hn::Xor(hn::BitCast(d32, hn::LoadU(hn::RebindToUnsigned<D>(), words)), flip);
    const auto below = hn::Lt(bits, hn::Xor(hn::Set(d32, static_cast<int32_t>(threshold)), flip));
    return hn::RebindMask(d, hn::Not(below));
  } else {
    HWY_ALIGN Lane<D> lanes[hn::MaxLanes(D())];
    for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = words[i] >= threshold ? 1 : 0;
    return hn::Ne(hn::Load(d, lanes), hn::Zero(d));
  }
}

// Elements [begin, end); begin is a multiple of the words of a step.
template <class T>
void drop(int64_t begin, int64_t end, uint32_t threshold, Wide<T> factor, uint64_t key, uint64_t counter,
          const T* x, T* y) {
  const WideTag<T> d;
  constexpr auto step = static_cast<int64_t>(philox_step_words);
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(WideTag<T>()));
  const auto scale = hn::Set(d, factor);
  HWY_ALIGN uint32_t words[philox_step_words];
  for (int64_t at = begin; at < end; at += step) {
    philox_step(counter + static_cast<uint64_t>(at / 4), key, words);
    for (int64_t i = 0; i < step && at + i < end; i += lanes) {
      const auto keep = kept(d, words + i, threshold);
      if (at + i + lanes <= end) {
        store(hn::IfThenElseZero(keep, hn::Mul(load(d, x + at + i), scale)), d, y + at + i);
      } else {
        const auto rest = static_cast<size_t>(end - at - i);
        store_n(hn::IfThenElseZero(keep, hn::Mul(load_n(d, x + at + i, rest), scale)), d, y + at + i, rest);
      }
    }
  }
}

void dropout_range(DType dtype, int64_t begin, int64_t end, double rate, const void* x, uint64_t key,
                   uint64_t counter, void* y) {
  const auto threshold = static_cast<uint64_t>(std::floor(rate * 4294967296.0));
  const auto run = [&]<class T>(T) {
    if (threshold > 0xFFFFFFFFu) {  // no word reaches it
      std::fill(static_cast<T*>(y) + begin, static_cast<T*>(y) + end, T());
      return;
    }
    drop<T>(begin, end, static_cast<uint32_t>(threshold), static_cast<Wide<T>>(1 / (1 - rate)), key, counter,
            static_cast<const T*>(x), static_cast<T*>(y));
  };
  switch (dtype) {
    case DType::float64:
      return run(double());
    case DType::bfloat16:
      return run(bfloat16_t());
    case DType::float16:
      return run(float16_t());
    default:
      return run(float());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(dropout_range);

void dropout(DType dtype, int64_t elements, double rate, Threads threads, const void* x, const uint64_t* key,
             const uint64_t* counter, void* y) {
  // Ranges begin at a counter on any instruction set.
  parallel_for(threads, elements, 8192, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(dropout_range)(dtype, begin, end, rate, x, *key, *counter, y);
  });
}

}  // namespace heddle::cpu
#endif
