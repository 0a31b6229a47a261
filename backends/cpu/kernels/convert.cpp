// Conversions. The pairs that models use in every step are vectorised; the others go by way of a wide type, a
// short stretch at a time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/convert.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "core/element.h"
#include "cpu/kernels/convert.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

// Between float32, bfloat16 and float16, by way of float32.
template <class From, class To>
void narrow_pair(const void* x, void* y, int64_t n) {
  const hn::ScalableTag<float> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<float>()));
  const auto* from = static_cast<const From*>(x);
  auto* to = static_cast<To*>(y);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(load(d, from + i), d, to + i);
  if (i < n) store_n(load_n(d, from + i, static_cast<size_t>(n - i)), d, to + i, static_cast<size_t>(n - i));
}

// Whether the pair is one of these; then it is done.
bool convert_vector(DType from, DType to, const void* x, void* y, int64_t n) {
  using enum DType;
  if (from == float32 && to == bfloat16) return narrow_pair<float, bfloat16_t>(x, y, n), true;
  if (from == float32 && to == float16) return narrow_pair<float, float16_t>(x, y, n), true;
  if (from == bfloat16 && to == float32) return narrow_pair<bfloat16_t, float>(x, y, n), true;
  if (from == bfloat16 && to == float16) return narrow_pair<bfloat16_t, float16_t>(x, y, n), true;
  if (from == float16 && to == float32) return narrow_pair<float16_t, float>(x, y, n), true;
  if (from == float16 && to == bfloat16) return narrow_pair<float16_t, bfloat16_t>(x, y, n), true;
  return false;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(convert_vector);

namespace {

constexpr int64_t stretch = 512;

template <class From, class To>
void convert_loop(const void* x, void* y, int64_t n) {
  const auto* from = static_cast<const From*>(x);
  auto* to = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) to[i] = convert_element<To>(from[i]);
}

// Pairs of native types whose loops compilers vectorise.
bool convert_native(DType from, DType to, const void* x, void* y, int64_t n) {
  using enum DType;
  if (from == float32 && to == float64) return convert_loop<float, double>(x, y, n), true;
  if (from == float64 && to == float32) {
    const auto* a = static_cast<const double*>(x);
    auto* b = static_cast<float*>(y);
    for (int64_t i = 0; i < n; ++i) b[i] = static_cast<float>(a[i]);
    return true;
  }
  if (from == int32 && to == float32) return convert_loop<int32_t, float>(x, y, n), true;
  if (from == int64 && to == float32) return convert_loop<int64_t, float>(x, y, n), true;
  if (from == int32 && to == int64) return convert_loop<int32_t, int64_t>(x, y, n), true;
  if (from == int64 && to == int32) return convert_loop<int64_t, int32_t>(x, y, n), true;
  if (from == boolean && to == float32) {
    const auto* a = static_cast<const uint8_t*>(x);
    auto* b = static_cast<float*>(y);
    for (int64_t i = 0; i < n; ++i) b[i] = a[i] != 0 ? 1.0f : 0.0f;
    return true;
  }
  return false;
}

// Any pair: floats and bool by way of double, which holds each exactly; integers by way of 64 bits.
void convert_any(DType from, DType to, const void* x, void* y, int64_t n) {
  const auto by_way_of = [&]<class Wide>(std::type_identity<Wide>) {
    for (int64_t first = 0; first < n; first += stretch) {
      Wide wide[stretch];
      const int64_t part = std::min(stretch, n - first);
      visit_dtype(from, [&]<class T>(std::type_identity<T>) {
        const T* source = static_cast<const T*>(x) + first;
        if constexpr (std::is_same_v<Wide, double>) {
          for (int64_t i = 0; i < part; ++i) wide[i] = load_as_double(source[i]);
        } else if constexpr (std::is_integral_v<T>) {
          for (int64_t i = 0; i < part; ++i) wide[i] = static_cast<Wide>(source[i]);
        }
      });
      visit_dtype(to, [&]<class T>(std::type_identity<T>) {
        T* target = static_cast<T*>(y) + first;
        for (int64_t i = 0; i < part; ++i) target[i] = convert_element<T>(wide[i]);
      });
    }
  };
  if (from == DType::uint64) return by_way_of(std::type_identity<uint64_t>{});
  if (is_integer(from)) return by_way_of(std::type_identity<int64_t>{});
  return by_way_of(std::type_identity<double>{});
}

}  // namespace

void convert(DType from, DType to, const void* x, void* y, int64_t elements, Threads threads) {
  const auto from_bytes = static_cast<int64_t>(size_of(from)), to_bytes = static_cast<int64_t>(size_of(to));
  const auto vector = HWY_DYNAMIC_DISPATCH(convert_vector);
  constexpr int64_t grain = 16 * 1024;
  parallel_for(threads, elements, grain, [&](int64_t begin, int64_t end) {
    const void* source = static_cast<const std::byte*>(x) + begin * from_bytes;
    void* target = static_cast<std::byte*>(y) + begin * to_bytes;
    const int64_t n = end - begin;
    if (from == to && from != DType::boolean) {
      if (source != target) std::memcpy(target, source, static_cast<size_t>(n * to_bytes));
    } else if (!vector(from, to, source, target, n) && !convert_native(from, to, source, target, n)) {
      convert_any(from, to, source, target, n);
    }
  });
}

}  // namespace heddle::cpu
#endif
