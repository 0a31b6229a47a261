// When every instruction of a program ran, and what it waited for: the result of the timeline.
//
// Time is in integer picoseconds of the simulated device. Each instruction remembers what it waited for
// longest, so every gap of an engine has a cause and the shares of an engine add up to the total.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

// What held an instruction back last: its start is exactly the time this allowed.
enum class Cause : uint8_t {
  launch,   // nothing: it starts with the program
  queue,    // the issue interval of the instruction before it in its queue
  engine,   // the result (or the last read of a buffer) of an instruction on another engine, or on its own
  dma,      // a DMA: data that arrives, or a buffer that is still being read
  port,     // a memory port that another engine holds
  weights,  // loading the stationary operand, not hidden behind the previous multiply
  table,    // loading a table of the scalar engine
};
inline constexpr size_t cause_count = static_cast<size_t>(Cause::table) + 1;
const char* cause_name(Cause cause);

struct Record {
  int64_t start = 0;        // ps; of a DMA: of its trigger
  int64_t issued = 0;       // ps: the next instruction of the queue may start
  int64_t end = 0;          // ps: results may be used
  uint32_t binding = none;  // the instruction that held this one back, if one did
  Cause cause = Cause::launch;
};

struct QueueTiming {
  int64_t busy = 0;  // ps: some instruction is between start and end (DMA triggers: between start and issue)
  int64_t waiting_dma = 0;  // gaps, by what the instruction after the gap waited for
  int64_t waiting_engine = 0;
  int64_t idle = 0;              // after the last instruction
  int64_t instruction_time = 0;  // sum of (end - start), overlaps counted twice
  int64_t interval_time = 0;     // sum of issue intervals
  int64_t instructions = 0;
};

struct DmaTiming {
  int64_t active = 0;       // ps: at least one DMA engine moves bytes
  int64_t packet_time = 0;  // sum over the engines of the time they move bytes
  int64_t transfers = 0, descriptors = 0;
  int64_t read_bytes = 0, write_bytes = 0;  // of HBM
  int64_t total_bytes = 0;
};

// One transfer: its bytes move between begin and end; the instruction's Record ends dma.done_ns later.
struct Transfer {
  uint32_t instruction;
  int64_t begin, end;  // ps
};

struct Timing {
  int64_t total = 0;  // ps, from the first start to the last end
  Column column = Column::calibrated;
  std::array<QueueTiming, engine_count> queue;
  DmaTiming dma;
  std::vector<Record> record;  // per instruction of the stream
  std::vector<Transfer> transfer;
  bool bound = false;  // some DMA depends on data; it was timed by its static bound

  double seconds() const { return static_cast<double>(total) * 1e-12; }
  // Share of the time in which the engine works on some instruction, 0 to 1.
  double active(Engine engine) const {
    return total > 0
               ? static_cast<double>(queue[static_cast<size_t>(engine)].busy) / static_cast<double>(total)
               : 0;
  }
  int64_t hbm_bytes() const { return dma.read_bytes + dma.write_bytes; }
};

// The chain of instructions that bounds the run: from the last to end, what each one waited for, back to the
// start.
std::vector<uint32_t> critical_path(const Timing& timing);

}  // namespace heddle::systolic
