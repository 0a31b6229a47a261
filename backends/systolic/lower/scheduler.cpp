#include "systolic/lower/scheduler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <queue>

#include "systolic/isa/large_vector.h"

namespace heddle::systolic {
namespace {

struct Ready {
  int64_t at;  // producers are done
  uint32_t instruction;
};
struct Later {
  bool operator()(const Ready& a, const Ready& b) const {
    return a.at != b.at ? a.at > b.at : a.instruction > b.instruction;
  }
};

// One queue's instructions whose producers are placed: those that could issue at once, oldest first, and
// those that still wait, by time.
struct Lane {
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> now;
  std::priority_queue<Ready, std::vector<Ready>, Later> waiting;
  int64_t free = 0;
};

// An instruction in the window.
struct Slot {
  int64_t ready_at = 0;     // by the producers that are placed
  uint32_t missing = 0;     // producers that are not
  uint32_t waiters = none;  // list of the instructions that miss this one
  bool placed = false;
};
// One instruction of the window waits for another.
struct Waiter {
  uint32_t instruction, next;
  Dependence kind;
};
// Of a placed instruction: when its results may be used, and when its queue may go on.
struct Placed {
  int64_t end, issued;
};

}  // namespace

std::vector<uint32_t> schedule(const Stream& stream, const Dependencies& dependencies, const CostModel& cost,
                               int window) {
  const auto n = static_cast<uint32_t>(stream.instructions.size());
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  if (window == 0 || n == 0) return order;

  // Only the window is looked at: an instruction's producers are placed or in it.
  const uint32_t mask = std::bit_ceil(std::min(static_cast<uint32_t>(window), n)) - 1;
  std::vector<Slot> slot(size_t{mask} + 1);
  std::vector<Placed> placed;
  reserve_large(placed, n);
  placed.resize(n);
  std::vector<Waiter> waiter;
  uint32_t unused = none;  // list of waiters that were served
  std::array<Lane, engine_count> lane;
  uint32_t oldest = 0, admitted = 0;  // instructions before `admitted` are in the window, or placed
  const int64_t hop = cost.hop(), dma_fixed = cost.dma_start() + cost.dma_done();

  const auto usable_at = [&](uint32_t producer, const CostKind& consumer, Dependence kind) {
    const CostKind& p = cost.kind(producer);
    const bool same = p.engine == consumer.engine && !p.asynchronous;
    // Order and accumulation within one engine cost nothing but the order itself.
    if (same && !consumer.asynchronous && kind != Dependence::data && kind != Dependence::weights)
      return placed[producer].issued;
    return placed[producer].end + (same ? 0 : hop);
  };
  const auto offer = [&](uint32_t i) {
    lane[static_cast<size_t>(cost.kind(i).engine)].waiting.push({slot[i & mask].ready_at, i});
  };
  const auto admit = [&] {
    const auto end =
        static_cast<uint32_t>(std::min<uint64_t>(n, uint64_t{oldest} + static_cast<uint64_t>(window)));
    for (; admitted < end; ++admitted) {
      Slot& s = slot[admitted & mask];
      s = Slot();
      const CostKind& kind = cost.kind(admitted);
      for (const Edge& e : dependencies.of(admitted)) {
        if (e.producer < oldest || slot[e.producer & mask].placed) {
          s.ready_at = std::max(s.ready_at, usable_at(e.producer, kind, e.kind));
          continue;
        }
        if (unused == none)
          unused = static_cast<uint32_t>(waiter.size()), waiter.push_back({0, none, e.kind});
        const uint32_t w = unused;
        unused = waiter[w].next;
        uint32_t& list = slot[e.producer & mask].waiters;
        waiter[w] = {admitted, list, e.kind};
        list = w;
        ++s.missing;
      }
      if (s.missing == 0) offer(admitted);
    }
  };
  admit();
  int64_t dma_free = 0;  // the engines together, as one server
  for (uint32_t filled = 0; filled < n; ++filled) {
    size_t best = lane.size();
    int64_t best_start = 0;
    uint32_t i = none;
    for (size_t q = 0; q < lane.size(); ++q) {
      Lane& l = lane[q];
      while (!l.waiting.empty() && l.waiting.top().at <= l.free)
        l.now.push(l.waiting.top().instruction), l.waiting.pop();
      int64_t start;
      uint32_t instruction;
      if (!l.now.empty())
        start = l.free, instruction = l.now.top();
      else if (!l.waiting.empty())
        start = l.waiting.top().at, instruction = l.waiting.top().instruction;
      else
        continue;
      if (best == lane.size() || start < best_start || (start == best_start && instruction < i))
        best = q, best_start = start, i = instruction;
    }
    Lane& l = lane[best];
    if (!l.now.empty())
      l.now.pop();
    else
      l.waiting.pop();
    const CostKind& kind = cost.kind(i);
    int64_t end = best_start + kind.cost.latency;
    l.free = best_start + kind.cost.interval;
    if (kind.asynchronous) {
      const DmaCost& d = kind.dma;
      const int64_t busy = d.partitions > 0 ? d.per_partition * std::min(8, d.partitions) : d.spread;
      dma_free = std::max(dma_free, best_start) + std::max(busy, d.hbm);
      end = dma_free + dma_fixed;
    }
    order[filled] = i;
    placed[i] = {end, l.free};
    Slot& own = slot[i & mask];
    own.placed = true;
    for (uint32_t w = own.waiters; w != none;) {
      const uint32_t next = waiter[w].instruction, after = waiter[w].next;
      Slot& s = slot[next & mask];
      s.ready_at = std::max(s.ready_at, usable_at(i, cost.kind(next), waiter[w].kind));
      if (--s.missing == 0) offer(next);
      waiter[w].next = unused, unused = w;
      w = after;
    }
    while (oldest < admitted && slot[oldest & mask].placed) ++oldest;
    admit();
  }
  return order;
}

}  // namespace heddle::systolic
