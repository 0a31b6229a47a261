#include "cpu/kernels/dropout.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/dropout.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/philox-inl.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

// Elements [begin, end); begin is a multiple of the words of a step. `threshold` may be 2^32.
template <class T>
void drop(int64_t begin, int64_t end, uint64_t threshold, Wide<T> factor, uint64_t key, uint64_t counter,
          const T* x, T* y) {
  const WideTag<T> d;
  constexpr auto step = static_cast<int64_t>(philox_step_words);
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(WideTag<T>()));
  const auto scale = hn::Set(d, factor);
  HWY_ALIGN uint32_t words[philox_step_words];
  HWY_ALIGN Wide<T> kept[philox_step_words];
  for (int64_t at = begin; at < end; at += step) {
    philox_step(counter + static_cast<uint64_t>(at / 4), key, words);
    // 0 or 1 per element: a 64-bit threshold covers rate 1.
    for (size_t i = 0; i < philox_step_words; ++i) kept[i] = words[i] >= threshold ? Wide<T>(1) : Wide<T>(0);
    for (int64_t i = 0; i < step && at + i < end; i += lanes) {
      const auto keep = hn::Ne(hn::Load(d, kept + i), hn::Zero(d));
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
    drop<T>(begin, end, threshold, static_cast<Wide<T>>(1 / (1 - rate)), key, counter,
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
