#include "systolic/lower/scheduler.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <queue>

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

}  // namespace

std::vector<uint32_t> schedule(const Stream& stream, const Dependencies& dependencies, const CostModel& cost,
                               int window) {
  const auto n = static_cast<uint32_t>(stream.instructions.size());
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  if (window == 0 || n == 0) return order;

  // Consumers of each instruction, from its edges the other way round.
  std::vector<uint32_t> first(n + 2, 0), consumer(dependencies.edge.size()), missing(n, 0);
  for (const Edge& e : dependencies.edge) ++first[e.producer + 2];
  std::partial_sum(first.begin(), first.end(), first.begin());
  for (uint32_t i = 0; i < n; ++i)
    for (const Edge& e : dependencies.of(i)) consumer[first[e.producer + 1]++] = i, ++missing[i];

  std::vector<int64_t> ready_at(n, 0), issued(n, 0);
  std::vector<bool> placed(n, false);
  std::array<Lane, engine_count> lane;
  uint32_t oldest = 0, admitted = 0;  // instructions before `admitted` are in the window
  size_t filled = 0;
  const int64_t hop = cost.hop(), dma_fixed = cost.dma_start() + cost.dma_done();
  const auto offer = [&](uint32_t i) {
    lane[static_cast<size_t>(stream.instructions[i].engine)].waiting.push({ready_at[i], i});
  };
  const auto admit = [&] {
    const uint32_t end =
        static_cast<uint32_t>(std::min<uint64_t>(n, uint64_t{oldest} + static_cast<uint64_t>(window)));
    for (; admitted < end; ++admitted)
      if (missing[admitted] == 0) offer(admitted);
  };
  admit();
  int64_t dma_free = 0;  // the engines together, as one server
  while (filled < n) {
    size_t best = lane.size();
    int64_t best_start = 0;
    uint32_t best_instruction = none;
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
      if (best == lane.size() || start < best_start ||
          (start == best_start && instruction < best_instruction))
        best = q, best_start = start, best_instruction = instruction;
    }
    Lane& l = lane[best];
    if (!l.now.empty())
      l.now.pop();
    else
      l.waiting.pop();
    const uint32_t i = best_instruction;
    const Instruction& instruction = stream.instructions[i];
    const Cost& c = cost.cost(instruction);
    int64_t end = best_start + c.latency;
    l.free = best_start + c.interval;
    if (is_dma(instruction.opcode)) {
      const DmaCost& d = cost.dma(instruction);
      const int64_t busy = d.partitions > 0 ? d.per_partition * std::min(8, d.partitions) : d.spread;
      dma_free = std::max(dma_free, best_start) + std::max(busy, d.hbm);
      end = dma_free + dma_fixed;
    }
    order[filled++] = i;
    placed[i] = true;
    for (uint32_t k = first[i]; k < first[i + 1]; ++k) {
      const uint32_t next = consumer[k];
      const Instruction& to = stream.instructions[next];
      const bool same = to.engine == instruction.engine && !is_dma(instruction.opcode);
      int64_t at = end + (same ? 0 : hop);
      // Order and accumulation within one engine cost nothing but the order itself.
      for (const Edge& e : dependencies.of(next))
        if (e.producer == i && same && !is_dma(to.opcode) && e.kind != Dependence::data &&
            e.kind != Dependence::weights)
          at = l.free;
      ready_at[next] = std::max(ready_at[next], at);
      if (--missing[next] == 0 && next < admitted) offer(next);
    }
    while (oldest < n && placed[oldest]) ++oldest;
    admit();
  }
  return order;
}

}  // namespace heddle::systolic
