// What kernels over rows share: a row of the last axis per partition, statistics beside it as [P, 1].
#pragma once

#include "systolic/kernels/geometry.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// The longest row of which `tiles` float32 tiles fit in SBUF beside what is resident.
int64_t longest_row(const NeuronCore& nc, int tiles);

// A row vector (scale, bias) on every partition: [partitions, n], loaded once.
Tile load_on_all_partitions(NeuronCore& nc, TilePool& pool, const Operand& vector, int partitions);

// Sums over the partitions: result[1, n] in HBM = column sums of `partial` [128, n] (float32), by products
// with ones.
void store_partition_sums(NeuronCore& nc, const Hbm& result, DType dtype, const Tile& partial);

// 1/n sum over the free axis: out[P, 1].
void row_mean(NeuronCore& nc, const Tile& out, const Tile& in);

}  // namespace heddle::systolic
