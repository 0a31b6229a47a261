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
constexpr int64_t turned_stride(int k) { return (int64_t{k} + 15) / 16 * 16 + 16; }
constexpr size_t stationary_floats = 128 * turned_stride(128);
static_assert(stationary_floats >= 128 / packed_rows * stationary_block_stride(128));
constexpr size_t moving_floats = (block_columns / packed_columns + 1) * moving_panel_stride(128);
constexpr size_t staging_floats = packed_columns * 128;  // or block_columns of a row
static_assert(staging_floats >= block_columns);
constexpr size_t psum_floats = 128 * 4096;
static_assert((stationary_floats + moving_floats + staging_floats + psum_floats) * sizeof(float) <=
              scratch_bytes);

// Columns [begin, begin + count) of one row as dense floats: in place where they lie so, else in `staging`.
const float* row_of(const HostMatrix& matrix, const std::byte* row, int64_t begin, int64_t count,
                    float* staging) {
  if (matrix.load == nullptr) return static_cast<const float*>(static_cast<const void*>(row)) + begin;
  if (matrix.walk == nullptr) {
    matrix.load(staging, row + begin * matrix.step, matrix.step, static_cast<size_t>(count));
    return staging;
  }
  // Runs that meet the asked columns.
  int64_t column = 0;
  each_run(matrix, const_cast<std::byte*>(row), staging, [&](const std::byte* run, float*) {  // only read
    const int64_t from = std::max(begin, column), to = std::min(begin + count, column + matrix.count);
    if (from < to)
      matrix.load(staging + (from - begin), run + (from - column) * matrix.step, matrix.step,
                  static_cast<size_t>(to - from));
    column += matrix.count;
  });
  return staging;
}

// Where the product reads the stationary operand, once for each panel of the moving one.
Stationary stationary_of(const ProductTile& tile, const Context& context, float* packed, float* staging) {
  const HostMatrix& a = tile.stationary;
  const int m = tile.m, panels = (tile.n + packed_columns - 1) / packed_columns;
  const std::byte* row = a.place.in(context);
  const auto* floats = static_cast<const float*>(static_cast<const void*>(row));
  constexpr auto width = static_cast<int64_t>(sizeof(float));
  if (a.turned()) {
    const int64_t column = a.step;
    if (a.dtype == DType::float32 && panels < 3)
      return {floats, 1, column / width, packed_rows * (column / width)};
    // Its columns one after the other, widened, with room between them: eight are read at a time, and far
    // rows of a large matrix compete for the same sets of the host's cache.
    const int64_t stride = turned_stride(tile.k);
    for (int i = 0; i < m; ++i) {
      if (a.dtype == DType::float32)
        std::memcpy(packed + i * stride, row + i * column, static_cast<size_t>(tile.k) * sizeof(float));
      else
        a.load_turned(packed + i * stride, row + i * column, a.row_stride, static_cast<size_t>(tile.k));
    }
    return {packed, 1, stride, packed_rows * stride};
  }
  const auto& kernels = packed_kernels();
  // Reading across rows costs more cache lines than packing does, once there are several panels.
  if (a.load == nullptr && panels < 3) return {floats, a.row_stride / width, 1, packed_rows};
  if (a.load == nullptr)
    kernels.pack_stationary(packed, floats, a.row_stride / width, tile.k, m, 0, tile.k);
  else
    for (int r = 0; r < tile.k; ++r, row += a.row_stride)
      kernels.pack_stationary(packed, row_of(a, row, 0, m, staging), 0, 1, m, r, tile.k);
  return {packed, packed_rows, 1, stationary_block_stride(tile.k)};
}

// Panels of a turned operand: columns of the panel are runs of memory.
void pack_turned(const ProductTile& tile, int begin, int count, const Context& context, float* packed,
                 float* staging) {
  const HostMatrix& b = tile.moving;
  const int64_t column = b.step;
  const std::byte* from = b.place.in(context) + begin * column;
  for (int p = 0; p < count; p += packed_columns, packed += moving_panel_stride(tile.k)) {
    const int columns = std::min(packed_columns, count - p), padded = (columns + 15) / 16 * 16;
    const std::byte* source = from + p * column;
    int64_t source_stride = column;
    if (b.dtype != DType::float32) {
      source_stride = (tile.k + 15) / 16 * 16 * static_cast<int64_t>(sizeof(float));
      auto* widened = static_cast<std::byte*>(static_cast<void*>(staging));
      for (int j = 0; j < columns; ++j)
        b.load_turned(widened + j * source_stride, source + j * column, b.row_stride,
                      static_cast<size_t>(tile.k));
      source = widened;
    }
    transpose_block(static_cast<std::byte*>(static_cast<void*>(packed)),
                    padded * static_cast<int64_t>(sizeof(float)), source, source_stride, columns, tile.k,
                    sizeof(float));
    if (padded > columns)
      for (int r = 0; r < tile.k; ++r)
        std::fill(packed + r * padded + columns, packed + (r + 1) * padded, 0.0f);
  }
}

