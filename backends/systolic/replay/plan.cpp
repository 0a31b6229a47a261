#include "systolic/replay/plan.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "systolic/replay/pools.h"

namespace heddle::systolic::replay {
namespace {

struct Use {
  uint32_t step;
  uint8_t operand;
  bool write, read;
};

class Planner {
 public:
  Planner(const Nest& nest, Trace& trace, ReplayLevel level, uint64_t gap, bool in_place)
      : nest_(nest), trace_(trace), level_(level), gap_(gap), in_place_(in_place) {}

  Plan run() {
    stand_in();
    drop_dead_steps();
    collect_uses();
    cut_lives();
    share_buffers();
    return std::move(plan_);
  }

 private:
  const Statement& statement(const Step& s) const { return nest_.statements[s.statement]; }
  const TileFamily& family(uint32_t instance) const {
    return nest_.tiles[static_cast<size_t>(trace_.instance[instance].family)];
  }

  // 1. Which instance stands for another.
  void stand_in() {
    const size_t n = trace_.instance.size();
    stands_.resize(n);
    std::vector<uint32_t> last_use(n, 0);
    for (uint32_t i = 0; i < n; ++i) stands_[i] = i;
    for (uint32_t s = 0; s < trace_.step.size(); ++s)
      for (size_t o = 0; o < trace_.step[s].operands; ++o) last_use[trace_.step[s].instance[o]] = s;
    std::vector<uint32_t> order(n);
    for (uint32_t i = 0; i < n; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return trace_.instance[a].first_step < trace_.instance[b].first_step;
    });
    std::unordered_map<uint64_t, uint32_t> holder;
    uint64_t replaced = 0;
    for (uint32_t i : order) {
      const Instance& instance = trace_.instance[i];
      if (family(i).memory != Memory::sbuf || instance.read_while_written || instance.writes == 0) continue;
      uint64_t key = instance.value + static_cast<uint64_t>(instance.family) * 0x9e3779b97f4a7c15ull;
      if (level_ == ReplayLevel::as_executed) {
        const Fact* hoist = nullptr;
        for (const Fact& f : nest_.facts)
          if (f.kind == Fact::Kind::hoist && f.family == instance.family) hoist = &f;
        if (hoist == nullptr) continue;
        const Step& writer = trace_.step[instance.first_step];
        for (int loop : statement(writer).around)
          if (std::find(hoist->loops.begin(), hoist->loops.end(), loop) == hoist->loops.end())
            key = (key ^ static_cast<uint64_t>(trace_.at(writer, loop) + 1)) * 0xff51afd7ed558ccdull + 1;
      }
      const auto [at, made] = holder.try_emplace(key, i);
      if (made) continue;
      const uint32_t other = at->second;
      const bool complete = trace_.instance[other].last_write < instance.first_step;
      if (complete && instance.first_step - last_use[other] <= gap_of_level()) {
        stands_[i] = other;
        last_use[other] = std::max(last_use[other], last_use[i]);
        ++replaced;
      } else {
        at->second = i;
      }
    }
    if (replaced > 0)
      plan_.decisions.push_back(std::to_string(replaced) + " tiles are made once instead of again");
  }
  // What a fact hoists is kept however long that is.
  uint64_t gap_of_level() const { return level_ == ReplayLevel::as_written ? gap_ : UINT64_MAX; }

  void drop_dead_steps() {
    std::vector<bool> needed(trace_.instance.size(), false);
    uint64_t dropped = 0;
    for (size_t s = trace_.step.size(); s-- > 0;) {
      Step& step = trace_.step[s];
      const Statement& what = statement(step);
      step.active = what.verb == Verb::store;
      for (size_t o = 0; o < what.out.size(); ++o)
        if (stands_[step.instance[o]] == step.instance[o] && needed[step.instance[o]]) step.active = true;
      if (!step.active) {
        ++dropped;
        continue;
      }
      for (size_t o = what.out.size(); o < step.operands; ++o) needed[stands_[step.instance[o]]] = true;
    }
    if (dropped > 0) plan_.decisions.push_back(std::to_string(dropped) + " steps are not needed then");
  }

