// A loop nest written out: every statement of every iteration, in order, with the tiles it touches.
//
// An instance is one tile of a family: x[3, 1]. `value` stands for what an instance holds in the end: two
// instances with equal values were made by the same statements from the same values and HBM regions, so one
// can stand for the other.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "systolic/replay/nest.h"

namespace heddle::systolic::replay {

inline constexpr uint32_t nothing = 0xffffffffu;

// Out first, then in, as in the statement.
inline constexpr size_t operands_max = 6;

struct Step {
  uint32_t statement = 0;
  uint32_t counters = 0;  // Trace::counter[counters ...]: of every loop of the nest
  std::array<uint32_t, operands_max> instance{};
  uint8_t operands = 0;
  bool active = true;  // false: the policy found that nothing needs it
};

struct Instance {
  int family = 0;
  uint64_t value = 0;
  uint32_t first_step = nothing, last_write = nothing, first_read = nothing;
  uint32_t writes = 0;
  bool read_while_written = false;  // an accumulator: it is read before it is complete
};

struct Trace {
  std::vector<Step> step;
  std::vector<Instance> instance;
  std::vector<uint16_t> counter;  // of the loops, in declaration order; 0 outside
  // Of fact f at step s: epoch[s * facts + f] changes where the fact's loop goes on to another iteration.
  std::vector<uint64_t> epoch;

  int at(const Step& s, int loop) const { return counter[s.counters + static_cast<size_t>(loop)]; }
};

// Throws Error (invalid_argument) for a tile index out of range and (unsupported) for a nest of too many
// steps.
Trace write_out(const Nest& nest);

// Whether the statement adds to what its output holds.
bool accumulates(const Statement& s, const Trace& trace, const Step& step);

}  // namespace heddle::systolic::replay
