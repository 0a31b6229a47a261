// Philox4x32-10 (core/philox.h) for a vector of consecutive counters at once; the same words.
#if defined(HEDDLE_CPU_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_CPU_PHILOX_INL_H_
#undef HEDDLE_CPU_PHILOX_INL_H_
#else
#define HEDDLE_CPU_PHILOX_INL_H_
#endif

#include <hwy/highway.h>

#include "core/philox.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using PhiloxTag = hn::ScalableTag<uint32_t>;
// Words that one step makes: four per counter, a counter per lane.
inline constexpr size_t philox_step_words = 4 * hn::MaxLanes(PhiloxTag());

// The words of counters `counter` .. counter + lanes - 1 (64-bit, wrapping), in their order.
HWY_INLINE void philox_step(uint64_t counter, uint64_t key, uint32_t* HWY_RESTRICT words) {
#if HWY_TARGET == HWY_SCALAR
  const PhiloxWords block = philox_block(counter, key);
  for (size_t i = 0; i < 4; ++i) words[i] = block[i];
#else
  const PhiloxTag d;
  const hn::RepartitionToWide<PhiloxTag> wide;
  const auto low = hn::Set(d, static_cast<uint32_t>(counter)),
             high = hn::Set(d, static_cast<uint32_t>(counter >> 32));
  auto c0 = hn::Add(low, hn::Iota(d, 0));
  // The carry: an all-ones lane is -1.
  auto c1 = hn::Sub(high, hn::VecFromMask(d, hn::Lt(c0, low)));
  auto c2 = hn::Zero(d), c3 = hn::Zero(d);
  auto k0 = hn::Set(d, static_cast<uint32_t>(key)), k1 = hn::Set(d, static_cast<uint32_t>(key >> 32));
  const auto m0 = hn::Set(d, 0xD2511F53u), m1 = hn::Set(d, 0xCD9E8D57u);
  const auto multiply = [&](auto a, auto m, auto& hi, auto& lo) HWY_ATTR {
    const auto even = hn::MulEven(a, m);
    const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), m);
    hi = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
    lo = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
  };
  for (int round = 0; round < 10; ++round) {
    auto hi0 = c0, lo0 = c0, hi1 = c0, lo1 = c0;
    multiply(c0, m0, hi0, lo0);
    multiply(c2, m1, hi1, lo1);
    c0 = hn::Xor(hn::Xor(hi1, c1), k0);
    c1 = lo1;
    c2 = hn::Xor(hn::Xor(hi0, c3), k1);
    c3 = lo0;
    k0 = hn::Add(k0, hn::Set(d, 0x9E3779B9u));
    k1 = hn::Add(k1, hn::Set(d, 0xBB67AE85u));
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, d, words);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#endif
