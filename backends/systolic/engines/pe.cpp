#include "systolic/engines/pe.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "systolic/engines/move.h"

namespace heddle::systolic {
namespace {

// Scratch of a product: the packed stationary tile, a packed block of the moving operand, a staging row, a
// PSUM block when PSUM is not dense float32. Together with the PSUM tile they fit in the second-level cache
// of today's hosts.
constexpr int block_columns = 512;
constexpr size_t stationary_floats = 128 / packed_rows * stationary_block_stride(128);
constexpr size_t moving_floats = (block_columns / packed_columns + 1) * moving_panel_stride(128);
constexpr size_t staging_floats = packed_columns * 128;  // or block_columns of a row
static_assert(staging_floats >= block_columns);
constexpr size_t psum_floats = 128 * 4096;
static_assert((stationary_floats + moving_floats + staging_floats + psum_floats) * sizeof(float) <=
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

// Where the product reads the stationary operand; `panels`: how often it is read.
Stationary stationary_of(const ProductTile& tile, int m, int panels, const Context& context, float* packed,
                         float* staging) {
  const MatrixOperand& a = tile.stationary;
  const std::byte* row = a.place.in(context);
  const auto* floats = static_cast<const float*>(static_cast<const void*>(row));
  constexpr auto width = static_cast<int64_t>(sizeof(float));
  if (a.turned()) {
    const int64_t column = a.columns.stride[0][0];
    if (a.dtype == DType::float32) return {floats, 1, column / width, packed_rows * (column / width)};
    // Its columns, one after the other, widened.
    const int64_t stride = (tile.rows + 15) / 16 * 16;
    for (int i = 0; i < m; ++i)
      a.load_turned(packed + i * stride, row + i * column, a.row_stride, static_cast<size_t>(tile.rows));
    return {packed, 1, stride, packed_rows * stride};
  }
  const auto& kernels = packed_kernels();
  // Reading across rows costs more cache lines than packing does, once there are several panels.
  if (a.load == nullptr && panels < 3) return {floats, a.row_stride / width, 1, packed_rows};
  if (a.load == nullptr)
    kernels.pack_stationary(packed, floats, a.row_stride / width, tile.rows, m, 0, tile.rows);
  else
    for (int r = 0; r < tile.rows; ++r, row += a.row_stride)
      kernels.pack_stationary(packed, row_of(a, row, 0, m, staging), 0, 1, m, r, tile.rows);
  return {packed, packed_rows, 1, stationary_block_stride(tile.rows)};
}

// Panels of a turned operand: columns of the panel are runs of memory.
void pack_turned(const ProductTile& tile, int begin, int count, const Context& context, float* packed,
                 float* staging) {
  const MatrixOperand& b = tile.moving;
  const int64_t column = b.columns.stride[0][0];
  const std::byte* from = b.place.in(context) + begin * column;
  for (int p = 0; p < count; p += packed_columns, packed += moving_panel_stride(tile.rows)) {
    const int columns = std::min(packed_columns, count - p), padded = (columns + 15) / 16 * 16;
    const std::byte* source = from + p * column;
    int64_t source_stride = column;
    if (b.dtype != DType::float32) {
      source_stride = (tile.rows + 15) / 16 * 16 * static_cast<int64_t>(sizeof(float));
      auto* widened = static_cast<std::byte*>(static_cast<void*>(staging));
      for (int j = 0; j < columns; ++j)
        b.load_turned(widened + j * source_stride, source + j * column, b.row_stride,
                      static_cast<size_t>(tile.rows));
      source = widened;
    }
    transpose_block(static_cast<std::byte*>(static_cast<void*>(packed)),
                    padded * static_cast<int64_t>(sizeof(float)), source, source_stride, columns, tile.rows,
                    sizeof(float));
    if (padded > columns)
      for (int r = 0; r < tile.rows; ++r)
        std::fill(packed + r * padded + columns, packed + (r + 1) * padded, 0.0f);
  }
}

void pack_moving(const ProductTile& tile, int begin, int count, const Context& context, float* packed,
                 float* staging) {
  const MatrixOperand& b = tile.moving;
  if (b.turned()) return pack_turned(tile, begin, count, context, packed, staging);
  const auto pack = packed_kernels().pack_moving;
  const std::byte* row = b.place.in(context);
  if (b.load == nullptr)
    return pack(packed, static_cast<const float*>(static_cast<const void*>(row)) + begin,
                b.row_stride / static_cast<int64_t>(sizeof(float)), tile.rows, count, 0, tile.rows);
  for (int r = 0; r < tile.rows; ++r, row += b.row_stride)
    pack(packed, row_of(b, row, begin, count, staging), 0, 1, count, r, tile.rows);
}

// Brings columns [begin, begin + count) of rows [first, end) near, while the array multiplies another tile.
void prefetch_rows(const MatrixOperand& matrix, int begin, int count, int first, int end,
                   const Context& context) {
  if (matrix.columns.rank != 1 || matrix.turned()) return;
  const int64_t step = matrix.columns.stride[0][0];
  const std::byte* row = matrix.place.in(context) + begin * step + first * matrix.row_stride;
  for (int r = first; r < end; ++r, row += matrix.row_stride) {
    for (int64_t b = 0; b < count * step; b += 64) __builtin_prefetch(row + b, 0, 2);
    __asm__ volatile("" ::"r"(row));  // GCC takes a function that only prefetches for one without effects
  }
}

}  // namespace

bool make_matrix(const Operand& operand, MatrixOperand& matrix) {
  matrix.place = operand.place;
  matrix.dtype = operand.dtype;
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
  matrix.load_turned = row_loader(operand.dtype, true, Arithmetic::float32);
  return true;
}

Fault run_product(const void* arguments, const Context& context) {
  const Product& product = *static_cast<const Product*>(arguments);
  const auto kernel = packed_kernels().product;
  auto* const scratch = static_cast<float*>(static_cast<void*>(context.scratch));
  float* const packed = scratch;
  float* const moving = packed + stationary_floats;
  float* const staging = moving + moving_floats;
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

  for (size_t t = 0; t < product.tile.size(); ++t) {
    const ProductTile& tile = product.tile[t];
    const ProductTile* next = t + 1 < product.tile.size() ? &product.tile[t + 1] : nullptr;
    const Stationary stationary = stationary_of(
        tile, product.m, (product.n + packed_columns - 1) / packed_columns, context, packed, staging);
    for (int j = 0; j < product.n; j += block_columns) {
      const int columns = std::min(block_columns, product.n - j);
      pack_moving(tile, j, columns, context, moving, staging);
      for (int p = 0; p < columns; p += packed_columns) {
        if (next != nullptr) {
          const int first = p * next->rows / columns,
                    end = std::min(next->rows, (p + packed_columns) * next->rows / columns);
          prefetch_rows(next->moving, j, columns, first, end, context);
          if (j == 0) prefetch_rows(next->stationary, 0, product.m, first, end, context);
        }
        kernel(c + j + p, c_stride, stationary, moving + p / packed_columns * moving_panel_stride(tile.rows),
               tile.rows, product.m, std::min(packed_columns, columns - p), product.overwrite && t == 0);
      }
    }
  }
  if (!direct)
    each_run(
        [&](std::byte* at, int64_t stride, float* row, size_t n) { product.store_psum(at, stride, row, n); });
  return Fault::ok;
}

}  // namespace heddle::systolic
