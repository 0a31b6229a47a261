// Rows between memory and registers: every dtype, dense or strided.
#include <cstring>
#include <type_traits>

#include "core/element.h"
#include "systolic/engines/row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "systolic/engines/row_convert.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// bfloat16 is the upper half of a float32: shifts and a rounding add, the same on every host.
void load_bfloat16(void* registers, const std::byte* from, int64_t, size_t n) {
  const hn::ScalableTag<uint32_t> d;
  const hn::Rebind<uint16_t, decltype(d)> half;
  auto* out = static_cast<uint32_t*>(registers);
  const auto* in = static_cast<const uint16_t*>(static_cast<const void*>(from));
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(half, in + i))), d, out + i);
  for (; i < n; ++i) out[i] = static_cast<uint32_t>(in[i]) << 16;
}

void store_bfloat16(std::byte* to, int64_t, const void* registers, size_t n) {
  const hn::ScalableTag<float> df;
  const hn::ScalableTag<uint32_t> d;
  const hn::ScalableTag<int32_t> di;
  const hn::Rebind<uint16_t, decltype(di)> half;
  const auto* in = static_cast<const float*>(registers);
  auto* out = static_cast<uint16_t*>(static_cast<void*>(to));
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto f = hn::LoadU(df, in + i);
    const auto bits = hn::BitCast(d, f);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::Set(d, 0x7fffu), odd)));
    const auto nan = hn::Or(hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 0x8000u)), hn::Set(d, 0x7fc0u));
    const auto is_nan = hn::RebindMask(d, hn::IsNaN(f));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(di, hn::IfThenElse(is_nan, nan, rounded))), half, out + i);
  }
  for (; i < n; ++i) out[i] = to_bfloat16(in[i]).bits;
}

RowLoader bfloat16_loader() { return load_bfloat16; }
RowStorer bfloat16_storer() { return store_bfloat16; }

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::systolic {

HWY_EXPORT(bfloat16_loader);
HWY_EXPORT(bfloat16_storer);

namespace {

// bool rows are bytes: any non-zero byte is true.
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <class T, class R>
R to_register(const Stored<T>& v) {
  if constexpr (std::is_same_v<T, bool>)
    return v != 0 ? R{1} : R{0};
  else
    return convert_element<R>(v);
}
template <class T, class R>
Stored<T> from_register(R v) {
  if constexpr (std::is_same_v<T, bool>)
    return v != 0;
  else
    return convert_element<T>(v);
}

template <class T, class R, bool dense>
void load(void* registers, const std::byte* from, int64_t stride, size_t n) {
  auto* out = static_cast<R*>(registers);
  if constexpr (dense) {
    const auto* in = static_cast<const Stored<T>*>(static_cast<const void*>(from));
    for (size_t i = 0; i < n; ++i) out[i] = to_register<T, R>(in[i]);
  } else {
    for (size_t i = 0; i < n; ++i, from += stride)
      out[i] = to_register<T, R>(*static_cast<const Stored<T>*>(static_cast<const void*>(from)));
  }
}

template <class T, class R, bool dense>
void store(std::byte* to, int64_t stride, const void* registers, size_t n) {
  const auto* in = static_cast<const R*>(registers);
  if constexpr (dense) {
    auto* out = static_cast<Stored<T>*>(static_cast<void*>(to));
    for (size_t i = 0; i < n; ++i) out[i] = from_register<T, R>(in[i]);
  } else {
    for (size_t i = 0; i < n; ++i, to += stride)
      *static_cast<Stored<T>*>(static_cast<void*>(to)) = from_register<T, R>(in[i]);
  }
}

template <class R>
RowLoader loader(DType dtype, bool dense) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> RowLoader {
    return dense ? load<T, R, true> : load<T, R, false>;
  });
}
template <class R>
RowStorer storer(DType dtype, bool dense) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> RowStorer {
    return dense ? store<T, R, true> : store<T, R, false>;
  });
}

}  // namespace

bool is_register(DType dtype, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) return dtype == DType::float32;
  return dtype == DType::int32 || dtype == DType::uint32;
}

RowLoader row_loader(DType dtype, bool dense, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) {
    if (dense && dtype == DType::bfloat16) return HWY_DYNAMIC_DISPATCH(bfloat16_loader)();
    return loader<float>(dtype, dense);
  }
  return arithmetic == Arithmetic::uint32 ? loader<uint32_t>(dtype, dense) : loader<int32_t>(dtype, dense);
}

RowStorer row_storer(DType dtype, bool dense, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) {
    if (dense && dtype == DType::bfloat16) return HWY_DYNAMIC_DISPATCH(bfloat16_storer)();
    return storer<float>(dtype, dense);
  }
  return arithmetic == Arithmetic::uint32 ? storer<uint32_t>(dtype, dense) : storer<int32_t>(dtype, dense);
}

}  // namespace heddle::systolic
#endif
