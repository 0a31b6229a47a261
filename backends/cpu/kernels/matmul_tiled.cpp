// Tiled matmul: each thread computes regions of y on its own, in blocks that stay in its caches.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/matmul_tiled.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>

#include "cpu/kernels/matmul_own.h"
#include "cpu/kernels/matmul_tile-inl.h"

#ifndef HEDDLE_CPU_MATMUL_TILED_ONCE
#define HEDDLE_CPU_MATMUL_TILED_ONCE
namespace heddle::cpu {
namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

// Blocks of at most these sizes are multiplied at a time. A panel of a, one tile high and depth_max long,
// lies in the first cache; depth_max x columns_max of b lie in the second.
constexpr int64_t depth_max = 384, rows_max = 192, columns_max = 512;

// How y is cut: every matrix of the batch into down x across regions, each one task.
struct Grid {
  int64_t down = 1, across = 1;
};

// The cut in which the busiest thread has the fewest tiles.
Grid cut(const MatmulShape& s, Threads threads, int64_t tile_rows, int64_t tile_columns) {
  Grid best;
  if (threads.count == 1) return best;
  const int64_t tiles_down = blocks_of(s.m, tile_rows), tiles_across = blocks_of(s.n, tile_columns);
  const int64_t batches = s.batches();
  double best_time = 0;
  for (int64_t down = 1; down <= std::min<int64_t>(threads.count, tiles_down); ++down)
    for (int64_t across = 1; down * across <= threads.count && across <= tiles_across; ++across) {
      const int64_t rounds = blocks_of(batches * down * across, threads.count);
      const int64_t high = blocks_of(tiles_down, down) * tile_rows,
                    wide = blocks_of(tiles_across, across) * tile_columns;
      // Multiplying, and packing the region's share of a and b once.
      const double time = static_cast<double>(rounds) *
                          (static_cast<double>(high * wide) + 4.0 * static_cast<double>(high + wide));
      if (best_time == 0 || time < best_time) best = {down, across}, best_time = time;
    }
  return best;
}

// What of the operands is packed, and the scratch of one thread, in elements of the type that sums.
struct Packing {
  bool a = false, b = false, sums = false;
  int64_t depth = 0, rows = 0, columns = 0;  // of a block
  int64_t a_elements = 0, b_elements = 0, sum_elements = 0;
  int64_t elements() const { return a_elements + b_elements + sum_elements; }
};

Packing packing(const MatmulShape& s, const Grid& grid, int64_t tile_rows, int64_t tile_columns,
                int64_t slack) {
  Packing p;
  const bool narrow = size_of(s.dtype) == 2;
  const int64_t high = std::min(s.m, round_up(blocks_of(s.m, grid.down), tile_rows));
  const int64_t wide = std::min(s.n, round_up(blocks_of(s.n, grid.across), tile_columns));
  p.depth = blocks_of(s.k, blocks_of(s.k, depth_max));
  p.rows = round_up(blocks_of(high, blocks_of(high, rows_max)), tile_rows);
  p.columns = round_up(blocks_of(wide, blocks_of(wide, columns_max)), tile_columns);
  p.a = narrow || wide >= 512;
  p.b = narrow || s.transpose_b || high >= 96;
  p.sums = narrow;
  if (p.a) p.a_elements = round_up(p.rows * p.depth + slack, 64);
  if (p.b) p.b_elements = round_up(p.columns * p.depth + slack, 64);
  if (p.sums) p.sum_elements = round_up(p.rows * p.columns, 64);
  return p;
}

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

// Rows [row, row_end) and columns [column, column_end) of one matrix of y.
struct Region {
  int64_t row, row_end, column, column_end;
  int64_t stacked;  // rows of y above this matrix, for the epilogue
};

template <class Stored>
class RegionMatmul {
 public:
  using T = Wide<Stored>;

