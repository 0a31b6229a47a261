// The memory planner: places buffers with known lifetimes in one arena. Header-only, used by the runtime for
// what crosses partitions and by backend.h for what lives inside one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace heddle {

// A buffer that is written at step `first` and read last at step `last` (first <= last; steps are inclusive).
struct Lifetime {
  uint32_t first = 0;
  uint32_t last = 0;
  uint64_t bytes = 0;
};

struct MemoryPlan {
  std::vector<uint64_t> offset;  // one per lifetime, multiples of the alignment
  uint64_t total = 0;            // bytes of the arena
  uint64_t lower_bound = 0;      // the largest sum of live bytes at any step: no plan can be smaller
};

// Largest first; each buffer goes to the smallest gap between the already placed ones that are alive with it
// (or behind them). O(n^2) in the worst case, deterministic.
inline MemoryPlan plan_memory(std::span<const Lifetime> lifetimes, uint64_t alignment) {
  const auto round_up = [alignment](uint64_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  };
  const size_t n = lifetimes.size();
  MemoryPlan plan;
  plan.offset.assign(n, 0);

  uint32_t steps = 0;
  for (const Lifetime& l : lifetimes) steps = std::max(steps, l.last + 1);
  std::vector<int64_t> change(steps + 1, 0);
  for (const Lifetime& l : lifetimes) {
    change[l.first] += static_cast<int64_t>(round_up(l.bytes));
    change[l.last + 1] -= static_cast<int64_t>(round_up(l.bytes));
  }
  int64_t live = 0;
  for (int64_t c : change) plan.lower_bound = std::max(plan.lower_bound, static_cast<uint64_t>(live += c));

  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (lifetimes[a].bytes != lifetimes[b].bytes) return lifetimes[a].bytes > lifetimes[b].bytes;
    return lifetimes[a].last - lifetimes[a].first > lifetimes[b].last - lifetimes[b].first;
  });
  std::vector<size_t> placed;  // by offset
  for (size_t i : order) {
    const Lifetime& l = lifetimes[i];
    const uint64_t bytes = round_up(l.bytes);
    if (bytes == 0) continue;
    uint64_t best = UINT64_MAX, best_gap = UINT64_MAX, end = 0;
    for (size_t j : placed) {
      const Lifetime& other = lifetimes[j];
      if (other.last < l.first || l.last < other.first) continue;
      const uint64_t begin = plan.offset[j];
      if (begin > end && begin - end >= bytes && begin - end < best_gap) {
        best = end;
        best_gap = begin - end;
      }
      end = std::max(end, begin + round_up(other.bytes));
    }
    plan.offset[i] = best == UINT64_MAX ? end : best;
    plan.total = std::max(plan.total, plan.offset[i] + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t b) { return plan.offset[a] < plan.offset[b]; }),
                  i);
  }
  return plan;
}

}  // namespace heddle
