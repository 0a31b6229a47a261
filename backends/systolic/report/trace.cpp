#include "systolic/report/trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
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
  std::string finish() { return text_ + "\n]\n"; }

 private:
  void begin() { text_ += text_.empty() ? "[\n" : ",\n"; }
  std::string text_;
};

std::string arguments_of(const Stream& stream, const Instruction& i, const Record& r) {
  return "\"line\":" + quoted(place(i.where)) + ",\"scope\":" + quoted(stream.scopes[i.scope]) +
         ",\"waited_for\":\"" + cause_name(r.cause) + "\"";
}

}  // namespace

std::string trace_json(const Stream& stream, const Timing& timing) {
  Writer writer;
  for (int q = 0; q < engine_count; ++q)
    writer.track(q + 1, std::string(engine_name(static_cast<Engine>(q))) + " engine (simulated)");
  for (uint32_t i = 0; i < timing.record.size(); ++i) {
    const Instruction& instruction = stream.instructions[i];
    const Record& r = timing.record[i];
    // Events of a track may not overlap: an engine shows its issue intervals.
    writer.event(static_cast<int>(instruction.engine) + 1, opcode_mnemonic(instruction.opcode), r.start,
                 std::max(r.issued, r.start), arguments_of(stream, instruction, r));
  }
  // Transfers overlap: each takes the first queue of its trigger that is free.
  std::vector<std::vector<int64_t>> free(engine_count);
  std::vector<const Transfer*> sorted;
  for (const Transfer& t : timing.transfer) sorted.push_back(&t);
  std::sort(sorted.begin(), sorted.end(),
            [](const Transfer* a, const Transfer* b) { return a->begin < b->begin; });
  for (const Transfer* t : sorted) {
    const Instruction& instruction = stream.instructions[t->instruction];
    const auto trigger = static_cast<size_t>(instruction.engine);
    auto& queues = free[trigger];
    size_t queue = 0;
    while (queue < queues.size() && queues[queue] > t->begin) ++queue;
    const int id = 100 * static_cast<int>(trigger + 1) + static_cast<int>(queue);
    if (queue == queues.size()) {
      queues.push_back(0);
      writer.track(id,
                   std::string("dma queue ") + engine_name(instruction.engine) + " " + std::to_string(queue));
    }
    queues[queue] = t->end;
    writer.event(id, opcode_mnemonic(instruction.opcode), t->begin, t->end,
                 arguments_of(stream, instruction, timing.record[t->instruction]));
  }
  return writer.finish();
}

}  // namespace heddle::systolic
