// Transposing a block of elements in registers: 4x4 squares of 32-bit lanes, in as many parallel squares as
// fit.
#include <algorithm>
#include <cstring>

#include "systolic/engines/move.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/transpose.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "hwy/highway.h"

#include "systolic/engines/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
HWY_INLINE T* at(std::byte* p, int64_t offset) {
  return static_cast<T*>(static_cast<void*>(p + offset));
}
template <class T>
HWY_INLINE const T* at(const std::byte* p, int64_t offset) {
  return static_cast<const T*>(static_cast<const void*>(p + offset));
}

// Eight rows of eight columns: pairs of 4x4 squares in each half of a 256-bit vector.
HWY_INLINE void square8(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride) {
#if HWY_MAX_BYTES >= 32
  const hn::FixedTag<uint32_t, 8> d;
  const hn::FixedTag<uint64_t, 4> d64;
  hn::Vec<decltype(d)> r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = hn::LoadU(d, at<uint32_t>(from, i * from_stride));
  for (int i = 0; i < 8; i += 2) {
    t[i] = hn::InterleaveLower(d, r[i], r[i + 1]);
    t[i + 1] = hn::InterleaveUpper(d, r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const auto a = hn::BitCast(d64, t[i + j]), b = hn::BitCast(d64, t[i + j + 2]);
      r[i + 2 * j] = hn::BitCast(d, hn::InterleaveLower(d64, a, b));
      r[i + 2 * j + 1] = hn::BitCast(d, hn::InterleaveUpper(d64, a, b));
    }
  }
  for (int i = 0; i < 4; ++i) {
    hn::StoreU(hn::ConcatLowerLower(d, r[i + 4], r[i]), d, at<uint32_t>(to, i * to_stride));
    hn::StoreU(hn::ConcatUpperUpper(d, r[i + 4], r[i]), d, at<uint32_t>(to, (i + 4) * to_stride));
  }
#else
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j)
      *at<uint32_t>(to, j * to_stride + i * 4) = *at<uint32_t>(from, i * from_stride + j * 4);
#endif
}

void transpose32(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride, int64_t rows,
                 int64_t columns) {
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) {
    int64_t c = 0;
    for (; c + 8 <= columns; c += 8)
      square8(to + c * to_stride + r * 4, to_stride, from + r * from_stride + c * 4, from_stride);
    for (; c < columns; ++c)
      for (int64_t i = r; i < r + 8; ++i)
        *at<uint32_t>(to, c * to_stride + i * 4) = *at<uint32_t>(from, i * from_stride + c * 4);
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      *at<uint32_t>(to, c * to_stride + r * 4) = *at<uint32_t>(from, r * from_stride + c * 4);
}

// Whether the exponent of some element is all ones: NaN or infinity. T: the bits, signed.
template <class T, T exponent>
bool special(const std::byte* from, int64_t stride, int64_t rows, int64_t columns) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto magnitude = hn::Set(d, hwy::LimitsMax<T>());
  auto largest = hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r, from += stride) {
    const T* row = at<T>(from, 0);
    int64_t c = 0;
    for (; c + lanes <= columns; c += lanes)
      largest = hn::Max(largest, hn::And(hn::LoadU(d, row + c), magnitude));
    if (c < columns)
      largest = hn::Max(largest, hn::And(load_tail(d, row + c, static_cast<size_t>(columns - c)), magnitude));
  }
  return !hn::AllFalse(d, hn::Gt(largest, hn::Set(d, static_cast<T>(exponent - 1))));
}

bool special32(const std::byte* from, int64_t stride, int64_t rows, int64_t columns) {
  return special<int32_t, 0x7f800000>(from, stride, rows, columns);
}
bool special16(const std::byte* from, int64_t stride, int64_t rows, int64_t columns) {
  return special<int16_t, 0x7f80>(from, stride, rows, columns);
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {

HWY_EXPORT(transpose32);
HWY_EXPORT(special32);
HWY_EXPORT(special16);

namespace {

template <class T>
void transpose_plain(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride,
                     int64_t rows, int64_t columns) {
  constexpr int64_t tile = 16;  // keeps both sides in cache while a square is turned
  for (int64_t r0 = 0; r0 < rows; r0 += tile)
    for (int64_t c0 = 0; c0 < columns; c0 += tile)
      for (int64_t r = r0; r < std::min(rows, r0 + tile); ++r)
        for (int64_t c = c0; c < std::min(columns, c0 + tile); ++c)
          std::memcpy(to + c * to_stride + r * static_cast<int64_t>(sizeof(T)),
                      from + r * from_stride + c * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

}  // namespace

void transpose_block(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride,
                     int64_t rows, int64_t columns, size_t width) {
  switch (width) {
    case 1:
      return transpose_plain<uint8_t>(to, to_stride, from, from_stride, rows, columns);
    case 2:
      return transpose_plain<uint16_t>(to, to_stride, from, from_stride, rows, columns);
    case 4:
      return HWY_DYNAMIC_DISPATCH(transpose32)(to, to_stride, from, from_stride, rows, columns);
    default:
      return transpose_plain<uint64_t>(to, to_stride, from, from_stride, rows, columns);
  }
}

bool has_special(const std::byte* from, int64_t stride, int64_t rows, int64_t columns, DType dtype) {
  return dtype == DType::float32 ? HWY_DYNAMIC_DISPATCH(special32)(from, stride, rows, columns)
                                 : HWY_DYNAMIC_DISPATCH(special16)(from, stride, rows, columns);
}

}  // namespace heddle::systolic
#endif
