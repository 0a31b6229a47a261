#include "systolic/machine/timeline.h"

#include <algorithm>
#include <cmath>

#include "heddle/error.h"
#include "systolic/isa/large_vector.h"
#include "systolic/machine/dma.h"

namespace heddle::systolic {

const char* cause_name(Cause cause) {
  constexpr std::array<const char*, 7> names = {"launch", "queue",   "engine", "dma",
                                                "port",   "weights", "table"};
  return names[static_cast<size_t>(cause)];
}

namespace {

constexpr int64_t untimed = -1;

// A queue: its instructions in order, how far it is, and when the next may issue.
struct Queue {
  std::vector<uint32_t> instruction;
  size_t next = 0;
  int64_t free = 0;      // the issue interval of the last one has passed
  uint32_t last = none;  // the last one issued
  int64_t last_start = 0;
  int64_t reach = 0;  // everything issued so far has ended

  // The head, as far as it is known.
  bool ready = false;       // its producers are timed
  uint32_t blocked = none;  // a producer that is not
  int64_t start = 0;        // without ports
  int64_t load_time = 0;    // ACT: table load within the gap before the start
  Cause cause = Cause::launch;
  uint32_t binding = none;
  const CostKind* kind = nullptr;
  bool psum_port = false, sbuf_port = false;  // it takes

  bool empty() const { return next == instruction.size(); }
  uint32_t head() const { return instruction[next]; }
};

class Machine {
 public:
  Machine(const Stream& stream, const Dependencies& dependencies, std::span<const uint32_t> order,
          const CostModel& cost)
      : stream_(stream),
        dependencies_(dependencies),
        cost_(cost),
        device_(*stream.device),
        dma_(device_.dma) {
    timing_.column = cost.column();
    Record record;
    record.end = untimed;
    reserve_large(timing_.record, stream.instructions.size());
    timing_.record.assign(stream.instructions.size(), record);
    std::array<size_t, engine_count> count{};
    size_t transfers = 0;
    for (uint32_t i : order) {
      ++count[static_cast<size_t>(cost.kind(i).engine)];
      transfers += cost.kind(i).asynchronous;
    }
    for (size_t q = 0; q < count.size(); ++q) queue_[q].instruction.reserve(count[q]);
    for (uint32_t i : order) queue_[static_cast<size_t>(cost.kind(i).engine)].instruction.push_back(i);
    timing_.transfer.reserve(transfers);
    hop_ = cost.hop();
    ramp_ = static_cast<int64_t>(std::llround(device_.throttle.ramp_us * 1e6));
    window_ = static_cast<int64_t>(std::llround(device_.throttle.window_us * 1e6));
  }

  Timing run() {
    for (size_t left = timing_.record.size(); left > 0; --left) {
      size_t best = queue_.size();
      int64_t start = 0;
      Cause cause = Cause::launch;
      uint32_t binding = none;
      for (size_t q = 0; q < queue_.size(); ++q) {
        if (!refresh(q)) continue;
        int64_t at = queue_[q].start;
        Cause why = queue_[q].cause;
        uint32_t by = queue_[q].binding;
        if (queue_[q].psum_port) wait_for_port(psum_port_, queue_[q], at, why, by);
        if (queue_[q].sbuf_port) wait_for_port(sbuf_port_, queue_[q], at, why, by);
        if (best == queue_.size() || at < start) best = q, start = at, cause = why, binding = by;
      }
      if (best == queue_.size()) deadlock();
      issue(best, start, cause, binding);
    }
    finish();
    return std::move(timing_);
  }

 private:
  // Computes when the head of a queue may start, as soon as all its producers are timed.
  bool refresh(size_t q) {
    Queue& queue = queue_[q];
    if (queue.empty()) return false;
    if (queue.ready) return true;
    if (queue.blocked != none && timing_.record[queue.blocked].end == untimed) return false;
    const uint32_t index = queue.head();
    const CostKind& kind = cost_.kind(index);
    int64_t start = queue.free, weights = 0;
    if (kind.engine == Engine::pe && array_in_parts_) start = std::max(start, array_free(kind.cost.part));
    Cause cause = queue.last == none ? Cause::launch : Cause::queue;
    uint32_t binding = queue.last, weights_from = none;
    for (const Edge& e : dependencies_.of(index)) {
      const Record& producer = timing_.record[e.producer];
      if (producer.end == untimed) {
        queue.blocked = e.producer;
        return false;
      }
      const CostKind& p = cost_.kind(e.producer);
      const bool same = p.engine == kind.engine && !p.asynchronous;
      if (e.kind == Dependence::pinned || e.kind == Dependence::accumulate) continue;
      // An engine works in order: it cannot overwrite what its own earlier instructions still read.
      if (e.kind == Dependence::order && same && !kind.asynchronous) continue;
      const int64_t at = producer.end + (same || p.asynchronous ? 0 : hop_);
      if (e.kind == Dependence::weights) {
        if (at > weights) weights = at, weights_from = e.producer;
      } else if (at > start) {
        start = at, cause = p.asynchronous ? Cause::dma : Cause::engine, binding = e.producer;
      }
    }
    queue.blocked = none;
    queue.load_time = 0;
    if (kind.matmul) wait_for_weights(index, queue, weights, weights_from, start, cause, binding);
    if (kind.table >= 0 && kind.table != table_) {
      // The load is an instruction of its own in front of this one; it may run while operands are awaited.
      const int64_t loaded = queue.free + cost_.table_load();
      queue.load_time = cost_.table_load();
      if (loaded > start) start = loaded, cause = Cause::table, binding = queue.last;
    }
    queue.start = start, queue.cause = cause, queue.binding = binding;
    queue.kind = &kind;
    // Pairs of engines exclude each other from a memory.
    const bool dve = kind.engine == Engine::dve, engines = !kind.asynchronous;
    queue.psum_port =
        kind.in_psum && engines && device_.ports.psum_dve_act && (dve || kind.engine == Engine::act);
    queue.sbuf_port =
        kind.in_sbuf && engines && device_.ports.sbuf_dve_gpsimd && (dve || kind.engine == Engine::gpsimd);
    queue.ready = true;
    return true;
  }

