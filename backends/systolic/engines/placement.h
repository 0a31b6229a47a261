// Where every tile of a stream lies in the host's memory while the stream is computed.
//
// The host is not bound to the addresses of SBUF and PSUM: a tile needs memory from its first use to its last
// only, and what is free is given out again at once, so that the tiles in use fit in the host's caches.
// Copies that change nothing are not made:
//   - a load (same dtype, dense rows, a tile that nothing else writes, HBM that nothing overwrites while the
//     tile is used) makes its tile a view of HBM; so does a transposing load of what is multiplied only;
//   - a copy from one whole tile to another gives both the same memory, when neither is changed afterwards
//     while the other is still read;
//   - a store of a whole tile that nothing changes afterwards puts the tile into HBM from the start, when
//     nothing else touches those bytes in the meantime.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

struct TilePlace {
  Place place;
  int64_t row_stride = 0;      // bytes from one partition to the next
  int64_t element_stride = 0;  // bytes from one element of a partition to the next
};

// Positions in the order of execution between which the bytes of an HBM value matter; first > last: never.
struct ValueLife {
  uint32_t first = none, last = 0;
};

struct Placement {
  std::vector<TilePlace> tile;
  std::vector<bool> done;       // per instruction: its copy is done by where its tiles lie
  std::vector<ValueLife> life;  // per value; of the one that holds the storage
  uint64_t on_chip_bytes = 0;
  size_t views = 0;  // instructions that are done
};

// `order`: the instructions in the order in which they run.
Placement place_tiles(const Stream& stream, std::span<const uint32_t> order);

}  // namespace heddle::systolic
