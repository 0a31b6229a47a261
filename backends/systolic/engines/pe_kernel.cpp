// The inner loop of the tensor engine: an outer product over k held in registers.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "systolic/engines/pe.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/pe_kernel.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "hwy/highway.h"

#include "systolic/engines/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that a block of packed_columns is three vectors or more on every host.
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

#if HWY_NATIVE_FMA
HWY_INLINE V multiply_add(V a, V b, V c) { return hn::MulAdd(a, b, c); }
#else
// Highway would round twice here; the same bits on every host are worth the wait.
HWY_INLINE V multiply_add(V a, V b, V c) {
  const D d;
  HWY_ALIGN float x[16], y[16], z[16];
  hn::Store(a, d, x), hn::Store(b, d, y), hn::Store(c, d, z);
  for (size_t i = 0; i < hn::Lanes(d); ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(d, z);
}
#endif

// rows x (vectors * lanes) accumulators over k. Element (kk, i) of the stationary operand is
// a[kk * a_row + i * a_column]; b advances b_stride floats per k.
template <int rows, int vectors>
HWY_INLINE void block(float* c, int64_t c_stride, const float* a, int64_t a_row, int64_t a_column,
                      const float* b, int b_stride, int k, int columns, bool overwrite) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  V acc[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors; ++j) acc[i][j] = hn::Zero(d);
  // Three columns from each base: base, base + column, base + 2*column are what an address can say.
  const float *a0 = a, *a3 = rows > 3 ? a + 3 * a_column : a, *a6 = rows > 6 ? a + 6 * a_column : a;
  for (int kk = 0; kk < k; ++kk) {
    V moving[vectors];
    for (int j = 0; j < vectors; ++j) moving[j] = hn::LoadU(d, b + j * lanes);
    for (int i = 0; i < rows; ++i) {
      const float* base = i < 3 ? a0 : i < 6 ? a3 : a6;
      const V stationary = hn::Set(d, base[(i % 3) * a_column]);
      for (int j = 0; j < vectors; ++j) acc[i][j] = multiply_add(stationary, moving[j], acc[i][j]);
    }
    a0 += a_row, a3 += a_row, a6 += a_row;
    b += b_stride;
  }
  // All vectors but the last are whole.
  const auto left = static_cast<size_t>(columns - (vectors - 1) * lanes);
  const bool whole = left == static_cast<size_t>(lanes);
  const auto write = [&](auto adds, auto cut) HWY_ATTR {
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 3
      for (int j = 0; j < vectors; ++j) {
        float* to = c + i * c_stride + j * lanes;
        V value = acc[i][j];
        if (cut && j == vectors - 1) {
          if (adds) value = hn::Add(load_tail(d, to, left), value);
          store_tail(d, value, to, left);
        } else {
          if (adds) value = hn::Add(hn::LoadU(d, to), value);
          hn::StoreU(value, d, to);
        }
      }
    }
  };
  if (overwrite)
    whole ? write(std::false_type(), std::false_type()) : write(std::false_type(), std::true_type());
  else
    whole ? write(std::true_type(), std::false_type()) : write(std::true_type(), std::true_type());
}

// Cuts rows x columns of one packed block into what the register file holds.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int vectors_max = 3, rows_max = 8;
#else
constexpr int vectors_max = 2, rows_max = 4;
#endif

template <int rows>
HWY_INLINE void row_block(float* c, int64_t c_stride, const float* a, const Stationary& s, const float* b,
                          int b_stride, int k, int n, bool overwrite) {
  const int lanes = static_cast<int>(hn::Lanes(D()));
  int j = 0;
  for (; n - j > (vectors_max - 1) * lanes; j += vectors_max * lanes)
    block<rows, vectors_max>(c + j, c_stride, a, s.row, s.column, b + j, b_stride, k,
                             std::min(n - j, vectors_max * lanes), overwrite);
  if constexpr (vectors_max > 2)
    if (n - j > lanes) {
      block<rows, 2>(c + j, c_stride, a, s.row, s.column, b + j, b_stride, k, n - j, overwrite);
      return;
    }
  if (n - j > 0) block<rows, 1>(c + j, c_stride, a, s.row, s.column, b + j, b_stride, k, n - j, overwrite);
}

void product(float* c, int64_t c_stride, const Stationary& s, const float* b, int k, int m, int n,
             bool overwrite) {
  const int b_stride = (n + 15) / 16 * 16;
  const float* a = s.data;
  for (int i0 = 0; i0 < m; i0 += packed_rows, a += s.block) {
    const int in_block = std::min(packed_rows, m - i0);
    float* out = c + i0 * c_stride;
    int i = 0;
    for (; i + rows_max <= in_block; i += rows_max)
      row_block<rows_max>(out + i * c_stride, c_stride, a + i * s.column, s, b, b_stride, k, n, overwrite);
    if constexpr (rows_max > 4)
      for (; i + 4 <= in_block; i += 4)
        row_block<4>(out + i * c_stride, c_stride, a + i * s.column, s, b, b_stride, k, n, overwrite);
    for (; i + 2 <= in_block; i += 2)
      row_block<2>(out + i * c_stride, c_stride, a + i * s.column, s, b, b_stride, k, n, overwrite);
    for (; i < in_block; ++i)
      row_block<1>(out + i * c_stride, c_stride, a + i * s.column, s, b, b_stride, k, n, overwrite);
  }
}

// Copies `n` floats, a multiple of the vector.
template <class Tag>
HWY_INLINE void copy_vectors(float* to, const float* from, int n) {
  const Tag d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int i = 0; i < n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
}

void pack_stationary(float* packed, const float* from, int64_t stride, int rows, int count, int r, int k) {
  const int64_t block = stationary_block_stride(k);
  for (int end = r + rows; r < end; ++r, from += stride) {
    float* to = packed + r * packed_rows;
    int i = 0;
    for (; i + packed_rows <= count; i += packed_rows, to += block)
      copy_vectors<hn::CappedTag<float, packed_rows>>(to, from + i, packed_rows);
    for (int l = 0; l < count - i; ++l) to[l] = from[i + l];
  }
}

// One row of the last panel: `count` floats, zeros behind up to a multiple of 16.
HWY_INLINE void pad_row(float* to, const float* from, int count) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i < count) {
    hn::StoreU(load_tail(d, from + i, static_cast<size_t>(count - i)), d, to + i);
    i += lanes;
  }
  for (; i % 16 != 0; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
}

void pack_moving(float* packed, const float* from, int64_t stride, int rows, int count, int r, int k) {
  const int64_t panel = moving_panel_stride(k);
  const int whole = count / packed_columns * packed_columns, left = count - whole,
            padded = (left + 15) / 16 * 16;
  float* const last = packed + whole / packed_columns * panel;
  for (int end = r + rows; r < end; ++r, from += stride) {
    float* to = packed + r * packed_columns;
    for (int j = 0; j < whole; j += packed_columns, to += panel)
      copy_vectors<D>(to, from + j, packed_columns);
    if (left > 0) pad_row(last + r * padded, from + whole, left);
  }
}

const PackedKernels* choose() {
  static constexpr PackedKernels kernels{pack_stationary, pack_moving, product};
  return &kernels;
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {
HWY_EXPORT(choose);
const PackedKernels& packed_kernels() {
  static const PackedKernels* const kernels = HWY_DYNAMIC_DISPATCH(choose)();
  return *kernels;
}
}  // namespace heddle::systolic
#endif
