#include "systolic/replay/emit.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>

#include "heddle/error.h"
#include "systolic/replay/engine_rule.h"

namespace heddle::systolic::replay {
namespace {

class Emitter {
 public:
  Emitter(NeuronCore& core, const Nest& nest, const Trace& trace, const Plan& plan)
      : core_(core), nest_(nest), trace_(trace), plan_(plan) {}

  Spilled run() {
    for (const HbmValue& v : nest_.hbm) hbm_.push_back(core_.hbm(v.name, Shape(v.shape), v.dtype));
    tile_.resize(plan_.life.size());
    slot_of_.resize(plan_.rotating ? 0 : plan_.life.size());
    slots_.resize(plan_.pool.size());
    pool_.resize(plan_.pool.size());
    scratch_.resize(trace_.instance.size());
    counter_.resize(nest_.loops.size());
    sort_ends();
    for (step_ = 0; step_ < trace_.step.size(); ++step_) {
      const Step& step = trace_.step[step_];
      if (step.active) {
        const Statement& s = nest_.statements[step.statement];
        try {
          take_tiles(step);
          count(step);
          emit(step, s);
        } catch (const Error& e) {
          throw Error(e.code(), std::string(e.what()) + " [replay of " + nest_.name + ": " + s.label +
                                    " at " + s.place + "]");
        }
      }
      release();
    }
    return spilled_;
  }

 private:
  // Lives, and pools, by their last step.
  void sort_ends() {
    for (uint32_t l = 0; l < plan_.life.size(); ++l) ends_.push_back(l);
    std::stable_sort(ends_.begin(), ends_.end(),
                     [&](uint32_t a, uint32_t b) { return plan_.life[a].last < plan_.life[b].last; });
    buffer_end_.assign(plan_.life.size(), 0);
    for (const Life& life : plan_.life)
      buffer_end_[life.buffer] = std::max(buffer_end_[life.buffer], life.last);
  }

  void count(const Step& step) {
    for (size_t l = 0; l < counter_.size(); ++l) counter_[l] = trace_.at(step, static_cast<int>(l));
  }

  const TileFamily& family_of(uint32_t life) const {
    return nest_.tiles[static_cast<size_t>(trace_.instance[plan_.life[life].instance].family)];
  }

  Hbm& scratch(uint32_t instance) {
    std::optional<Hbm>& s = scratch_[instance];
    if (!s) {
      const TileFamily& t = nest_.tiles[static_cast<size_t>(trace_.instance[instance].family)];
      Shape shape{t.partitions};
      for (int f : t.free) shape.push_back(f);
      s = core_.hbm_scratch("spill of " + t.name, shape, t.dtype);
    }
    return *s;
  }

  // Memory for lives that begin at this step, and what they begin with.
  void take_tiles(const Step& step) {
    const Statement& s = nest_.statements[step.statement];
    for (size_t k = 0; k < step.operands; ++k) {
      // Inputs first: results may be made in their buffers.
      const size_t o = (k + s.out.size()) % step.operands;
      const uint32_t l = plan_.life_of[step_ * operands_max + o];
      if (tile_[l]) continue;
      const Life& life = plan_.life[l];
      if (life.buffer != l) {
        tile_[l] = tile_of_buffer_.at(life.buffer);
      } else {
        const TileFamily& t = family_of(l);
        tile_[l] = pool_for(l).tile(t.partitions, std::span<const int>(t.free), t.dtype);
        if (!plan_.rotating) tile_of_buffer_[l] = *tile_[l];
      }
      if (life.begin == Life::Begin::restored) {
        core_.dma_load(*tile_[l], scratch(life.instance));
        spilled_.restored += bytes(l);
      } else if (life.begin == Life::Begin::loaded_again) {
        const Step& load = trace_.step[life.load];
        count(load);
        emit_load(nest_.statements[load.statement], *tile_[l]);
      }
    }
  }
  int64_t bytes(uint32_t l) const { return family_of(l).bytes() * family_of(l).partitions; }

  TilePool& pool_for(uint32_t l) {
    const Pool& info = plan_.pool[plan_.pool_of[l]];
    const TileFamily& t = nest_.tiles[static_cast<size_t>(info.family)];
    if (!plan_.rotating && t.memory == Memory::sbuf) {
      Slots& slots = slots_[plan_.pool_of[l]];
      slots.most = std::max(slots.most, ++slots.alive);
      if (slots.free.empty() ||
          slots.open < std::min(slots.most, info.later_at(step_)) + info.buffers - info.needed) {
        slot_of_[l] = static_cast<uint32_t>(slots.pool.size());
        slots.pool.emplace_back(core_.sbuf_pool(t.name, 1));
        ++slots.open;
      } else {
        slot_of_[l] = slots.free.front();
        slots.free.pop_front();
      }
      return *slots.pool[slot_of_[l]];
    }
    std::optional<TilePool>& pool = pool_[plan_.pool_of[l]];
    if (!pool) {
      const int buffers = static_cast<int>(std::max(1u, info.buffers));
      pool.emplace(t.memory == Memory::sbuf ? core_.sbuf_pool(t.name, buffers)
                                            : core_.psum_pool(t.name, buffers));
    }
    return *pool;
  }

