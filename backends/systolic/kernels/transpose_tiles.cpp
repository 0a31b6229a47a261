#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {

MatrixLoader::MatrixLoader(NeuronCore& nc, const char* name, DType dtype, int buffers)
    : nc_(nc), dtype_(dtype), tiles_(nc.sbuf_pool(name, buffers)) {}

Tile MatrixLoader::load(const MatrixOperand& m, const Piece& k, const Piece& j) {
  const int kn = static_cast<int>(k.count), jn = static_cast<int>(j.count);
  const Tile tile = tiles_.tile(kn, {jn}, dtype_);
  const int64_t start = m.offset + k.begin * m.k_stride + j.begin * m.j_stride;
  if (m.k_contiguous())
    nc_.dma_load_transposed(tile, m.hbm.box(start, {jn, kn}, {m.j_stride, m.k_stride}));
  else
    nc_.dma_load(tile, m.hbm.box(start, {kn, jn}, {m.k_stride, m.j_stride}));
  return tile;
}

Tile MatrixLoader::load_run(const MatrixOperand& m, const Piece& k, int run, const Piece& j) {
  const Tile tile = tiles_.tile(static_cast<int>(k.count), {run, static_cast<int>(j.count)}, dtype_);
  const int64_t start = m.offset + k.begin * m.k_stride + j.begin * m.j_stride;
  nc_.dma_load(tile, m.hbm.box(start, {k.count, run, j.count}, {run * m.k_stride, m.k_stride, m.j_stride}));
  return tile;
}

}  // namespace heddle::systolic