void pack_moving(const ProductTile& tile, int begin, int count, const Context& context, float* packed,
                 float* staging) {
  const HostMatrix& b = tile.moving;
  if (b.turned()) return pack_turned(tile, begin, count, context, packed, staging);
  const auto pack = packed_kernels().pack_moving;
  const std::byte* row = b.place.in(context);
  if (b.load == nullptr)
    return pack(packed, static_cast<const float*>(static_cast<const void*>(row)) + begin,
                b.row_stride / static_cast<int64_t>(sizeof(float)), tile.k, count, 0, tile.k);
  for (int r = 0; r < tile.k; ++r, row += b.row_stride)
    pack(packed, row_of(b, row, begin, count, staging), 0, 1, count, r, tile.k);
}

// Brings columns [begin, begin + count) of rows [first, end) near, while the array multiplies another tile.
void prefetch_rows(const HostMatrix& matrix, int begin, int count, int first, int end,
                   const Context& context) {
  if (matrix.walk != nullptr || matrix.turned()) return;
  const std::byte* row = matrix.place.in(context) + begin * matrix.step + first * matrix.row_stride;
  for (int r = first; r < end; ++r, row += matrix.row_stride) {
    for (int64_t b = 0; b < count * matrix.step; b += 64) __builtin_prefetch(row + b, 0, 2);
    __asm__ volatile("" ::"r"(row));  // GCC takes a function that only prefetches for one without effects
  }
}

// The result of a tile in float32 rows: where it lies, or beside it when it does not lie so.
struct Result {
  float* data;
  int64_t stride;
};
Result result_of(const ProductTile& tile, const Context& context, float* block) {
  if (tile.store_psum != nullptr) return {block, tile.n};
  return {static_cast<float*>(static_cast<void*>(tile.psum.place.in(context))),
          tile.psum.row_stride / static_cast<int64_t>(sizeof(float))};
}
template <class F>
void each_result_run(const ProductTile& tile, const Context& context, float* block, const F& f) {
  std::byte* row = tile.psum.place.in(context);
  for (int i = 0; i < tile.m; ++i, row += tile.psum.row_stride, block += tile.n)
    each_run(tile.psum, row, block, f);
}

}  // namespace

bool make_matrix(const HostOperand& operand, HostMatrix& matrix, Nest& nest) {
  HostOperand row = operand;
  row.size[0] = 1;
  const bool per_partition = false;
  if (!make_nest({&row, 1}, {&per_partition, 1}, false, nest)) return false;
  const auto width = static_cast<int64_t>(size_of(operand.dtype));
  matrix.place = operand.place;
  matrix.dtype = operand.dtype;
  matrix.row_stride = operand.stride[0];
  matrix.step = nest.stride[0][0], matrix.count = nest.row();
  matrix.walk = nest.rank == 1 ? nullptr : &nest;
  const bool runs = matrix.step == width || matrix.count == 1;
  matrix.load = nest.rank == 1 && runs && operand.dtype == DType::float32
                    ? nullptr
                    : row_loader(operand.dtype, runs, Arithmetic::float32);
  matrix.load_turned = row_loader(operand.dtype, true, Arithmetic::float32);
  return true;
}

Fault run_products(const void* arguments, const Context& context) {
  const auto& tiles = static_cast<const Products*>(arguments)->tile;
  const auto kernel = packed_kernels().product;
  auto* const scratch = static_cast<float*>(static_cast<void*>(context.scratch));
  float* const packed = scratch;
  float* const moving = packed + stationary_floats;
  float* const staging = moving + moving_floats;
  float* const block = staging + staging_floats;

  for (size_t t = 0; t < tiles.size(); ++t) {
    const ProductTile& tile = tiles[t];
    const ProductTile* next = t + 1 < tiles.size() ? &tiles[t + 1] : nullptr;
    const auto width = static_cast<size_t>(tile.psum.count);
    if (tile.store_psum != nullptr && !tile.overwrite && !tile.same_psum)
      each_result_run(tile, context, block,
                      [&](std::byte* at, float* row) { tile.load_psum(row, at, tile.psum.step, width); });
    const Result c = result_of(tile, context, block);
    const Stationary stationary = stationary_of(tile, context, packed, staging);
    for (int j = 0; j < tile.n; j += block_columns) {
      const int columns = std::min(block_columns, tile.n - j);
      if (!tile.same_moving || tile.n > block_columns)
        pack_moving(tile, j, columns, context, moving, staging);
      for (int p = 0; p < columns; p += packed_columns) {
        if (next != nullptr) {
          const int first = p * next->k / columns,
                    end = std::min(next->k, (p + packed_columns) * next->k / columns);
          if (!next->same_moving) prefetch_rows(next->moving, j, columns, first, end, context);
          if (j == 0) prefetch_rows(next->stationary, 0, next->m, first, end, context);
        }
        kernel(c.data + j + p, c.stride, stationary,
               moving + p / packed_columns * moving_panel_stride(tile.k), tile.k, tile.m,
               std::min(packed_columns, columns - p), tile.overwrite);
      }
    }
    if (tile.store_psum != nullptr && (next == nullptr || !next->same_psum))
      each_result_run(tile, context, block,
                      [&](std::byte* at, float* row) { tile.store_psum(at, tile.psum.step, row, width); });
  }
  return Fault::ok;
}

}  // namespace heddle::systolic
