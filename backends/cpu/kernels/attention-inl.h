// The parts of both attention passes: the register-blocked product, packing, masks. Compiled once per
// instruction set.
#if defined(HEDDLE_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_CPU_ATTENTION_INL_H_
#undef HEDDLE_CPU_ATTENTION_INL_H_
#else
#define HEDDLE_CPU_ATTENTION_INL_H_
#endif

#include "cpu/kernels/attention_plan.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

using F = hn::ScalableTag<float>;
using VF = hn::Vec<F>;
inline constexpr int64_t lanes_f32 = hn::MaxLanes(F());
inline constexpr float minus_inf = -std::numeric_limits<float>::infinity();

// Rows of a tile: with two vectors per row, all accumulators, two vectors of b and a broadcast fit in
// registers.
inline constexpr int tile_rows = has_masked_memory || HWY_ARCH_ARM ? 8 : 6;
inline constexpr int64_t panel_max = 2 * lanes_f32;

// The left operand of a product: element (r, k) is base[r * row + k * step].
struct Rows {
  const float* base;
  ptrdiff_t row, step;
};

enum class Start { zero, add, rescale };

// c[r][lanes] = start + sum_k a(r, k) * b[k][lanes] for r < rows <= tile_rows and kVectors vectors of lanes.
// Rows past the end repeat the last one and are not stored. `factor` (of the lanes) is read by Start::rescale
// only, but never null: the compiler would then complain about the reads that do not happen.
template <int kVectors>
HWY_INLINE void tile(int64_t rows, Rows a, const float* HWY_RESTRICT b, ptrdiff_t ldb, int64_t depth,
                     float* HWY_RESTRICT c, ptrdiff_t ldc, Start start, const float* HWY_RESTRICT factor) {
  const F d;
  const float* from[tile_rows];
  VF sum[tile_rows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; ++r) {
    const int64_t valid = r < rows ? r : rows - 1;
    from[r] = a.base + valid * a.row;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      if (start == Start::zero) {
        sum[r][v] = hn::Zero(d);
      } else {
        sum[r][v] = hn::LoadU(d, c + valid * ldc + v * lanes_f32);
        if (start == Start::rescale) sum[r][v] = hn::Mul(sum[r][v], hn::LoadU(d, factor + v * lanes_f32));
      }
    }
  }
  ptrdiff_t at = 0;
  for (int64_t k = 0; k < depth; ++k, at += a.step, b += ldb) {
    VF right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = hn::LoadU(d, b + v * lanes_f32);
#pragma GCC unroll 16
    for (int r = 0; r < tile_rows; ++r) {
      const VF left = hn::Set(d, from[r][at]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile_rows; ++r) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, c + r * ldc + v * lanes_f32);
  }
}

template <int kVectors>
HWY_NOINLINE void product(int64_t rows, Rows a, const float* b, ptrdiff_t ldb, int64_t depth, float* c,
                          ptrdiff_t ldc, Start start, const float* factor) {
  for (int64_t r = 0; r < rows; r += tile_rows) {
    tile<kVectors>(std::min<int64_t>(tile_rows, rows - r), Rows{a.base + r * a.row, a.row, a.step}, b, ldb,
                   depth, c + r * ldc, ldc, start, factor);
  }
}

// The product over any number of columns, two vectors at a time; b and c are readable and writable up to a
// whole number of vectors.
HWY_INLINE void product_wide(int64_t rows, int64_t columns, Rows a, const float* b, ptrdiff_t ldb,
                             int64_t depth, float* c, ptrdiff_t ldc, Start start) {
  int64_t at = 0;
  for (; at + lanes_f32 < columns; at += panel_max)
    product<2>(rows, a, b + at, ldb, depth, c + at, ldc, start, b);
  if (at < columns) product<1>(rows, a, b + at, ldb, depth, c + at, ldc, start, b);
}

