#include "systolic/replay/pools.h"

#include <algorithm>
#include <queue>

namespace heddle::systolic::replay {
namespace {

struct Span {
  uint32_t first, last;
};

constexpr int64_t alignment = 64;
constexpr uint32_t generous = 4;  // times what is needed

int64_t size_of_buffer(const TileFamily& t, const Capacity& capacity) {
  if (t.memory == Memory::psum) return (t.bytes() + capacity.bank_bytes - 1) / capacity.bank_bytes;
  return (t.bytes() + alignment - 1) / alignment * alignment;
}

class Sizer {
 public:
  Sizer(const Nest& nest, const Capacity& capacity, Plan& plan)
      : nest_(nest), capacity_(capacity), plan_(plan) {}

  bool run() {
    measure();
    if (!fits(Memory::sbuf) || !fits(Memory::psum)) return false;
    // Small pools first: they gain most for their bytes.
    std::vector<size_t> order;
    for (size_t p = 0; p < plan_.pool.size(); ++p) order.push_back(p);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return bytes(a) < bytes(b); });
    for (uint32_t times = 2; times <= generous; ++times)
      for (size_t p : order) {
        Pool& pool = plan_.pool[p];
        const uint32_t wanted = std::min(pool.tiles, pool.needed * times);
        // The largest number that fits.
        uint32_t low = pool.buffers;
        for (uint32_t high = wanted; low < high;) {
          pool.buffers = low + (high - low + 1) / 2;
          if (fits(memory(p)))
            low = pool.buffers;
          else
            high = pool.buffers - 1;
        }
        pool.buffers = low;
      }
    return true;
  }

 private:
  const TileFamily& family(size_t p) const { return nest_.tiles[static_cast<size_t>(plan_.pool[p].family)]; }
  Memory memory(size_t p) const { return family(p).memory; }
  int64_t bytes(size_t p) const { return plan_.pool[p].needed * size_of_buffer(family(p), capacity_); }

  void measure() {
    alive_.resize(plan_.pool.size());
    std::vector<std::vector<Span>> spans(plan_.pool.size());
    std::vector<uint32_t> place(plan_.life.size());
    for (uint32_t l = 0; l < plan_.life.size(); ++l) {
      const Life& life = plan_.life[l];
      if (life.buffer != l) continue;
      auto& list = spans[plan_.pool_of[l]];
      place[l] = static_cast<uint32_t>(list.size());
      list.push_back({life.first, life.last});
    }
    for (const Life& life : plan_.life) {
      Span& s = spans[plan_.pool_of[life.buffer]][place[life.buffer]];
      s.first = std::min(s.first, life.first), s.last = std::max(s.last, life.last);
    }
    for (size_t p = 0; p < spans.size(); ++p) {
      auto& list = spans[p];
      std::stable_sort(list.begin(), list.end(),
                       [](const Span& a, const Span& b) { return a.first < b.first; });
      Pool& pool = plan_.pool[p];
      pool.tiles = static_cast<uint32_t>(list.size());
      if (!plan_.rotating && memory(p) == Memory::sbuf) {
        alive_[p] = alive(list);
        for (const Span& s : list) pool.start.push_back(s.first);
        pool.later = alive_[p];
        for (size_t j = pool.later.size(); j-- > 1;)
          pool.later[j - 1] = std::max(pool.later[j - 1], pool.later[j]);
        pool.needed = pool.later.empty() ? 0 : pool.later[0];
        pool.first = 0, pool.last = nothing;
        pool.buffers = pool.needed;
        continue;
      }
      size_t oldest = 0;  // nothing before it is alive
      for (size_t j = 0; j < list.size(); ++j) {
        while (list[oldest].last < list[j].first) ++oldest;
        pool.needed = std::max(pool.needed, static_cast<uint32_t>(j - oldest + 1));
        pool.first = std::min(pool.first, list[j].first);
        pool.last = std::max(pool.last, list[j].last);
      }
      pool.buffers = pool.needed;
    }
  }

  // How many live at each start, with the one that starts.
  static std::vector<uint32_t> alive(const std::vector<Span>& by_first) {
    std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ends;
    std::vector<uint32_t> count;
    for (const Span& s : by_first) {
      while (!ends.empty() && ends.top() < s.first) ends.pop();
      ends.push(s.last);
      count.push_back(static_cast<uint32_t>(ends.size()));
    }
    return count;
  }

  // Slots of all sizes together at every start of one: a size holds what it needed so far, or will need if
  // that is less.
  bool slots_fit() const {
    struct Start {
      uint32_t step, pool, index;
    };
    std::vector<Start> starts;
    std::vector<int64_t> held(plan_.pool.size(), 0);
    std::vector<uint32_t> so_far(plan_.pool.size(), 0);
    for (uint32_t p = 0; p < plan_.pool.size(); ++p)
      for (uint32_t j = 0; j < plan_.pool[p].start.size(); ++j)
        starts.push_back({plan_.pool[p].start[j], p, j});
    std::stable_sort(starts.begin(), starts.end(),
                     [](const Start& a, const Start& b) { return a.step < b.step; });
    int64_t all = 0;
    for (const Start& s : starts) {
      const Pool& pool = plan_.pool[s.pool];
      so_far[s.pool] = std::max(so_far[s.pool], alive_[s.pool][s.index]);
      const uint32_t slots = std::min(so_far[s.pool], pool.later[s.index]) + (pool.buffers - pool.needed);
      const int64_t bytes = slots * size_of_buffer(family(s.pool), capacity_);
      all += bytes - held[s.pool];
      held[s.pool] = bytes;
      if (all > capacity_.sbuf) return false;
      if (s.index + 1 == pool.start.size()) all -= held[s.pool], held[s.pool] = 0;
    }
    return true;
  }

  // Pools whose spans of steps meet hold their memory together.
  bool fits(Memory m) const {
    if (m == Memory::sbuf && !plan_.rotating) return slots_fit();
    const int64_t all = m == Memory::sbuf ? capacity_.sbuf : capacity_.psum_banks;
    for (size_t p = 0; p < plan_.pool.size(); ++p) {
      if (memory(p) != m) continue;
      int64_t held = 0;
      for (size_t q = 0; q < plan_.pool.size(); ++q)
        if (memory(q) == m && plan_.pool[q].first <= plan_.pool[p].first &&
            plan_.pool[p].first <= plan_.pool[q].last)
          held += plan_.pool[q].buffers * size_of_buffer(family(q), capacity_);
      if (held > all) return false;
    }
    return true;
  }

  const Nest& nest_;
  const Capacity& capacity_;
  Plan& plan_;
  std::vector<std::vector<uint32_t>> alive_;  // by pool and start
};

}  // namespace

bool size_pools(const Nest& nest, const Trace&, const Capacity& capacity, Plan& plan) {
  return Sizer(nest, capacity, plan).run();
}

}  // namespace heddle::systolic::replay