  // The stationary operand is loaded behind the running multiply, once that has started; the same one stays
  // loaded.
  void wait_for_weights(uint32_t index, const Queue& queue, int64_t weights, uint32_t from, int64_t& start,
                        Cause& cause, uint32_t& binding) {
    if (loaded_ == cost_.stationary(index)) return;
    const bool by_operand = weights > queue.last_start;
    const int64_t at =
        std::max(weights, queue.last == none ? 0 : queue.last_start) + cost_.kind(index).cost.load;
    if (at <= start) return;
    start = at;
    cause = Cause::weights, binding = queue.last;
    if (by_operand && from != none) {
      cause = cost_.kind(from).asynchronous ? Cause::dma : Cause::engine;
      binding = from;
    }
  }

  struct Port {
    int64_t free = 0;
    uint32_t holder = none;
  };
  void wait_for_port(const Port& port, const Queue& queue, int64_t& at, Cause& cause, uint32_t& binding) {
    if (port.free > at && port.holder != queue.last)
      at = port.free, cause = Cause::port, binding = port.holder;
  }

  // Small products hold a part of the array each; everything else holds all of it.
  int64_t array_free(uint16_t part) const {
    int64_t at = 0;
    for (size_t b = 0; b < array_free_.size(); ++b)
      if (part == 0 || (part >> b & 1) != 0) at = std::max(at, array_free_[b]);
    return at;
  }
  void take_array(const Cost& c, Record& record) {
    if (c.part == 0 && !array_in_parts_) return;
    if (!array_in_parts_) array_free_.fill(record.start), array_in_parts_ = true;
    for (size_t b = 0; b < array_free_.size(); ++b)
      if (c.part == 0 || (c.part >> b & 1) != 0) array_free_[b] = record.issued;
    if (c.part != 0) record.issued = record.start + c.issue;
  }

  // How much slower the tensor engine runs at `at`, after it idled or worked less than half of a window.
  double throttle(int64_t at, int64_t idle_since) {
    if (!device_.throttle.enabled || ramp_ == 0) return 1;
    // Windows follow each other: a new one begins with the first multiply after the last one's time.
    const bool idled = at - idle_since > window_;
    const bool over = at - window_begin_ >= window_;
    const bool rested = over && 2 * worked_ < at - window_begin_;
    if (over) window_begin_ = at, worked_ = 0;
    if (idled || rested || !ramping_) ramp_start_ = at, ramping_ = true;
    const double progress = std::min(1.0, static_cast<double>(at - ramp_start_) / static_cast<double>(ramp_));
    return 1 / (device_.throttle.start_rate + (1 - device_.throttle.start_rate) * progress);
  }

