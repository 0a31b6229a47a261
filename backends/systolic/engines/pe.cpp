#include "systolic/engines/pe.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace heddle::systolic {
namespace {

// Scratch of a product: packed stationary tiles of part of the K loop, one panel of the moving operand, a
// staging row, a PSUM block when PSUM is not dense float32.
constexpr size_t stationary_floats = 128 * 128;
constexpr size_t panel_floats = 128 * packed_columns;
constexpr size_t tiles_at_once = 8;
constexpr size_t staging_floats = 8192;
constexpr size_t psum_floats = 128 * 4096;
static_assert((tiles_at_once * stationary_floats + panel_floats + staging_floats + psum_floats) *
                  sizeof(float) <=
              scratch_bytes);

// Columns [begin, begin + count) of one row as dense floats: in place where they lie so, else in `staging`.
const float* row_of(const MatrixOperand& matrix, const std::byte* row, int64_t begin, int64_t count,
                    float* staging) {
  const Nest& walk = matrix.columns;
  if (matrix.load == nullptr) return static_cast<const float*>(static_cast<const void*>(row)) + begin;
  if (walk.rank == 1) {
    matrix.load(staging, row + begin * walk.stride[0][0], walk.stride[0][0], static_cast<size_t>(count));
    return staging;
  }
  // Runs of the innermost dimension that meet the asked columns.
  int64_t column = 0;
  std::array<std::byte*, nest_operands_max> at{};
  at[0] = const_cast<std::byte*>(row);  // only read
  for_each_row(walk, at, [&](const auto& run) {
    const int64_t from = std::max(begin, column), to = std::min(begin + count, column + walk.row());
    if (from < to)
      matrix.load(staging + (from - begin), run[0] + (from - column) * walk.stride[0][0], walk.stride[0][0],
                  static_cast<size_t>(to - from));
    column += walk.row();
  });
  return staging;
}

// [k][m] to blocks of packed_rows columns, each [k][columns of the block].
void pack_stationary(const ProductTile& tile, int m, const Context& context, float* packed, float* staging) {
  const std::byte* row = tile.stationary.place.in(context);
  const int k = tile.rows;
  for (int r = 0; r < k; ++r, row += tile.stationary.row_stride) {
    const float* from = row_of(tile.stationary, row, 0, m, staging);
    int i = 0;
    for (; i + packed_rows <= m; i += packed_rows)
      std::memcpy(packed + static_cast<int64_t>(i) * k + r * packed_rows, from + i,
                  packed_rows * sizeof(float));
    if (i < m)
      std::memcpy(packed + static_cast<int64_t>(i) * k + r * (m - i), from + i,
                  static_cast<size_t>(m - i) * sizeof(float));
  }
}

// Columns [begin, begin + count) to [k][count rounded up to 16], zeros behind.
void pack_moving(const ProductTile& tile, int begin, int count, const Context& context, float* packed,
                 float* staging) {
  const std::byte* row = tile.moving.place.in(context);
  const int padded = (count + 15) / 16 * 16;
  for (int r = 0; r < tile.rows; ++r, row += tile.moving.row_stride, packed += padded) {
    const float* from = row_of(tile.moving, row, begin, count, staging);
    if (count == packed_columns) {
      std::memcpy(packed, from, packed_columns * sizeof(float));
    } else {
      std::memcpy(packed, from, static_cast<size_t>(count) * sizeof(float));
      std::fill(packed + count, packed + padded, 0.0f);
    }
  }
}

}  // namespace

bool make_matrix(const Operand& operand, MatrixOperand& matrix) {
  matrix.place = operand.place;
  matrix.row_stride = operand.stride[0];
  Operand row = operand;
  row.size[0] = 1;
  const bool per_partition = false;
  if (!make_nest({&row, 1}, {&per_partition, 1}, false, matrix.columns)) return false;
  const bool dense = matrix.columns.rank == 1 &&
                     (matrix.columns.stride[0][0] == static_cast<int64_t>(size_of(operand.dtype)) ||
                      matrix.columns.row() == 1);
  const bool runs = matrix.columns.stride[0][0] == static_cast<int64_t>(size_of(operand.dtype));
  matrix.load = dense && operand.dtype == DType::float32
                    ? nullptr
                    : row_loader(operand.dtype, runs || matrix.columns.row() == 1, Arithmetic::float32);
  return true;
}

Fault run_product(const void* arguments, const Context& context) {
  const Product& product = *static_cast<const Product*>(arguments);
  static const PackedProduct kernel = packed_product();
  auto* const scratch = static_cast<float*>(static_cast<void*>(context.scratch));
  float* const stationary = scratch;
  float* const panel = stationary + tiles_at_once * stationary_floats;
  float* const staging = panel + panel_floats;
  float* const block = staging + staging_floats;

  // PSUM that is not dense float32 rows is computed beside and written once.
  std::byte* const psum_bytes = product.psum.place.in(context);
  const bool direct = product.store_psum == nullptr;
  float* c = direct ? static_cast<float*>(static_cast<void*>(psum_bytes)) : block;
  const int64_t c_stride = direct ? product.psum.row_stride / static_cast<int64_t>(sizeof(float)) : product.n;
  const auto each_run = [&](const auto& f) {
    for (int i = 0; i < product.m; ++i) {
      std::array<std::byte*, nest_operands_max> at{};
      at[0] = psum_bytes + i * product.psum.row_stride;
      float* row = block + static_cast<int64_t>(i) * product.n;
      const Nest& walk = product.psum.columns;
      for_each_row(walk, at, [&](const auto& run) {
        f(run[0], walk.stride[0][0], row, static_cast<size_t>(walk.row()));
        row += walk.row();
      });
    }
  };
  if (!direct && !product.overwrite)
    each_run(
        [&](std::byte* at, int64_t stride, float* row, size_t n) { product.load_psum(row, at, stride, n); });

  bool overwrite = product.overwrite;
  for (size_t first = 0; first < product.tile.size(); first += tiles_at_once) {
    const size_t count = std::min(tiles_at_once, product.tile.size() - first);
    for (size_t t = 0; t < count; ++t)
      pack_stationary(product.tile[first + t], product.m, context, stationary + t * stationary_floats,
                      staging);
    for (int j = 0; j < product.n; j += packed_columns) {
      const int columns = std::min(packed_columns, product.n - j);
      for (size_t t = 0; t < count; ++t) {
        const ProductTile& tile = product.tile[first + t];
        pack_moving(tile, j, columns, context, panel, staging);
        kernel(c + j, c_stride, stationary + t * stationary_floats, panel, tile.rows, product.m, columns,
               overwrite && t == 0);
      }
    }
    overwrite = false;
  }
  if (!direct)
    each_run(
        [&](std::byte* at, int64_t stride, float* row, size_t n) { product.store_psum(at, stride, row, n); });
  return Fault::ok;
}

}  // namespace heddle::systolic