  void collect_uses() {
    uses_.assign(trace_.instance.size(), {});
    plan_.life_of.assign(trace_.step.size() * operands_max, nothing);
    for (uint32_t s = 0; s < trace_.step.size(); ++s) {
      const Step& step = trace_.step[s];
      if (!step.active) continue;
      const Statement& what = statement(step);
      for (uint8_t o = 0; o < step.operands; ++o) {
        const bool write = o < what.out.size();
        std::vector<Use>& list = uses_[stands_[step.instance[o]]];
        const bool read = !write || (o == 0 && accumulates(what, trace_, step));
        list.push_back({s, o, write, read});
      }
    }
    // Within a step reads come first.
    for (auto& list : uses_)
      std::stable_sort(list.begin(), list.end(), [](const Use& a, const Use& b) {
        return a.step != b.step ? a.step < b.step : (a.read && !b.read);
      });
  }

  // 2. Whether a tile leaves memory between two uses.
  bool is_cut(uint32_t instance, const Use& a, const Use& b) const {
    if (!b.read || a.step == b.step || family(instance).memory != Memory::sbuf) return false;
    if (level_ == ReplayLevel::as_executed) {
      for (size_t f = 0; f < nest_.facts.size(); ++f) {
        const Fact& fact = nest_.facts[f];
        if (fact.kind == Fact::Kind::hoist || fact.family != trace_.instance[instance].family) continue;
        if (trace_.epoch[a.step * nest_.facts.size() + f] == trace_.epoch[b.step * nest_.facts.size() + f])
          continue;
        if (!fact.conditional || holds(fact, trace_.step[trace_.instance[instance].first_step])) return true;
      }
    }
    return b.step - a.step > gap_;
  }
  bool holds(const Fact& fact, const Step& writer) const {
    int64_t value = fact.condition.constant;
    for (const Affine::Term& t : fact.condition.terms) value += t.factor * trace_.at(writer, t.loop);
    return value >= 0;
  }

  void cut_lives() {
    uint64_t reloads = 0, saves = 0, restores = 0;
    for (uint32_t i = 0; i < uses_.size(); ++i) {
      const std::vector<Use>& uses = uses_[i];
      if (uses.empty()) continue;
      const Instance& instance = trace_.instance[i];
      const bool is_load =
          instance.writes == 1 && uses[0].write && statement(trace_.step[uses[0].step]).verb == Verb::load;
      bool dirty = false, saved = false;
      size_t begin = 0;
      for (size_t u = 0; u < uses.size(); ++u) {
        dirty = dirty || uses[u].write;
        const bool last = u + 1 == uses.size();
        if (!last && !is_cut(i, uses[u], uses[u + 1])) continue;
        Life life;
        life.instance = i, life.first = uses[begin].step, life.last = uses[u].step;
        bool read = false;
        for (size_t k = begin; k <= u; ++k) read = read || uses[k].read;
        if (begin > 0) {
          life.begin = is_load ? Life::Begin::loaded_again : Life::Begin::restored;
          ++(is_load ? reloads : restores);
          if (is_load) life.load = uses[0].step;
        }
        if (!last && !is_load && (dirty || !saved)) life.save = true, saved = true, ++saves;
        dirty = false;
        if (is_load && !last && !read) {
          // Loaded, but not used before it would leave: it is loaded where it is used.
          trace_.step[uses[begin].step].active = false;
          --reloads;
        } else {
          const auto number = static_cast<uint32_t>(plan_.life.size());
          for (size_t k = begin; k <= u; ++k)
            plan_.life_of[uses[k].step * operands_max + uses[k].operand] = number;
          cut_.push_back(begin > 0 || !last);
          plan_.life.push_back(life);
        }
        begin = u + 1;
      }
    }
    if (reloads > 0) plan_.decisions.push_back(std::to_string(reloads) + " loads are repeated");
    if (saves + restores > 0)
      plan_.decisions.push_back(std::to_string(saves) + " tiles are spilled, " + std::to_string(restores) +
                                " times one comes back");
  }