  // What ended with this step: saved if it comes back, and its memory given up.
  void release() {
    // All are saved first: a result may lie in the buffer of another that ends here.
    size_t end = ended_;
    for (; end < ends_.size() && plan_.life[ends_[end]].last <= step_; ++end) {
      const uint32_t l = ends_[end];
      if (!plan_.life[l].save) continue;
      core_.dma_store(scratch(plan_.life[l].instance), *tile_[l]);
      spilled_.saved += bytes(l);
    }
    for (; ended_ < end; ++ended_) {
      const uint32_t buffer = plan_.life[ends_[ended_]].buffer;
      if (!plan_.rotating && family_of(buffer).memory == Memory::sbuf && buffer_end_[buffer] <= step_ &&
          tile_of_buffer_.erase(buffer) > 0)
        give_back(plan_.pool_of[buffer], slot_of_[buffer]);
    }
    for (size_t p = 0; p < pool_.size(); ++p)
      if (pool_[p] && plan_.pool[p].last <= step_) pool_[p].reset();
  }

  void give_back(uint32_t pool, uint32_t slot) {
    Slots& slots = slots_[pool];
    --slots.alive;
    const Pool& info = plan_.pool[pool];
    if (slots.open > std::max(slots.alive, info.later_at(step_ + 1)) + info.buffers - info.needed) {
      slots.pool[slot].reset();
      --slots.open;
    } else {
      slots.free.push_back(slot);
    }
  }

  int64_t limited(int64_t count, bool masked, const Statement& s) const {
    return masked ? std::min(count, s.limit.at(counter_)) : count;
  }

  Tile box(Tile t, const Operand& o, const Statement& s) const {
    for (size_t d = o.box.size(); d-- > 1;) {
      const Range& r = o.box[d];
      const auto axis = static_cast<int>(d - 1);
      const bool masked = s.mask_columns && d + 1 == o.box.size();
      const auto begin = static_cast<int>(r.begin.at(counter_));
      if (r.kind == Range::Kind::index)
        t = t.at(axis, begin);
      else if (r.kind == Range::Kind::part)
        t = t.slice(axis, begin, static_cast<int>(limited(r.count, masked, s)));
      else if (masked && limited(t.size(axis), true, s) < t.size(axis))
        t = t.slice(axis, 0, static_cast<int>(limited(t.size(axis), true, s)));
    }
    if (o.box.empty() && s.mask_columns && limited(t.size(-1), true, s) < t.size(-1))
      t = t.cols(0, static_cast<int>(limited(t.size(-1), true, s)));
    int64_t first = 0, rows = t.partitions();
    if (!o.box.empty() && o.box[0].kind == Range::Kind::part)
      first = o.box[0].begin.at(counter_), rows = o.box[0].count;
    rows = limited(rows, s.mask_rows, s);
    if (first != 0 || rows != t.partitions()) t = t.rows(static_cast<int>(first), static_cast<int>(rows));
    return t;
  }

  Hbm region(const Operand& o, const Statement& s) const {
    Hbm h = hbm_[static_cast<size_t>(o.object)];
    size_t row = 0;  // the dimension along the partitions
    while (row < o.box.size() && o.box[row].kind == Range::Kind::index) ++row;
    for (size_t d = o.box.size(); d-- > 0;) {
      const Range& r = o.box[d];
      const auto axis = static_cast<int>(d);
      const bool masked = (s.mask_columns && d + 1 == o.box.size()) || (s.mask_rows && d == row);
      const int64_t begin = r.begin.at(counter_);
      if (r.kind == Range::Kind::index)
        h = h.at(axis, begin);
      else if (r.kind == Range::Kind::part)
        h = h.slice(axis, begin, limited(r.count, masked, s));
    }
    return h;
  }

  void emit_load(const Statement& s, const Tile& whole) {
    core_.dma_load(box(whole, s.out[0], s), region(s.region, s));
  }

