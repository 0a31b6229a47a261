// The inner loop of the tensor engine: an outer product over k held in registers.
#include <cmath>

#include "systolic/engines/pe.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/pe_kernel.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

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

// rows x (vectors * lanes) accumulators over k; b advances b_stride floats per k.
template <int rows, int vectors>
HWY_INLINE void block(float* c, int64_t c_stride, const float* a, int a_rows, const float* b, int b_stride,
                      int k, int columns, bool overwrite) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  V acc[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors; ++j) acc[i][j] = hn::Zero(d);
  for (int kk = 0; kk < k; ++kk) {
    V moving[vectors];
    for (int j = 0; j < vectors; ++j) moving[j] = hn::LoadU(d, b + j * lanes);
    for (int i = 0; i < rows; ++i) {
      const V stationary = hn::Set(d, a[i]);
      for (int j = 0; j < vectors; ++j) acc[i][j] = multiply_add(stationary, moving[j], acc[i][j]);
    }
    a += a_rows;
    b += b_stride;
  }
  const bool whole = columns == vectors * lanes;
  for (int i = 0; i < rows; ++i) {
    float* row = c + i * c_stride;
    for (int j = 0; j < vectors; ++j) {
      const int left = columns - j * lanes;
      if (whole || left >= lanes) {
        V value = acc[i][j];
        if (!overwrite) value = hn::Add(hn::LoadU(d, row + j * lanes), value);
        hn::StoreU(value, d, row + j * lanes);
      } else if (left > 0) {
        HWY_ALIGN float tail[16];
        hn::Store(acc[i][j], d, tail);
        for (int l = 0; l < left; ++l)
          row[j * lanes + l] = overwrite ? tail[l] : row[j * lanes + l] + tail[l];
      }
    }
  }
}

// Cuts rows x columns of one packed block into what the register file holds.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int vectors_max = 3, rows_max = 8;
#else
constexpr int vectors_max = 2, rows_max = 4;
#endif

template <int rows>
HWY_INLINE void row_block(float* c, int64_t c_stride, const float* a, int a_rows, const float* b,
                          int b_stride, int k, int n, bool overwrite) {
  const D d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int j = 0;
  for (; n - j > (vectors_max - 1) * lanes; j += vectors_max * lanes)
    block<rows, vectors_max>(c + j, c_stride, a, a_rows, b + j, b_stride, k,
                             std::min(n - j, vectors_max * lanes), overwrite);
  if constexpr (vectors_max > 2)
    if (n - j > lanes) {
      block<rows, 2>(c + j, c_stride, a, a_rows, b + j, b_stride, k, n - j, overwrite);
      return;
    }
  if (n - j > 0) block<rows, 1>(c + j, c_stride, a, a_rows, b + j, b_stride, k, n - j, overwrite);
}

void product(float* c, int64_t c_stride, const float* a, const float* b, int k, int m, int n,
             bool overwrite) {
  const int b_stride = (n + 15) / 16 * 16;
  for (int i0 = 0; i0 < m; i0 += packed_rows) {
    const int in_block = std::min(packed_rows, m - i0);
    const float* panel = a + i0 / packed_rows * stationary_block_stride(k);
    float* out = c + i0 * c_stride;
    int i = 0;
    for (; i + rows_max <= in_block; i += rows_max)
      row_block<rows_max>(out + i * c_stride, c_stride, panel + i, in_block, b, b_stride, k, n, overwrite);
    if constexpr (rows_max > 4)
      for (; i + 4 <= in_block; i += 4)
        row_block<4>(out + i * c_stride, c_stride, panel + i, in_block, b, b_stride, k, n, overwrite);
    for (; i + 2 <= in_block; i += 2)
      row_block<2>(out + i * c_stride, c_stride, panel + i, in_block, b, b_stride, k, n, overwrite);
    for (; i < in_block; ++i)
      row_block<1>(out + i * c_stride, c_stride, panel + i, in_block, b, b_stride, k, n, overwrite);
  }
}

// Copies `n` floats, a multiple of `lanes`.
template <class Tag>
HWY_INLINE void copy_vectors(float* to, const float* from, int n) {
  const Tag d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int i = 0; i < n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
}

void pack_stationary(float* packed, const float* row, int count, int r, int k) {
  const int64_t stride = stationary_block_stride(k);
  int i = 0;
  for (; i + packed_rows <= count; i += packed_rows, packed += stride)
    copy_vectors<hn::CappedTag<float, packed_rows>>(packed + r * packed_rows, row + i, packed_rows);
  const int left = count - i;
  for (int l = 0; l < left; ++l) packed[r * left + l] = row[i + l];
}

void pack_moving(float* packed, const float* row, int count, int r, int k) {
  const int64_t stride = moving_panel_stride(k);
  int j = 0;
  for (; j + packed_columns <= count; j += packed_columns, packed += stride)
    copy_vectors<D>(packed + r * packed_columns, row + j, packed_columns);
  const int left = count - j;
  if (left == 0) return;
  const int padded = (left + 15) / 16 * 16;
  float* to = packed + r * padded;
  const int whole = left / 16 * 16;
  copy_vectors<D>(to, row + j, whole);
  for (int l = whole; l < padded; ++l) to[l] = l < left ? row[j + l] : 0.0f;
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
