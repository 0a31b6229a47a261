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

int64_t longest_row(const NeuronCore& nc, int tiles) {
  return nc.sbuf_free() / (tiles * static_cast<int64_t>(sizeof(float)));
}

Tile load_on_all_partitions(NeuronCore& nc, TilePool& pool, const Operand& vector, int partitions) {
  const int n = static_cast<int>(vector.elements());
  const Tile tile = pool.tile(partitions, {n}, vector.dtype);
  nc.dma_load(tile, vector.hbm.repeat(0, partitions));
  return tile;
}

void store_partition_sums(NeuronCore& nc, const Hbm& result, DType dtype, const Tile& partial) {
  TilePool ones_pool = nc.sbuf_pool("ones", 1), out_pool = nc.sbuf_pool("sums.out", 2);
  TilePool psum = nc.psum_pool("sums", 2);
  const Tile ones = ones_pool.tile(partial.partitions(), {1}, DType::float32);
  nc.memset(ones, 1.0f);
  const Hbm row = result.reshape({1, result.elements()});
  for (const Piece& piece : pieces(result.elements(), 512)) {
    const int n = static_cast<int>(piece.count);
    const Tile sum = psum.tile(1, {n}, DType::float32);
    nc.nc_matmul(sum, ones, partial.cols(static_cast<int>(piece.begin), n));
    const Tile out = out_pool.tile(1, {n}, dtype);
    nc.tensor_copy(out, sum);
    nc.dma_store(row.cols(piece.begin, piece.count), out);
  }
}

void row_mean(NeuronCore& nc, const Tile& out, const Tile& in) {
  nc.tensor_reduce(out, AluOp::add, in);
  nc.tensor_scalar(out, out, {AluOp::multiply, 1.0 / static_cast<double>(in.free_elements())});
}

}  // namespace heddle::systolic
