// The tensor engine: products and transposes.
//
// Numbers of a product, the same bits on every host: for each tile of at most 128 rows, acc = 0, then
// acc = fma(stationary[k, m], moving[k, n], acc) with k ascending, in float32; then psum += acc (psum = acc
// for the tile that starts a group). Narrower operands are widened first, which is exact.
#pragma once

#include <cstdint>
#include <vector>

#include "systolic/engines/nest.h"
#include "systolic/engines/row.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

// A matrix whose rows are partitions. `columns` says how a row is walked: dense runs of `run` elements.
struct MatrixOperand {
  Place place;
  DType dtype = DType::float32;
  int64_t row_stride = 0;           // bytes
  Nest columns;                     // of one row: one operand, merged
  RowLoader load = nullptr;         // null: float32, dense
  RowLoader load_turned = nullptr;  // of a run along the rows, when turned()

  // Its columns, not its rows, lie dense in memory: a transposed load became a view.
  bool turned() const {
    return columns.rank == 1 && row_stride == static_cast<int64_t>(size_of(dtype)) &&
           columns.stride[0][0] != row_stride;
  }
};

// One tile of a K loop.
struct ProductTile {
  MatrixOperand stationary, moving;
  int rows = 0;  // K
};

// A group, or part of one: psum[M, N] (+)= sum over tiles.
struct Product {
  MatrixOperand psum;  // float32 (bfloat16 through store)
  RowLoader load_psum = nullptr;
  RowStorer store_psum = nullptr;  // null: float32 and dense rows
  int m = 0, n = 0;
  bool overwrite = false;  // the first tile starts the group
  std::vector<ProductTile> tile;
};

// False when a row cannot be walked.
bool make_matrix(const Operand& operand, MatrixOperand& matrix);

// A StepFunction whose arguments are a Product.
Fault run_product(const void* product, const Context& context);

// The moving operand is packed into panels of packed_columns, each [k][columns of the panel, rounded up to
// 16, zeros behind]; a little room between panels keeps them from competing for the same sets of the host's
// cache. The stationary operand is read where it lies, element (k, m) at k*row + m*column, or packed into
// blocks of packed_rows of its columns, each [k][packed_rows].
inline constexpr int packed_rows = 8, packed_columns = 48;
constexpr int64_t stationary_block_stride(int k) { return int64_t{k} * packed_rows + 16; }
constexpr int64_t moving_panel_stride(int k) { return int64_t{k} * packed_columns + 16; }

struct Stationary {
  const float* data;
  int64_t row, column;  // floats from one k, and from one m, to the next
  int64_t block;        // floats from packed_rows columns to the next packed_rows
};

struct PackedKernels {
  // Rows [r, r + rows) of an operand of k rows, `count` floats each, `stride` floats apart.
  void (*pack_stationary)(float* packed, const float* from, int64_t stride, int rows, int count, int r,
                          int k);
  void (*pack_moving)(float* packed, const float* from, int64_t stride, int rows, int count, int r, int k);
  // c[m, n] = (overwrite ? 0 : c) + sum_k a[k, m] b[k, n] as stated above, n <= packed_columns: one panel.
  void (*product)(float* c, int64_t c_stride, const Stationary& a, const float* b, int k, int m, int n,
                  bool overwrite);
};
const PackedKernels& packed_kernels();

}  // namespace heddle::systolic