  RegionMatmul(const MatmulShape& s, const Packing& p, const Stored* a, const Stored* b, Stored* y,
               T* scratch, const MatmulEpilogue& epilogue)
      : s_(s),
        p_(p),
        a_(a),
        b_(b),
        y_(y),
        packed_a_(scratch),
        packed_b_(scratch + p.a_elements),
        sums_(packed_b_ + p.b_elements),
        epilogue_(epilogue) {}

  void run(const Region& region) const {
    // Sums that are wider than y are kept for a block of rows through all depths; else y itself keeps them,
    // and the packed b serves all rows.
    const int64_t chunk = p_.sums ? p_.rows : region.row_end - region.row;
    for (int64_t j = region.column; j < region.column_end; j += p_.columns) {
      const int64_t columns = std::min(p_.columns, region.column_end - j);
      for (int64_t first = region.row; first < region.row_end; first += chunk) {
        const int64_t end = std::min(first + chunk, region.row_end);
        for (int64_t p = 0; p < s_.k; p += p_.depth) {
          const int64_t depth = std::min(p_.depth, s_.k - p);
          if (p_.b) pack_b(p, depth, j, columns);
          for (int64_t i = first; i < end; i += p_.rows) {
            const int64_t rows = std::min(p_.rows, end - i);
            if (p_.a) pack_a(p, depth, i, rows);
            block(p, depth, i, rows, j, columns);
            if (p + depth == s_.k) finish(region, i, rows, j, columns);
          }
        }
      }
    }
  }

 private:
  static constexpr int64_t wide = tile_columns<T>;

  void pack_a(int64_t p, int64_t depth, int64_t i, int64_t rows) const {
    if (s_.transpose_a)
      pack_down(a_ + p * s_.m + i, s_.m, rows, depth, tile_rows, packed_a_);
    else
      pack_across(a_ + i * s_.k + p, s_.k, rows, depth, tile_rows, packed_a_);
  }
  void pack_b(int64_t p, int64_t depth, int64_t j, int64_t columns) const {
    if (s_.transpose_b)
      pack_across(b_ + j * s_.k + p, s_.k, columns, depth, wide, packed_b_);
    else
      pack_down(b_ + p * s_.n + j, s_.n, columns, depth, wide, packed_b_);
  }

  void block(int64_t p, int64_t depth, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    if (p_.a || s_.transpose_a)
      tiles<false>(p, depth, i, rows, j, columns);
    else
      tiles<true>(p, depth, i, rows, j, columns);
  }

  template <bool kAcross>
  void tiles(int64_t p, int64_t depth, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    TileWork<T> work{};
    work.depth = depth;
    work.add = p > 0;
    work.a_step = p_.a ? tile_rows : s_.transpose_a ? s_.m : s_.k;
    work.b_step = p_.b ? wide : s_.n;
    work.c_step = p_.sums ? p_.columns : s_.n;
    // Along the rows of y: its lines come from memory in order.
    for (int64_t r = 0; r < rows; r += tile_rows) {
      const int64_t tile_height = std::min<int64_t>(tile_rows, rows - r);
      work.a = p_.a             ? packed_a_ + r * depth
               : s_.transpose_a ? in_place(a_) + p * s_.m + i + r
                                : in_place(a_) + (i + r) * s_.k + p;
      for (int64_t c = 0; c < columns; c += wide) {
        work.b = p_.b ? packed_b_ + c * depth : in_place(b_) + p * s_.n + j + c;
        work.c = p_.sums ? sums_ + r * p_.columns + c : in_place(y_) + (i + r) * s_.n + j + c;
        tile_function<T, kAcross>(tile_height, std::min(wide, columns - c), work.last)(work);
      }
    }
  }

