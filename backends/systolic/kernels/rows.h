// What kernels over rows share: a row of the last axis per partition, statistics beside it as [P, 1].
#pragma once

#include "systolic/kernels/geometry.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// Rows [begin, begin + partitions * run) of a matrix; a partition holds `run` neighbouring rows, which are
// one piece of HBM: short rows then come in few descriptors.
struct RowBlock {
  int64_t begin;
  int partitions, run;
  int64_t rows() const { return static_cast<int64_t>(partitions) * run; }
  // The block of [rows, columns] (dense, flat) as [partitions, run, columns].
  Hbm of(const Hbm& flat, int64_t columns) const {
    return flat.box(begin * columns, {partitions, run, columns}, {run * columns, columns, 1});
  }
};
// Cuts `rows` rows into blocks of 128 partitions with runs of at most `most_elements` elements of `columns`
// each; what remains comes in single rows.
std::vector<RowBlock> row_blocks(int64_t rows, int64_t columns, int64_t most_elements);

// A row vector (scale, bias) on every partition: [partitions, n], loaded once.
Tile load_on_all_partitions(NeuronCore& nc, TilePool& pool, const Operand& vector, int partitions);

}  // namespace heddle::systolic
