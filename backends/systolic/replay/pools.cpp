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
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return bytes(a, 1) < bytes(b, 1); });
    for (uint32_t times = 2; times <= generous; ++times)
      for (size_t p : order) {
        Pool& pool = plan_.pool[p];
        const uint32_t wanted = std::min(pool.tiles, pool.needed * times);
        while (pool.buffers < wanted) {
          ++pool.buffers;
          if (fits(memory(p))) continue;
          --pool.buffers;
          break;
        }
      }
    return true;
  }

 private:
  const TileFamily& family(size_t p) const { return nest_.tiles[static_cast<size_t>(plan_.pool[p].family)]; }
  Memory memory(size_t p) const { return family(p).memory; }
  int64_t bytes(size_t p, uint32_t) const {
    return plan_.pool[p].needed * size_of_buffer(family(p), capacity_);
  }

  void measure() {
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
        pool.needed = most_at_once(list);
        pool.first = 0, pool.last = nothing;  // for the whole program
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

  static uint32_t most_at_once(const std::vector<Span>& by_first) {
    std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ends;
    size_t most = 0;
    for (const Span& s : by_first) {
      while (!ends.empty() && ends.top() < s.first) ends.pop();
      ends.push(s.last);
      most = std::max(most, ends.size());
    }
    return static_cast<uint32_t>(most);
  }

  // Pools whose spans of steps meet hold their memory together.
  bool fits(Memory m) const {
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
};

}  // namespace

bool size_pools(const Nest& nest, const Trace&, const Capacity& capacity, Plan& plan) {
  return Sizer(nest, capacity, plan).run();
}

}  // namespace heddle::systolic::replay