  void finish(const Region& region, int64_t i, int64_t rows, int64_t j, int64_t columns) const {
    if (p_.sums) {
      const hn::ScalableTag<T> d;
      constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
      for (int64_t r = 0; r < rows; ++r) {
        const T* from = sums_ + r * p_.columns;
        Stored* to = y_ + (i + r) * s_.n + j;
        int64_t c = 0;
        for (; c + lanes <= columns; c += lanes) store(hn::LoadU(d, from + c), d, to + c);
        if (c < columns) store_n(hn::LoadU(d, from + c), d, to + c, static_cast<size_t>(columns - c));
      }
    }
    if (epilogue_.run != nullptr) epilogue_.run(epilogue_.context, region.stacked + i, rows, j, columns);
  }

  // An operand that is not packed has the type that sums.
  static const T* in_place(const Stored* x) { return reinterpret_cast<const T*>(x); }
  static T* in_place(Stored* x) { return reinterpret_cast<T*>(x); }

  const MatmulShape& s_;
  const Packing& p_;
  const Stored *a_, *b_;
  Stored* y_;
  T *packed_a_, *packed_b_, *sums_;
  const MatmulEpilogue& epilogue_;
};

template <class Stored>
void run_tiled(const MatmulShape& s, Threads threads, const MatmulPointers& at,
               const MatmulEpilogue& epilogue) {
  using T = Wide<Stored>;
  const Grid grid = cut(s, threads, tile_rows, tile_columns<T>);
  const Packing p = packing(s, grid, tile_rows, tile_columns<T>, pack_slack);
  const int64_t regions = grid.down * grid.across;
  const int64_t tiles_down = blocks_of(s.m, tile_rows), tiles_across = blocks_of(s.n, tile_columns<T>);
  parallel_tasks(threads, s.batches() * regions, [&](int64_t task, int thread) HWY_ATTR {
    const int64_t index = task / regions, down = task % regions / grid.across, across = task % grid.across;
    const MatmulOperands of = matmul_operands(s, index);
    const RegionMatmul<Stored> matmul(s, p, static_cast<const Stored*>(at.a) + of.a * s.m * s.k,
                                      static_cast<const Stored*>(at.b) + of.b * s.k * s.n,
                                      static_cast<Stored*>(at.y) + index * s.m * s.n,
                                      static_cast<T*>(at.scratch) + thread * p.elements(), epilogue);
    Region region{};
    region.row = tiles_down * down / grid.down * tile_rows;
    region.row_end = std::min(s.m, tiles_down * (down + 1) / grid.down * tile_rows);
    region.column = tiles_across * across / grid.across * tile_columns<T>;
    region.column_end = std::min(s.n, tiles_across * (across + 1) / grid.across * tile_columns<T>);
    region.stacked = index * s.m;
    matmul.run(region);
  });
}

uint64_t scratch_of(const MatmulShape& s, Threads threads) {
  const bool wide = s.dtype == DType::float64;
  const int64_t columns = wide ? tile_columns<double> : tile_columns<float>;
  const Packing p = packing(s, cut(s, threads, tile_rows, columns), tile_rows, columns, pack_slack);
  return static_cast<uint64_t>(p.elements()) * (wide ? sizeof(double) : sizeof(float)) *
         static_cast<uint64_t>(threads.count);
}

void run(const MatmulShape& s, Threads threads, const MatmulPointers& at, const MatmulEpilogue& epilogue) {
  switch (s.dtype) {
    case DType::float64:
      return run_tiled<double>(s, threads, at, epilogue);
    case DType::bfloat16:
      return run_tiled<bfloat16_t>(s, threads, at, epilogue);
    case DType::float16:
      return run_tiled<float16_t>(s, threads, at, epilogue);
    default:
      return run_tiled<float>(s, threads, at, epilogue);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(scratch_of);
HWY_EXPORT(run);

uint64_t tiled_matmul_scratch(const MatmulShape& shape, Threads threads) {
  return HWY_DYNAMIC_DISPATCH(scratch_of)(shape, threads);
}

void tiled_matmul(const MatmulShape& shape, Threads threads, const MatmulPointers& at,
                  const MatmulEpilogue& epilogue) {
  HWY_DYNAMIC_DISPATCH(run)(shape, threads, at, epilogue);
}

}  // namespace heddle::cpu
#endif
