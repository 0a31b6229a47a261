#include "systolic/kernels/transpose_tiles.h"

#include <string>

namespace heddle::systolic {

MatrixLoader::MatrixLoader(NeuronCore& nc, const char* name, DType dtype, int buffers)
    : nc_(nc),
      dtype_(dtype),
      tiles_(nc.sbuf_pool(name, buffers)),
      rows_(nc.sbuf_pool(std::string(name) + ".rows", 2)),
      turned_(nc.psum_pool(std::string(name) + ".turned", 1)) {}

Tile MatrixLoader::load(const MatrixOperand& m, const Piece& k, const Piece& j) {
  const int kn = static_cast<int>(k.count), jn = static_cast<int>(j.count);
  const Tile tile = tiles_.tile(kn, {jn}, dtype_);
  const int64_t start = m.offset + k.begin * m.k_stride + j.begin * m.j_stride;
  if (!m.k_contiguous()) {
    nc_.dma_load(tile, m.hbm.box(start, {kn, jn}, {m.k_stride, m.j_stride}));
    return tile;
  }
  for (const Piece& part : pieces(jn, 128)) {
    const int n = static_cast<int>(part.count), at = static_cast<int>(part.begin);
    const Tile row = rows_.tile(n, {kn}, dtype_);
    nc_.dma_load(row, m.hbm.box(start + part.begin * m.j_stride, {n, kn}, {m.j_stride, m.k_stride}));
    const Tile turned = turned_.tile(kn, {n}, dtype_);
    nc_.nc_transpose(turned, row);
    nc_.tensor_copy(tile.cols(at, n), turned);
  }
  return tile;
}

}  // namespace heddle::systolic
