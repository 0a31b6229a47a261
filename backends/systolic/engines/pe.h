// The tensor engine: products and transposes.
//
// Numbers of a product, the same bits on every host: for each tile of at most 128 rows, acc = 0, then
// acc = fma(stationary[k, m], moving[k, n], acc) with k ascending, in float32; then psum += acc (psum = acc
// for the tile that starts a group). Narrower operands are widened first, which is exact.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "systolic/engines/nest.h"
#include "systolic/engines/row.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

// A matrix whose rows are partitions: runs of `count` elements `step` bytes apart, one run or those of
// `walk`.
struct HostMatrix {
  Place place;
  int64_t row_stride = 0;  // bytes
  int64_t step = 0, count = 0;
  const Nest* walk = nullptr;       // of one row that is several runs: one operand, merged
  RowLoader load = nullptr;         // of a run; null: one run of float32, dense
  RowLoader load_turned = nullptr;  // of a run along the rows, when turned()
  DType dtype = DType::float32;

  // Its columns, not its rows, lie dense in memory: a transposed load became a view.
  bool turned() const {
    return walk == nullptr && row_stride == static_cast<int64_t>(size_of(dtype)) && step != row_stride;
  }
};

// f(bytes of a run, floats of it) for the runs of one row.
template <class F>
void each_run(const HostMatrix& matrix, std::byte* row, float* floats, const F& f) {
  if (matrix.walk == nullptr) return f(row, floats);
  std::array<std::byte*, nest_operands_max> at{};
  at[0] = row;
  for_each_row(*matrix.walk, at, [&](const auto& run) {
    f(run[0], floats);
    floats += matrix.count;
  });
}

// psum[M, N] (+)= stationary[K, M]^T moving[K, N], one instruction.
struct ProductTile {
  HostMatrix psum, stationary, moving;
  RowLoader load_psum = nullptr;
  RowStorer store_psum = nullptr;  // null: float32 and dense rows
  int k = 0, m = 0, n = 0;
  bool overwrite = false;    // starts its group
  bool same_moving = false;  // as of the tile before
  bool same_psum = false;    // goes on adding to the result of the tile before
};

// Products that follow each other.
struct Products {
  std::vector<ProductTile> tile;
};

// False when a row cannot be walked. `nest` is room for matrix.walk.
bool make_matrix(const HostOperand& operand, HostMatrix& matrix, Nest& nest);

// A StepFunction whose arguments are Products.
Fault run_products(const void* products, const Context& context);

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