  void issue(size_t q, int64_t start, Cause cause, uint32_t binding) {
    Queue& queue = queue_[q];
    const uint32_t index = queue.head();
    const CostKind& kind = *queue.kind;
    Record& record = timing_.record[index];
    Cost c = kind.cost;
    QueueTiming& shares = timing_.queue[q];
    if (kind.engine == Engine::pe) {
      const double slow = cost_.column() == Column::calibrated ? throttle(start, queue.reach) : 1;
      if (slow != 1) {
        c.interval = std::llround(static_cast<double>(c.interval) * slow);
        c.latency = std::llround(static_cast<double>(c.latency) * slow);
      }
      worked_ += c.interval;
      if (kind.matmul) loaded_ = cost_.stationary(index);
      if (kind.transpose) loaded_ = none;
    }
    if (queue.psum_port) psum_port_ = {start + c.work, index};
    if (queue.sbuf_port) sbuf_port_ = {start + c.work, index};
    if (kind.table >= 0) table_ = kind.table;

    record.start = start, record.issued = start + c.interval, record.end = start + c.latency;
    if (kind.engine == Engine::pe) take_array(c, record);
    record.cause = cause, record.binding = binding;
    int64_t occupied = std::max(record.end, record.issued);
    if (kind.asynchronous) {
      const DmaCost& cost = kind.dma;
      const DmaEngines::Span span = dma_.take(cost, record.issued + cost_.dma_start());
      record.end = span.end + cost_.dma_done();
      timing_.transfer.push_back({index, span.begin, span.end});
      timing_.dma.packet_time += span.packet_time;
      ++timing_.dma.transfers;
      timing_.dma.descriptors += cost.descriptors;
      timing_.dma.read_bytes += cost.read_bytes, timing_.dma.write_bytes += cost.write_bytes;
      timing_.dma.total_bytes += cost.bytes;
      timing_.bound = timing_.bound || cost.dynamic;
      occupied = record.issued;
    }

    // The gap before this instruction belongs to what it waited for; the rest to work.
    if (start > queue.reach) {
      const int64_t loading = std::min(queue.load_time, start - queue.reach);
      const int64_t gap = start - queue.reach - loading;
      shares.busy += loading;
      const int64_t by_dma = cause == Cause::dma ? std::min(gap, dma_part(queue.reach, start, binding)) : 0;
      shares.waiting_dma += by_dma, shares.waiting_engine += gap - by_dma;
      queue.reach = start;
    }
    shares.busy += std::max<int64_t>(0, occupied - queue.reach);
    queue.reach = std::max(queue.reach, occupied);
    shares.instruction_time += occupied - start;
    shares.interval_time += record.issued - start;
    ++shares.instructions;
    timing_.total = std::max({timing_.total, record.end, record.issued});

    queue.free = record.issued, queue.last = index, queue.last_start = start;
    ++queue.next;
    queue.ready = false;
    queue.blocked = none;
  }

  // How much of the wait from `begin` to `end` is DMA's: a transfer that itself waited for an engine is to
  // blame only for the time since it was triggered.
  int64_t dma_part(int64_t begin, int64_t end, uint32_t transfer) const {
    int64_t from = end;
    while (transfer != none && from > begin && cost_.kind(transfer).asynchronous) {
      const Record& r = timing_.record[transfer];
      from = std::min(from, std::max(r.start, begin));
      if (r.cause != Cause::dma && r.cause != Cause::queue) break;
      transfer = r.binding;
    }
    return end - from;
  }

  void finish() {
    for (size_t q = 0; q < queue_.size(); ++q) timing_.queue[q].idle = timing_.total - queue_[q].reach;
    std::vector<std::pair<int64_t, int64_t>> spans;
    spans.reserve(timing_.transfer.size());
    for (const Transfer& t : timing_.transfer) spans.emplace_back(t.begin, t.end);
    if (!std::is_sorted(spans.begin(), spans.end())) std::sort(spans.begin(), spans.end());
    int64_t reach = 0;
    for (const auto& [begin, end] : spans) {
      timing_.dma.active += std::max<int64_t>(0, end - std::max(begin, reach));
      reach = std::max(reach, end);
    }
  }

  [[noreturn]] void deadlock() {
    std::string text = "deadlock: no queue can go on;";
    for (const Queue& queue : queue_) {
      if (queue.empty()) continue;
      text += std::string(" ") + describe(stream_, stream_.instructions[queue.head()]) + " waits for " +
              describe(stream_, stream_.instructions[queue.blocked]) + ";";
    }
    throw Error(ErrorCode::device, text + " unpin the order or emit producers first");
  }

  const Stream& stream_;
  const Dependencies& dependencies_;
  const CostModel& cost_;
  const Description& device_;
  DmaEngines dma_;
  Timing timing_;
  std::array<Queue, engine_count> queue_;
  Port psum_port_, sbuf_port_;
  uint32_t loaded_ = none;  // the stationary operand in the array, by its number
  std::array<int64_t, 16> array_free_{};
  bool array_in_parts_ = false;
  int table_ = -1;
  int64_t hop_ = 0, ramp_ = 0, window_ = 0, ramp_start_ = 0;
  int64_t window_begin_ = 0, worked_ = 0;  // of the tensor engine's utilization
  bool ramping_ = false;
};

}  // namespace

Timing run_timeline(const Stream& stream, const Dependencies& dependencies, std::span<const uint32_t> order,
                    const CostModel& cost) {
  return Machine(stream, dependencies, order, cost).run();
}

std::vector<uint32_t> critical_path(const Timing& timing) {
  std::vector<uint32_t> path;
  uint32_t at = none;
  for (uint32_t i = 0; i < timing.record.size(); ++i)
    if (at == none || timing.record[i].end > timing.record[at].end) at = i;
  while (at != none && path.size() <= timing.record.size()) {
    path.push_back(at);
    at = timing.record[at].binding;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace heddle::systolic