  static bool element_wise(Verb v) {
    return v == Verb::copy || v == Verb::activation || v == Verb::tensor_scalar || v == Verb::tensor_tensor ||
           v == Verb::scalar_tensor_tensor || v == Verb::scan || v == Verb::reciprocal;
  }

  // 3. In place, and the pools of 4.
  void share_buffers() {
    for (uint32_t l = 0; l < plan_.life.size(); ++l) plan_.life[l].buffer = l;
    if (in_place_) {
      // By the step at which a life begins.
      std::vector<uint32_t> order(plan_.life.size());
      for (uint32_t l = 0; l < order.size(); ++l) order[l] = l;
      std::stable_sort(order.begin(), order.end(),
                       [&](uint32_t a, uint32_t b) { return plan_.life[a].first < plan_.life[b].first; });
      uint64_t shared = 0;
      for (uint32_t l : order) {
        Life& life = plan_.life[l];
        const Step& step = trace_.step[life.first];
        const Statement& what = statement(step);
        if (life.begin != Life::Begin::made || !element_wise(what.verb) || !whole(what)) continue;
        if (plan_.life_of[life.first * operands_max] != l) continue;
        for (size_t o = 1; o < step.operands; ++o) {
          const uint32_t from = plan_.life_of[life.first * operands_max + o];
          if (from == nothing || from == l) continue;
          const Life& source = plan_.life[from];
          if (source.last != life.first || source.save || !same_shape(source.instance, life.instance))
            continue;
          if (taken_.count(from) > 0) continue;
          taken_[from] = l;
          life.buffer = source.buffer;
          ++shared;
          break;
        }
      }
      if (shared > 0) plan_.decisions.push_back(std::to_string(shared) + " results are made in place");
    }
    plan_.pool_of.assign(plan_.life.size(), nothing);
    std::map<std::pair<int64_t, bool>, uint32_t> pool_of;
    for (uint32_t l = 0; l < plan_.life.size(); ++l) {
      if (plan_.life[l].buffer != l) continue;
      const int f = trace_.instance[plan_.life[l].instance].family;
      const TileFamily& t = nest_.tiles[static_cast<size_t>(f)];
      const bool shared = in_place_ && t.memory == Memory::sbuf;
      const std::pair<int64_t, bool> key =
          shared ? std::pair{-t.bytes(), false} : std::pair{int64_t{f}, bool{cut_[l]}};
      const auto [at, made] = pool_of.try_emplace(key, static_cast<uint32_t>(plan_.pool.size()));
      if (made) {
        plan_.pool.emplace_back();
        plan_.pool.back().family = f, plan_.pool.back().cut = key.second;
      }
      plan_.pool_of[l] = at->second;
    }
  }
  static bool whole(const Statement& s) {
    for (const auto* list : {&s.out, &s.in})
      for (const Operand& o : *list)
        if (!o.box.empty()) return false;
    return true;
  }
  bool same_shape(uint32_t a, uint32_t b) const {
    const TileFamily &x = family(a), &y = family(b);
    return x.memory == y.memory && x.dtype == y.dtype && x.partitions == y.partitions && x.free == y.free;
  }

  const Nest& nest_;
  Trace& trace_;
  ReplayLevel level_;
  uint64_t gap_;
  bool in_place_;
  Plan plan_;
  std::vector<uint32_t> stands_;
  std::vector<std::vector<Use>> uses_;
  std::vector<bool> cut_;
  std::unordered_map<uint32_t, uint32_t> taken_;
};

}  // namespace

std::optional<Plan> make_plan(const Nest& nest, Trace& trace, ReplayLevel level, const Capacity& capacity,
                              uint64_t gap, bool rotating) {
  Plan plan = Planner(nest, trace, level, gap, !rotating).run();
  if (gap != no_gap)
    plan.decisions.push_back("what is not used for " + std::to_string(gap) + " steps leaves memory");
  plan.rotating = rotating;
  if (!size_pools(nest, trace, capacity, plan)) return std::nullopt;
  return plan;
}

}  // namespace heddle::systolic::replay
