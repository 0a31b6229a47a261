// The innermost part of the own matmul: one tile of y held in registers, and the packing of operands into
// panels. Compiled once per instruction set, inside files that Highway includes repeatedly.
#if defined(HEDDLE_CPU_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_CPU_MATMUL_TILE_INL_H_
#undef HEDDLE_CPU_MATMUL_TILE_INL_H_
#else
#define HEDDLE_CPU_MATMUL_TILE_INL_H_
#endif

#include <algorithm>
#include <array>
#include <utility>

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

// A tile is tile_rows x (tile_vectors * lanes): as many accumulators as leave registers for one row of b and
// a broadcast element of a. AVX-512 and Arm have 32 registers, AVX2 has 16.
inline constexpr int tile_vectors = 2;
inline constexpr int tile_rows = HWY_TARGET == HWY_AVX3 ? 12 : HWY_ARCH_ARM ? 8 : 6;
template <class T>
inline constexpr int64_t tile_columns =
    tile_vectors* static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));

template <class T>
struct TileWork {
  const T* a;  // element (r, p) is a[r * a_step + p] (across) or a[p * a_step + r]
  ptrdiff_t a_step;
  const T* b;  // row p is at b + p * b_step
  ptrdiff_t b_step;
  int64_t depth;  // how many p
  T* c;           // row r is at c + r * c_step
  ptrdiff_t c_step;
  size_t last;  // valid lanes of the last vector of a row, when it is not whole
  bool add;     // c += instead of c =
};

// c[r][j] (+)= sum over p of a(r, p) * b[p][j], for kRows rows and kVectors vectors. Each sum is one chain of
// fused multiply-adds in the order of p, whatever the tile: how y is cut into tiles does not change its bits.
template <class T, int kRows, int kVectors, bool kPartial, bool kAcross>
HWY_NOINLINE void tile(const TileWork<T>& work) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto lanes = static_cast<ptrdiff_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  const auto valid = hn::FirstN(d, kPartial ? work.last : static_cast<size_t>(lanes));
  const auto load_vector = [&](const T* row, int v) HWY_ATTR {
    return kPartial && v == kVectors - 1 ? hn::MaskedLoad(valid, d, row + v * lanes)
                                         : hn::LoadU(d, row + v * lanes);
  };

  V sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);

      // y comes from far away; fetch it while the sums are made.
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(work.c + r * work.c_step + v * lanes, 1);

  const ptrdiff_t a_step = work.a_step, b_step = work.b_step;
  const T* HWY_RESTRICT b = work.b;
  // One pointer serves three rows, by the addressing modes [x], [x + step] and [x + 2 * step].
  constexpr int groups = kAcross ? (kRows + 2) / 3 : 1;
  const T* HWY_RESTRICT a[groups];
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) a[g] = work.a + 3 * g * a_step;
#pragma GCC unroll 2
  for (int64_t p = 0; p < work.depth; ++p) {
    V right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = load_vector(b, v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V left = hn::Set(d, kAcross ? a[r / 3][(r % 3) * a_step] : a[0][r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
    b += b_step;
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) a[g] += kAcross ? 1 : a_step;
  }

#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    T* row = work.c + r * work.c_step;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      V value = sum[r][v];
      if (work.add) value = hn::Add(value, load_vector(row, v));
      if (kPartial && v == kVectors - 1) {
        hn::BlendedStore(value, valid, d, row + v * lanes);
      } else {
        hn::StoreU(value, d, row + v * lanes);
      }
    }
  }
}

template <class T>
using TileFunction = void (*)(const TileWork<T>&);

