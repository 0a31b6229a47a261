// Ops along one axis: argmax, argmin and cumulative sum. Plain loops; where the axis is not the last one,
// they go side by side over the elements behind it.
#include <algorithm>
#include <cmath>

#include "core/element.h"
#include "cpu/kernels/reduce.h"

namespace heddle::cpu {
namespace {

constexpr int64_t side = 64;  // neighbours that go side by side

struct Extents {
  int64_t outer = 1, length = 1, inner = 1;
};
Extents extents(const Shape& x, int axis) {
  Extents e;
  for (int i = 0; i < x.rank(); ++i) (i < axis ? e.outer : i == axis ? e.length : e.inner) *= x[i];
  return e;
}

template <class T>
auto widened(const T& x) {
  if constexpr (StorageFloat<T>) {
    return to_float(x);
  } else {
    return x;
  }
}

// bool has the bytes and the order of uint8.
template <class F>
void visit(DType dtype, F&& f) {
  visit_dtype(dtype == DType::boolean ? DType::uint8 : dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (!std::is_same_v<T, bool>) f(type);
  });
}

// Whether v comes before `best`: beyond it, or NaN where that is not.
template <bool kLargest, class V>
bool beats(V v, V best) {
  if constexpr (std::is_floating_point_v<V>) {
    if (std::isnan(best)) return false;
    if (std::isnan(v)) return true;
  }
  return kLargest ? v > best : v < best;
}

template <bool kLargest, class T>
void arg_reduce(const T* x, int64_t length, int64_t inner, int64_t columns, int64_t* y) {
  using V = decltype(widened(*x));
  V best[side];
  for (int64_t c = 0; c < columns; ++c) best[c] = widened(x[c]), y[c] = 0;
  for (int64_t i = 1; i < length; ++i)
    for (int64_t c = 0; c < columns; ++c) {
      const V v = widened(x[i * inner + c]);
      if (beats<kLargest>(v, best[c])) best[c] = v, y[c] = i;
    }
}

template <class T>
void cumulative_sum(const T* x, int64_t length, int64_t inner, int64_t columns, bool exclusive, bool reverse,
                    T* y) {
  using A = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  A sums[side] = {};
  for (int64_t n = 0; n < length; ++n) {
    const int64_t i = (reverse ? length - 1 - n : n) * inner;
    for (int64_t c = 0; c < columns; ++c) {
      const A before = sums[c];
      sums[c] = before + static_cast<A>(widened(x[i + c]));
      const A result = exclusive ? before : sums[c];
      if constexpr (std::is_integral_v<T>) {
        y[i + c] = static_cast<T>(result);
      } else {
        y[i + c] = store_from_double<T>(result);
      }
    }
  }
}

// f(offset of the first element, how many go side by side, offset of the first output) for every line.
template <class F>
void each_line(const Extents& e, Threads threads, F&& f) {
  const int64_t blocks = (e.inner + side - 1) / side;
  const int64_t grain =
      std::max<int64_t>(1, 16384 / std::max<int64_t>(1, e.length * std::min(side, e.inner)));
  parallel_for(threads, e.outer * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t outer = task / blocks, first = task % blocks * side;
      f(outer * e.length * e.inner + first, std::min(side, e.inner - first), outer * e.inner + first);
    }
  });
}

}  // namespace

ArgReduce::ArgReduce(bool largest, DType dtype, const Shape& x, int axis) : largest_(largest), dtype_(dtype) {
  const Extents e = extents(x, axis);
  outer_ = e.outer, length_ = e.length, inner_ = e.inner;
}

void ArgReduce::run(const void* x, int64_t* y, Threads threads) const {
  if (length_ == 0) return;
  visit(dtype_, [&]<class T>(std::type_identity<T>) {
    each_line({outer_, length_, inner_}, threads, [&](int64_t from, int64_t columns, int64_t to) {
      const T* line = static_cast<const T*>(x) + from;
      if (largest_)
        arg_reduce<true>(line, length_, inner_, columns, y + to);
      else
        arg_reduce<false>(line, length_, inner_, columns, y + to);
    });
  });
}

CumulativeSum::CumulativeSum(DType dtype, const Shape& x, int axis, bool exclusive, bool reverse)
    : dtype_(dtype), exclusive_(exclusive), reverse_(reverse) {
  const Extents e = extents(x, axis);
  outer_ = e.outer, length_ = e.length, inner_ = e.inner;
}

void CumulativeSum::run(const void* x, void* y, Threads threads) const {
  visit(dtype_, [&]<class T>(std::type_identity<T>) {
    each_line({outer_, length_, inner_}, threads, [&](int64_t from, int64_t columns, int64_t) {
      cumulative_sum(static_cast<const T*>(x) + from, length_, inner_, columns, exclusive_, reverse_,
                     static_cast<T*>(y) + from);
    });
  });
}

}  // namespace heddle::cpu
