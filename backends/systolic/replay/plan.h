// What is made once, kept, dropped and spilled: from a nest written out to the life of each tile in memory.
//
// The policy, the same for every kernel:
//   1. Once. A tile that would hold what another still holds is that other one; what only fed it disappears.
//      (as_executed: only the families that a `hoist` names.)
//   2. Drop. Where the steps between two uses are more than a gap, the tile leaves memory: a loaded one is
//   loaded again,
//      another is saved and restored. As written the gap is the largest (infinite, then halved and halved
//      again) with which the kernel fits. As executed the facts say where; the gap is added only when memory
//      is too small still.
//   3. Buffers, in two ways, of which the faster is taken. Rotating: each family has a pool that is used in
//   turn; it has
//      at least what the order of the steps needs; memory that is left gives every pool twice that, then
//      three and four times, small ones first. Shared: the result of an element-wise step takes the buffer of
//      an operand that ends there, and tiles of one size share slots; a new tile takes the slot that has been
//      free for longest.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "systolic/replay/trace.h"

namespace heddle::systolic::replay {

// A tile in memory, from its first step to its last.
struct Life {
  enum class Begin : uint8_t { made, loaded_again, restored };
  uint32_t instance = 0, first = 0, last = 0;  // steps
  uint32_t load = nothing;                     // loaded_again: the step that loaded it
  uint32_t buffer = 0;                         // lives with one buffer follow each other in place
  Begin begin = Begin::made;
  bool save = false;  // to HBM, after `last`
};

// Rotating: of a family. Shared: of all tiles of `family`'s size in SBUF; in PSUM of a family, too.
struct Pool {
  int family = 0;
  bool cut = false;                    // of tiles that leave memory and come back
  uint32_t needed = 0;                 // buffers that the order of the steps needs
  uint32_t buffers = 0;                // that it gets
  uint32_t first = nothing, last = 0;  // steps
  uint32_t tiles = 0;
  // Shared: the steps at which tiles begin, and how many are alive at most from each of them on. Slots that
  // are not needed any more make room for other sizes.
  std::vector<uint32_t> start, later;
  uint32_t later_at(size_t step) const {
    const auto at = static_cast<size_t>(std::lower_bound(start.begin(), start.end(), step) - start.begin());
    return at < later.size() ? later[at] : 0;
  }
};

struct Plan {
  std::vector<Life> life;
  std::vector<uint32_t> life_of;  // by step * operands_max + operand
  std::vector<Pool> pool;
  std::vector<uint32_t> pool_of;  // by buffer
  bool rotating = true;           // false: shared
  std::vector<std::string> decisions;
};

// Memory per partition.
struct Capacity {
  int64_t sbuf, psum_banks, bank_bytes;
};

// The plan for one gap (infinite: no_gap), with pools that rotate or shared slots. Turns steps of the trace
// off. Nothing when the pools do not fit.
inline constexpr uint64_t no_gap = UINT64_MAX;
std::optional<Plan> make_plan(const Nest& nest, Trace& trace, ReplayLevel level, const Capacity& capacity,
                              uint64_t gap, bool rotating);

}  // namespace heddle::systolic::replay
