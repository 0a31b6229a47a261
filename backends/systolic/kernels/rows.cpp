#include "systolic/kernels/rows.h"

#include <algorithm>

namespace heddle::systolic {

std::vector<RowBlock> row_blocks(int64_t rows, int64_t columns, int64_t most_elements) {
  constexpr int64_t partitions = 128;
  const int64_t most = std::max<int64_t>(1, most_elements / columns);
  std::vector<RowBlock> blocks;
  for (int64_t at = 0; at < rows;) {
    const int64_t run = std::clamp<int64_t>((rows - at) / partitions, 1, most);
    const int64_t count = std::min(partitions, rows - at);
    blocks.push_back({at, static_cast<int>(count), static_cast<int>(run)});
    at += count * run;
  }
  return blocks;
}

Tile load_on_all_partitions(NeuronCore& nc, TilePool& pool, const Operand& vector, int partitions) {
  const int n = static_cast<int>(vector.elements());
  const Tile tile = pool.tile(partitions, {n}, vector.dtype);
  nc.dma_load(tile, vector.hbm.repeat(0, partitions));
  return tile;
}

}  // namespace heddle::systolic
