// Operands of matmuls brought into SBUF with the contraction along partitions.
#pragma once

#include <vector>

#include "systolic/kernels/geometry.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// A matrix in HBM as a matmul reads it: element (k, j) is `offset + k*k_stride + j*j_stride` of the flat
// value.
struct MatrixOperand {
  Hbm hbm;
  int64_t offset, k_stride, j_stride;
  bool k_contiguous() const { return k_stride == 1 && j_stride != 1; }  // k along rows: has to be transposed
};

// Loads [k.count, j.count] tiles with k on partitions. A matrix whose k runs along its rows is loaded the
// other way and turned by the tensor engine, 128x128 at a time, through PSUM.
class MatrixLoader {
 public:
  // `buffers` tiles of up to [128, columns] are kept in flight.
  MatrixLoader(NeuronCore& nc, const char* name, DType dtype, int buffers);
  // k.count <= 128; the tile is [k.count, j.count] in `dtype`.
  Tile load(const MatrixOperand& m, const Piece& k, const Piece& j);
  // k.count partitions with `run` neighbouring rows of k each, from k.begin on: [k.count, run, j.count]. k
  // runs along the columns of the matrix.
  Tile load_run(const MatrixOperand& m, const Piece& k, int run, const Piece& j);

 private:
  NeuronCore& nc_;
  DType dtype_;
  TilePool tiles_;
};

}  // namespace heddle::systolic
