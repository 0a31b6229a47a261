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

// The kernel of packed operands: c[m, n] = (overwrite ? 0 : c) + sum_k a[k, m] b[k, n] as stated above.
// a: blocks of packed_rows rows of m, each [k][rows of the block]; b: [k][columns], columns a multiple of 16
// up to packed_columns, of which `n` are stored.
inline constexpr int packed_rows = 8, packed_columns = 48;
using PackedProduct = void (*)(float* c, int64_t c_stride, const float* a, const float* b, int k, int m,
                               int n, bool overwrite);
PackedProduct packed_product();

}  // namespace heddle::systolic
