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
  int64_t row_stride = 0;    // bytes
  Nest columns;              // of one row: one operand, merged
  RowLoader load = nullptr;  // null: float32, dense
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

// Packed operands. Stationary: blocks of packed_rows of its columns, each [k][columns of the block]. Moving:
// panels of packed_columns, each [k][columns of the panel, rounded up to 16, zeros behind]. A little room
// between blocks keeps them from competing for the same sets of the host's cache.
inline constexpr int packed_rows = 8, packed_columns = 48;
constexpr int64_t stationary_block_stride(int k) { return int64_t{k} * packed_rows + 16; }
constexpr int64_t moving_panel_stride(int k) { return int64_t{k} * packed_columns + 16; }

struct PackedKernels {
  // Scatters one row of the operand, `count` floats, as row r of k.
  void (*pack_stationary)(float* packed, const float* row, int count, int r, int k);
  void (*pack_moving)(float* packed, const float* row, int count, int r, int k);
  // c[m, n] = (overwrite ? 0 : c) + sum_k a[k, m] b[k, n] as stated above, n <= packed_columns: one panel.
  void (*product)(float* c, int64_t c_stride, const float* a, const float* b, int k, int m, int n,
                  bool overwrite);
};
const PackedKernels& packed_kernels();

}  // namespace heddle::systolic