  Tile tile(const Statement& s, size_t o) const {
    const Operand& operand = o < s.out.size() ? s.out[o] : s.in[o - s.out.size()];
    return box(*tile_[plan_.life_of[step_ * operands_max + o]], operand, s);
  }
  Scalar scalar(const Statement& s, const Factor& f) const {
    if (f.operand < 0) return f.number;
    return tile(s, s.out.size() + static_cast<size_t>(f.operand));
  }

  void emit(const Step& step, const Statement& s) {
    const Engine engine = engine_for(nest_, s);
    const auto out = [&](size_t o = 0) { return tile(s, o); };
    const auto in = [&](size_t o = 0) { return tile(s, s.out.size() + o); };
    switch (s.verb) {
      case Verb::load:
        return emit_load(s, *tile_[plan_.life_of[step_ * operands_max]]);
      case Verb::store:
        return core_.dma_store(region(s.region, s), in());
      case Verb::multiply: {
        Accumulate group;
        for (int loop : s.over) {
          const int c = counter_[static_cast<size_t>(loop)];
          group.start = group.start && c == 0;
          group.stop = group.stop && c + 1 == nest_.loops[static_cast<size_t>(loop)].count;
        }
        MatmulOptions matmul;
        matmul.stationary_onezero = s.one_zero;
        return core_.nc_matmul(out(), in(0), in(1), group, matmul);
      }
      case Verb::transpose:
        return core_.nc_transpose(out(), in(), engine);
      case Verb::copy:
        return core_.tensor_copy(out(), in(), engine);
      case Verb::activation:
        return core_.activation(out(), s.function, in(), scalar(s, s.first), scalar(s, s.second), 0.0f,
                                engine);
      case Verb::activation_reduce:
        return core_.activation_reduce(out(), out(1), s.function, in(), scalar(s, s.first),
                                       scalar(s, s.second));
      case Verb::tensor_scalar:
        if (engine == Engine::act) {
          const bool times = s.op0 == AluOp::multiply;
          const Scalar factor = scalar(s, s.first);
          return core_.activation(out(), Function::identity, in(), times ? factor : Scalar(1.0),
                                  times ? Scalar(0.0) : factor);
        }
        return core_.tensor_scalar(out(), in(), {s.op0, scalar(s, s.first)},
                                   s.op1 == AluOp::bypass ? AluStep{} : AluStep{s.op1, scalar(s, s.second)},
                                   engine);
      case Verb::tensor_tensor:
        return core_.tensor_tensor(out(), in(0), s.op0, in(1), engine);
      case Verb::scalar_tensor_tensor:
        return core_.scalar_tensor_tensor(out(), in(0), {s.op0, scalar(s, s.first)}, s.op1, in(1));
      case Verb::reduce:
        return core_.tensor_reduce(out(), s.op0, in(), s.axes, engine);
      case Verb::loop_reduce:
        if (accumulates(s, trace_, step)) return core_.tensor_tensor(out(), out(), s.op0, in(), engine);
        return core_.tensor_copy(out(), in(), engine);
      case Verb::scan:
        return core_.tensor_tensor_scan(out(), in(0), in(1), 0.0, s.op0, s.op1);
      case Verb::reciprocal:
        return core_.reciprocal(out(), in(), engine);
      case Verb::memset:
        return core_.memset(out(), static_cast<float>(s.first.number), engine);
      case Verb::iota:
        return core_.iota(out(), s.pattern);
      case Verb::affine_select:
        return core_.affine_select(out(), in(), s.pattern, s.op0, static_cast<float>(s.first.number));
    }
  }

  NeuronCore& core_;
  const Nest& nest_;
  const Trace& trace_;
  const Plan& plan_;
  std::vector<Hbm> hbm_;
  std::vector<std::optional<Tile>> tile_;  // by life
  std::unordered_map<uint32_t, Tile> tile_of_buffer_;
  // When tiles share slots: pools of one buffer, and those that are free, the one that is so for longest
  // first.
  struct Slots {
    std::deque<std::optional<TilePool>> pool;
    std::deque<uint32_t> free;
    uint32_t open = 0, alive = 0, most = 0;
  };
  std::deque<Slots> slots_;        // by pool
  std::vector<uint32_t> slot_of_;  // by life
  std::vector<std::optional<TilePool>> pool_;
  std::vector<std::optional<Hbm>> scratch_;  // by instance
  std::vector<int> counter_;
  std::vector<uint32_t> ends_, buffer_end_;
  size_t ended_ = 0;
  uint32_t step_ = 0;
  Spilled spilled_;
};

}  // namespace

Spilled emit(NeuronCore& core, const Nest& nest, const Trace& trace, const Plan& plan) {
  return Emitter(core, nest, trace, plan).run();
}

}  // namespace heddle::systolic::replay
