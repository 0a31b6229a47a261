#include "systolic/report/trace.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "systolic/isa/refusal.h"

namespace heddle::systolic {
namespace {

double microseconds(int64_t picoseconds) { return static_cast<double>(picoseconds) * 1e-6; }

// Escapes and quotes.
std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// Events are written by hand: a trace may have millions, and a JSON tree of them would not fit in memory.
class Writer {
 public:
  void track(int id, const std::string& name) {
    begin();
    text_ += "{\"ph\":\"M\",\"pid\":1,\"tid\":" + std::to_string(id) +
             ",\"name\":\"thread_name\",\"args\":{\"name\":" + quoted(name) + "}}";
  }
  void event(int track, const std::string& name, int64_t start, int64_t end, const std::string& arguments) {
    begin();
    char times[96];
    std::snprintf(times, sizeof times, "\"ts\":%.6f,\"dur\":%.6f", microseconds(start),
                  microseconds(end - start));
    text_ += "{\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(track) + ",\"name\":" + quoted(name) + "," +
             times + ",\"args\":{" + arguments + "}}";
  }
  // An arrow from within one event to the start of another.
  void arrow(uint32_t id, const char* why, int from_track, int64_t from, int to_track, int64_t to) {
    flow("s", id, why, from_track, from, "");
    flow("f", id, why, to_track, to, ",\"bp\":\"e\"");
  }
  std::string finish() { return text_.empty() ? "[]\n" : text_ + "\n]\n"; }

 private:
  void flow(const char* phase, uint32_t id, const char* why, int track, int64_t time, const char* more) {
    begin();
    char text[192];
    std::snprintf(text, sizeof text,
                  "{\"ph\":\"%s\",\"cat\":\"dependency\",\"name\":\"%s\",\"id\":%u,\"pid\":1,\"tid\":%d,"
                  "\"ts\":%.6f%s}",
                  phase, why, id, track, microseconds(time), more);
    text_ += text;
  }
  void begin() { text_ += text_.empty() ? "[\n" : ",\n"; }
  std::string text_;
};

// Where an instruction is drawn: its engine's track, and for its bytes a DMA queue's.
struct Place {
  int track = 0;
  int64_t begin = 0, end = 0;
};

class TraceMaker {
 public:
  TraceMaker(const Stream& stream, const Timing& timing)
      : stream_(stream), timing_(timing), bytes_(timing.record.size()), wait_(timing.record.size(), 0) {}

  std::string make() {
    find_waits();
    for (int q = 0; q < engine_count; ++q)
      writer_.track(q + 1, std::string(engine_name(static_cast<Engine>(q))) + " engine (simulated)");
    for (uint32_t i = 0; i < timing_.record.size(); ++i) {
      const Place at = issue(i);
      writer_.event(at.track, opcode_mnemonic(stream_.instructions[i].opcode), at.begin, at.end,
                    arguments(i));
    }
    draw_transfers();
    for (uint32_t i = 0; i < timing_.record.size(); ++i) draw_arrow(i);
    return writer_.finish();
  }

 private:
  // Events of a track may not overlap: an engine shows its issue intervals.
  Place issue(uint32_t i) const {
    const Record& r = timing_.record[i];
    return {static_cast<int>(stream_.instructions[i].engine) + 1, r.start, std::max(r.issued, r.start)};
  }

  // How long each queue stood still before an instruction.
  void find_waits() {
    std::vector<uint32_t> order(timing_.record.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return timing_.record[a].start < timing_.record[b].start;
    });
    std::array<int64_t, engine_count> reach{};
    for (const uint32_t i : order) {
      int64_t& end = reach[static_cast<size_t>(stream_.instructions[i].engine)];
      wait_[i] = std::max<int64_t>(0, timing_.record[i].start - end);
      end = std::max(end, timing_.record[i].issued);
    }
  }

  std::string arguments(uint32_t i) const {
    const Instruction& instruction = stream_.instructions[i];
    const Record& r = timing_.record[i];
    char waits[96];
    std::snprintf(waits, sizeof waits, ",\"%s\":%.3f",
                  r.cause == Cause::dma ? "dma_wait_time_ns" : "evt_wait_time_ns",
                  static_cast<double>(wait_[i]) * 1e-3);
    return "\"line\":" + quoted(place(instruction.where)) +
           ",\"scope\":" + quoted(stream_.scopes[instruction.scope]) + ",\"waited_for\":\"" +
           cause_name(r.cause) + "\"" + waits;
  }

  // Transfers overlap: each takes the first queue of its trigger that is free.
  void draw_transfers() {
    std::vector<std::vector<int64_t>> free(engine_count);
    std::vector<const Transfer*> sorted;
    for (const Transfer& t : timing_.transfer) sorted.push_back(&t);
    std::sort(sorted.begin(), sorted.end(),
              [](const Transfer* a, const Transfer* b) { return a->begin < b->begin; });
    for (const Transfer* t : sorted) {
      const Instruction& instruction = stream_.instructions[t->instruction];
      const auto trigger = static_cast<size_t>(instruction.engine);
      auto& queues = free[trigger];
      size_t queue = 0;
      while (queue < queues.size() && queues[queue] > t->begin) ++queue;
      const int id = 100 * static_cast<int>(trigger + 1) + static_cast<int>(queue);
      if (queue == queues.size()) {
        queues.push_back(0);
        writer_.track(
            id, std::string("dma queue ") + engine_name(instruction.engine) + " " + std::to_string(queue));
      }
      queues[queue] = t->end;
      bytes_[t->instruction] = {id, t->begin, t->end};
      writer_.event(id, opcode_mnemonic(instruction.opcode), t->begin, t->end, arguments(t->instruction));
    }
  }

  // From what held an instruction back, when that is elsewhere; and from a trigger to its transfer.
  void draw_arrow(uint32_t i) {
    const Record& r = timing_.record[i];
    if (bytes_[i].track != 0) {
      const Place trigger = issue(i);
      writer_.arrow(2 * i, "trigger", trigger.track, trigger.begin, bytes_[i].track, bytes_[i].begin);
    }
    if (r.binding == none || r.cause == Cause::queue || r.cause == Cause::launch) return;
    const Place from = bytes_[r.binding].track != 0 ? bytes_[r.binding] : issue(r.binding);
    const Place to = issue(i);
    if (from.track == to.track) return;
    writer_.arrow(2 * i + 1, cause_name(r.cause), from.track, from.begin, to.track, to.begin);
  }

  const Stream& stream_;
  const Timing& timing_;
  Writer writer_;
  std::vector<Place> bytes_;   // per instruction; track 0: it moves none
  std::vector<int64_t> wait_;  // ps, per instruction
};

}  // namespace

std::string trace_json(const Stream& stream, const Timing& timing) {
  return TraceMaker(stream, timing).make();
}

}  // namespace heddle::systolic