// to[c * ld + r] = scale * rows[r][c] for `width` rows and `depth` columns; width is a multiple of the lanes.
template <class T>
HWY_INLINE void pack_columns(const T* const* rows, int64_t width, int64_t depth, float scale,
                             float* HWY_RESTRICT to, int64_t ld) {
#if HWY_TARGET == HWY_SCALAR
  const F d;
  for (int64_t r = 0; r < width; ++r)
    for (int64_t c = 0; c < depth; ++c) to[c * ld + r] = scale * hn::GetLane(load(d, rows[r] + c));
#else
  const Four d;
  const auto factor = hn::Set(d, scale);
  for (int64_t r = 0; r < width; r += 4) {
    const T *r0 = rows[r], *r1 = rows[r + 1], *r2 = rows[r + 2], *r3 = rows[r + 3];
    const auto four = [&](auto v0, auto v1, auto v2, auto v3, int64_t c, int64_t n) HWY_ATTR {
      hn::Vec<Four> w[4] = {hn::Mul(v0, factor), hn::Mul(v1, factor), hn::Mul(v2, factor),
                            hn::Mul(v3, factor)};
      transpose4(w[0], w[1], w[2], w[3]);
      for (int64_t i = 0; i < n; ++i) hn::StoreU(w[i], d, to + (c + i) * ld + r);
    };
    int64_t c = 0;
    for (; c + 4 <= depth; c += 4)
      four(load(d, r0 + c), load(d, r1 + c), load(d, r2 + c), load(d, r3 + c), c, 4);
    if (const int64_t n = depth - c; n > 0) {
      const auto m = static_cast<size_t>(n);
      four(load_n(d, r0 + c, m), load_n(d, r1 + c, m), load_n(d, r2 + c, m), load_n(d, r3 + c, m), c, n);
    }
  }
#endif
}

// rows[r][c] = from[c * ld + r] * factor[r], 0 where factor[r] is 0, for r < width (any number) and `depth`
// columns. from and factor are readable up to whole vectors of lanes.
template <class T>
HWY_INLINE void unpack_columns(const float* HWY_RESTRICT from, int64_t ld, const float* HWY_RESTRICT factor,
                               int64_t width, int64_t depth, T* const* rows) {
#if HWY_TARGET == HWY_SCALAR
  const F d;
  for (int64_t r = 0; r < width; ++r)
    for (int64_t c = 0; c < depth; ++c)
      store(hn::Set(d, factor[r] == 0 ? 0.0f : from[c * ld + r] * factor[r]), d, rows[r] + c);
#else
  const Four d;
  for (int64_t r = 0; r < width; r += 4) {
    const auto scale = hn::LoadU(d, factor + r);
    const auto drop = hn::Eq(scale, hn::Zero(d));  // Ne is false for NaN on some instruction sets
    const int64_t valid = std::min<int64_t>(4, width - r);
    const auto column = [&](int64_t c) HWY_ATTR {
      return hn::IfThenZeroElse(drop, hn::Mul(hn::LoadU(d, from + c * ld + r), scale));
    };
    int64_t c = 0;
    for (; valid == 4 && c + 4 <= depth; c += 4) {
      hn::Vec<Four> w[4] = {column(c), column(c + 1), column(c + 2), column(c + 3)};
      transpose4(w[0], w[1], w[2], w[3]);
      for (int i = 0; i < 4; ++i) store(w[i], d, rows[r + i] + c);
    }
    for (; c < depth; c += 4) {
      const int64_t n = std::min<int64_t>(4, depth - c);
      hn::Vec<Four> w[4];
      for (int64_t i = 0; i < 4; ++i) w[i] = column(c + std::min(i, n - 1));
      transpose4(w[0], w[1], w[2], w[3]);
      for (int64_t i = 0; i < valid; ++i) store_n(w[i], d, rows[r + i] + c, static_cast<size_t>(n));
    }
  }
#endif
}

// Widens `rows` rows of `depth` elements to float rows of `ld`, zeros behind them.
template <class T>
HWY_INLINE void widen_rows(const T* from, int64_t row, int64_t rows, int64_t depth, float* to, int64_t ld) {
  const F d;
  for (int64_t r = 0; r < rows; ++r) {
    const T* x = from + r * row;
    float* y = to + r * ld;
    int64_t c = 0;
    for (; c + lanes_f32 <= depth; c += lanes_f32) hn::StoreU(load(d, x + c), d, y + c);
    for (; c < ld; c += lanes_f32) {
      const int64_t n = std::clamp<int64_t>(depth - c, 0, lanes_f32);
      store_n(load_n(d, x + c, static_cast<size_t>(n)), d, y + c,
              static_cast<size_t>(std::min(ld - c, lanes_f32)));
    }
  }
}

// Whether a boolean mask lets anything, or everything, through.
struct Visible {
  bool any, all;
};
HWY_INLINE Visible visible_in(const uint8_t* mask, int64_t stride, int64_t n) {
  if (stride == 0) return {mask[0] != 0, mask[0] != 0};
  uint8_t any = 0, all = 1;
  for (int64_t j = 0; j < n; ++j) {
    any = static_cast<uint8_t>(any | mask[j]);
    all = static_cast<uint8_t>(all & mask[j]);
  }
  return {any != 0, all != 0};
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#endif