// The tile functions for 1 .. tile_rows rows.
template <class T, int kVectors, bool kPartial, bool kAcross, int... kRow>
constexpr std::array<TileFunction<T>, tile_rows> tile_functions(std::integer_sequence<int, kRow...>) {
  return {&tile<T, kRow + 1, kVectors, kPartial, kAcross>...};
}
template <class T, bool kAcross>
struct TileTable {
  using Rows = std::make_integer_sequence<int, tile_rows>;
  static constexpr std::array<TileFunction<T>, tile_rows> whole =
      tile_functions<T, 2, false, kAcross>(Rows());
  static constexpr std::array<TileFunction<T>, tile_rows> two = tile_functions<T, 2, true, kAcross>(Rows());
  static constexpr std::array<TileFunction<T>, tile_rows> one = tile_functions<T, 1, true, kAcross>(Rows());
};

// The function for `rows` x `columns` and, in `last`, the valid lanes of its last vector.
template <class T, bool kAcross>
TileFunction<T> tile_function(int64_t rows, int64_t columns, size_t& last) {
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  const auto at = static_cast<size_t>(rows - 1);
  if (columns == tile_columns<T>) return TileTable<T, kAcross>::whole[at];
  last = static_cast<size_t>(columns > lanes ? columns - lanes : columns);
  return columns > lanes ? TileTable<T, kAcross>::two[at] : TileTable<T, kAcross>::one[at];
}

// Panels: `count` rows or columns of an operand, `width` at a time, with those of one p next to each other:
//   to[panel][p][i] = element (panel * width + i, p)
// What lies behind the last of `count` is unspecified; `to` has room for `slack` elements more.
inline constexpr int64_t pack_slack = 4;

// Where p runs down a matrix with `step` elements a row: rows of `width` are copied.
template <class T, class Stored>
void pack_down(const Stored* from, int64_t step, int64_t count, int64_t depth, int64_t width,
               T* HWY_RESTRICT to) {
  const hn::ScalableTag<T> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (int64_t first = 0; first < count; first += width, to += depth * width) {
    const int64_t valid = std::min(width, count - first);
    const Stored* row = from + first;
    for (int64_t p = 0; p < depth; ++p, row += step) {
      T* out = to + p * width;
      int64_t i = 0;
      for (; i + lanes <= valid; i += lanes) hn::StoreU(load(d, row + i), d, out + i);
      if (i < valid) {
        const auto n = static_cast<size_t>(valid - i);
        hn::BlendedStore(load_n(d, row + i, n), hn::FirstN(d, n), d, out + i);
      }
    }
  }
}

// One element, widened.
template <class T, class Stored>
HWY_INLINE T widen(const Stored* x) {
  if constexpr (std::is_same_v<T, Stored>) {
    return *x;
  } else {
    return to_float(*x);
  }
}

// Where p runs along rows that are `step` apart: the rows are transposed.
template <class T, class Stored>
void pack_across(const Stored* from, int64_t step, int64_t count, int64_t depth, int64_t width,
                 T* HWY_RESTRICT to) {
  for (int64_t first = 0; first < count; first += width, to += depth * width) {
    const int64_t valid = std::min(width, count - first);
    // Four rows at a time, the last ones first: where the width is no multiple of four, what is written too
    // much lies in the next p, and the next pass overwrites it.
    for (int64_t r = (valid - 1) / 4 * 4; r >= 0; r -= 4) {
      const Stored* rows[4];
      for (int64_t i = 0; i < 4; ++i) rows[i] = from + (first + std::min(r + i, valid - 1)) * step;
      int64_t p = 0;
#if HWY_TARGET != HWY_SCALAR
      if constexpr (std::is_same_v<T, float>) {
        const Four d;
        for (; p + 4 <= depth; p += 4) {
          hn::Vec<Four> w[4] = {load(d, rows[0] + p), load(d, rows[1] + p), load(d, rows[2] + p),
                                load(d, rows[3] + p)};
          transpose4(w[0], w[1], w[2], w[3]);
          for (int i = 0; i < 4; ++i) hn::StoreU(w[i], d, to + (p + i) * width + r);
        }
      }
#endif
      for (; p < depth; ++p)
        for (int64_t i = 0; i < 4; ++i) to[p * width + r + i] = widen<T>(rows[i] + p);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#endif
