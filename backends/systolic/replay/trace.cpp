#include "systolic/replay/trace.h"

#include <algorithm>
#include <unordered_map>

#include "heddle/error.h"

namespace heddle::systolic::replay {
namespace {

constexpr size_t steps_max = 20'000'000;
constexpr int64_t index_max = 4096;  // five indices of twelve bits make a key

uint64_t mixed(uint64_t h, uint64_t x) {
  h ^= x + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
  h ^= h >> 31;
  h *= 0xbf58476d1ce4e5b9ull;
  return h ^ (h >> 29);
}

class Writer {
 public:
  explicit Writer(const Nest& nest)
      : nest_(nest),
        counter_(nest.loops.size(), 0),
        iteration_(nest.loops.size(), 0),
        runs_(nest.loops.size(), 0),
        instance_of_(nest.tiles.size()) {}

  Trace run() {
    walk(nest_.body);
    return std::move(trace_);
  }

 private:
  void walk(const std::vector<Node>& nodes) {
    for (const Node& node : nodes) {
      if (node.loop < 0) {
        take(static_cast<uint32_t>(node.statement));
        continue;
      }
      int& counter = counter_[static_cast<size_t>(node.loop)];
      for (counter = 0; counter < nest_.loops[static_cast<size_t>(node.loop)].count; ++counter) {
        ++iteration_[static_cast<size_t>(node.loop)];
        walk(node.body);
      }
      counter = 0;
      ++runs_[static_cast<size_t>(node.loop)];
    }
  }

  uint32_t instance(const Operand& o, const Statement& s) {
    const int each = nest_.tiles[static_cast<size_t>(o.object)].each;
    uint64_t key = each < 0 ? 1 : iteration_[static_cast<size_t>(each)];
    for (const Affine& a : o.instance) {
      const int64_t index = a.at(counter_);
      if (index < 0 || index >= index_max)
        throw Error(ErrorCode::invalid_argument, "at " + s.place + ": index " + std::to_string(index) +
                                                     " of tile '" +
                                                     nest_.tiles[static_cast<size_t>(o.object)].name +
                                                     "' is not in 0 to " + std::to_string(index_max - 1));
      key = key * index_max + static_cast<uint64_t>(index);
    }
    const auto [at, made] = instance_of_[static_cast<size_t>(o.object)].try_emplace(
        key, static_cast<uint32_t>(trace_.instance.size()));
    if (made) {
      trace_.instance.emplace_back();
      trace_.instance.back().family = o.object;
    }
    return at->second;
  }

  uint64_t box_value(uint64_t h, const Operand& o) const {
    for (const Range& r : o.box)
      h = mixed(h, r.kind == Range::Kind::all ? 0x5bd1 : static_cast<uint64_t>(r.begin.at(counter_) * 2 + 1));
    return h;
  }

  void take(uint32_t index) {
    const Statement& s = nest_.statements[index];
    if ((s.mask_rows || s.mask_columns) && s.limit.at(counter_) <= 0) return;
    if (trace_.step.size() == steps_max)
      throw Error(ErrorCode::unsupported, "the nest '" + nest_.name + "' has more than " +
                                              std::to_string(steps_max) + " steps; replay fewer iterations");
    const auto number = static_cast<uint32_t>(trace_.step.size());
    Step step;
    step.statement = index;
    step.counters = static_cast<uint32_t>(trace_.counter.size());
    for (int c : counter_) trace_.counter.push_back(static_cast<uint16_t>(c));
    for (const auto* list : {&s.out, &s.in})
      for (const Operand& o : *list) step.instance[step.operands++] = instance(o, s);

    // What the outputs hold now: the statement, where it works, and the values of what it reads.
    uint64_t made = mixed(0x1234567, index);
    if (s.hbm >= 0) made = box_value(mixed(made, static_cast<uint64_t>(s.hbm)), s.region);
    if (s.mask_rows || s.mask_columns) made = mixed(made, static_cast<uint64_t>(s.limit.at(counter_)));
    for (size_t i = 0; i < s.in.size(); ++i) {
      Instance& read = trace_.instance[step.instance[s.out.size() + i]];
      made = box_value(mixed(made, read.value), s.in[i]);
      if (read.first_read == nothing) read.first_read = number;
    }
    for (size_t i = 0; i < s.out.size(); ++i) {
      Instance& out = trace_.instance[step.instance[i]];
      if (out.first_step == nothing) out.first_step = number;
      // A later write after a read, or one that reads what it writes, makes an accumulator.
      if (out.first_read != nothing) out.read_while_written = true;
      if (i == 0 && accumulates(s, trace_, step)) out.read_while_written |= s.verb == Verb::loop_reduce;
      out.value = box_value(mixed(mixed(out.value, made), i), s.out[i]);
      out.last_write = number;
      ++out.writes;
    }
    for (const Fact& f : nest_.facts) trace_.epoch.push_back(epoch(f, s));
    trace_.step.push_back(step);
  }

  // Within the fact's loop the iteration, outside it a value of its own (or, where the tile stays, the last
  // iteration).
  uint64_t epoch(const Fact& f, const Statement& s) const {
    uint64_t e = 0;
    for (int loop : f.loops) {
      const auto l = static_cast<size_t>(loop);
      const bool inside = std::find(s.around.begin(), s.around.end(), loop) != s.around.end();
      e = mixed(e, inside || f.stays_after ? 2 * iteration_[l] : 2 * runs_[l] + 1);
    }
    return e;
  }

  const Nest& nest_;
  std::vector<int> counter_;
  std::vector<uint64_t> iteration_, runs_;  // by loop: bodies begun, loops completed
  std::vector<std::unordered_map<uint64_t, uint32_t>> instance_of_;
  Trace trace_;
};

}  // namespace

Trace write_out(const Nest& nest) { return Writer(nest).run(); }

bool accumulates(const Statement& s, const Trace& trace, const Step& step) {
  if (s.verb != Verb::multiply && s.verb != Verb::loop_reduce) return false;
  for (int loop : s.over)
    if (trace.at(step, loop) != 0) return true;
  return false;
}

}  // namespace heddle::systolic::replay
