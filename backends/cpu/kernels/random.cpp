// Philox4x32-10, one block of four words a lane.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/random.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "core/philox.h"
#include "cpu/kernels/random.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
using D = hn::ScalableTag<uint32_t>;
using V = hn::Vec<D>;

// The high and low halves of the 64-bit products of each lane with `factor`.
HWY_INLINE void multiply(V x, V factor, V& high, V& low) {
  const D d;
  const hn::RepartitionToWide<D> d64;
  const auto even = hn::MulEven(x, factor);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, x))), factor);
  // Lane pairs of `even` are (low, high) of even lanes.
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
}

// Whole blocks from `counter`, as many as fit in lanes; returns how many were made.
int64_t blocks(uint64_t key, uint64_t counter, int64_t count, uint32_t* HWY_RESTRICT y) {
  const D d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(D()));
  const V factor0 = hn::Set(d, 0xD2511F53u), factor1 = hn::Set(d, 0xCD9E8D57u);
  int64_t done = 0;
  for (; done + lanes <= count; done += lanes) {
    const uint64_t c = counter + static_cast<uint64_t>(done);
    const auto low = static_cast<uint32_t>(c);
    if (low > UINT32_MAX - static_cast<uint32_t>(lanes)) break;  // the high word changes among the lanes
    V x0 = hn::Iota(d, low), x1 = hn::Set(d, static_cast<uint32_t>(c >> 32)), x2 = hn::Zero(d), x3 = x2;
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      V high0, low0, high1, low1;
      multiply(x0, factor0, high0, low0);
      multiply(x2, factor1, high1, low1);
      x0 = hn::Xor(hn::Xor(high1, x1), hn::Set(d, k0));
      x1 = low1;
      x2 = hn::Xor(hn::Xor(high0, x3), hn::Set(d, k1));
      x3 = low0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    hn::StoreInterleaved4(x0, x1, x2, x3, d, y + done * 4);
  }
  return done;
}
#else
int64_t blocks(uint64_t, uint64_t, int64_t, uint32_t*) { return 0; }
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(blocks);

void random_bits(uint64_t key, uint64_t counter, int64_t first, int64_t n, uint32_t* y) {
  counter += static_cast<uint64_t>(first / 4);
  int64_t skip = first % 4;  // words of the first block that come before `first`
  const auto vector = HWY_DYNAMIC_DISPATCH(blocks);
  while (n > 0) {
    if (skip == 0) {
      const int64_t made = vector(key, counter, n / 4, y);
      counter += static_cast<uint64_t>(made);
      y += made * 4;
      n -= made * 4;
      if (n == 0) return;
    }
    const auto block = philox_block(counter++, key);
    const int64_t words = std::min(n, 4 - skip);
    for (int64_t i = 0; i < words; ++i) y[i] = block[static_cast<size_t>(skip + i)];
    y += words;
    n -= words;
    skip = 0;
  }
}

void random_bits(uint64_t key, uint64_t counter, int64_t elements, uint32_t* y, Threads threads) {
  constexpr int64_t grain = 16 * 1024;
  parallel_for(threads, elements, grain,
               [&](int64_t begin, int64_t end) { random_bits(key, counter, begin, end - begin, y + begin); });
}

}  // namespace heddle::cpu
#endif
