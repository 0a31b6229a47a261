#include "cpu/kernels/softmax.h"

#include <algorithm>

#ifndef HEDDLE_CPU_SOFTMAX_ONCE
#define HEDDLE_CPU_SOFTMAX_ONCE
namespace heddle::cpu {
namespace {

enum class SoftmaxKind { softmax, log_softmax, gradient };

// Lines that are not contiguous are taken in groups of neighbours.
constexpr int64_t group_columns = 64;
int64_t columns_per_outer(const SoftmaxLines& lines) {
  return (lines.inner + group_columns - 1) / group_columns;
}

}  // namespace
}  // namespace heddle::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/softmax.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

template <class T>
void softmax_row(int64_t n, const T* x, T* y) {
  const WideTag<T> d;
  using W = Wide<T>;
  Maxima<WideTag<T>> top(d);
  steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
    const auto v = keep_n(d, load_n(d, x + i, count), count, -std::numeric_limits<W>::infinity());
    top.part[k] = hn::Max(top.part[k], v);
  });
  const auto base = hn::Set(d, top.total(d));
  Sums<WideTag<T>> sum(d);
  // Exponentials are kept in y where they fit; 16-bit ones are computed again rather than rounded twice.
  constexpr bool keeps = std::is_same_v<T, W>;
  steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
    const auto e = exp_falling(d, hn::Sub(load_n(d, x + i, count), base));
    sum.part[k] = hn::Add(sum.part[k], keep_n(d, e, count, W(0)));
    if constexpr (keeps) store_n(e, d, y + i, count);
  });
  const auto factor = hn::Set(d, W(1) / sum.total(d));
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    if constexpr (keeps) {
      store_n(hn::Mul(load_n(d, y + i, count), factor), d, y + i, count);
    } else {
      store_n(hn::Mul(exp_falling(d, hn::Sub(load_n(d, x + i, count), base)), factor), d, y + i, count);
    }
  });
}

template <class T>
void log_softmax_row(int64_t n, const T* x, T* y) {
  const WideTag<T> d;
  using W = Wide<T>;
  Maxima<WideTag<T>> top(d);
  steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
    const auto v = keep_n(d, load_n(d, x + i, count), count, -std::numeric_limits<W>::infinity());
    top.part[k] = hn::Max(top.part[k], v);
  });
  const auto base = hn::Set(d, top.total(d));
  Sums<WideTag<T>> sum(d);
  steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
    const auto e = exp_falling(d, hn::Sub(load_n(d, x + i, count), base));
    sum.part[k] = hn::Add(sum.part[k], keep_n(d, e, count, W(0)));
  });
  const auto spread = log(d, hn::Set(d, sum.total(d)));
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    store_n(hn::Sub(hn::Sub(load_n(d, x + i, count), base), spread), d, y + i, count);
  });
}

template <class T>
void softmax_grad_row(int64_t n, const T* y, const T* dy, T* dx) {
  const WideTag<T> d;
  Sums<WideTag<T>> sum(d);
  steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
    sum.part[k] = hn::MulAdd(load_n(d, y + i, count), load_n(d, dy + i, count), sum.part[k]);
  });
  const auto mean = hn::Set(d, sum.total(d));
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    store_n(hn::Mul(load_n(d, y + i, count), hn::Sub(load_n(d, dy + i, count), mean)), d, dx + i, count);
  });
}

// The same for neighbouring lines, whose elements are `stride` apart: four vectors of them, or one, or
// `count` lanes.
template <int kVectors, class T, class Count>
void softmax_columns(int64_t n, int64_t stride, const T* x, T* y, Count count, bool logarithm) {
  const WideTag<T> d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<WideTag<T>> top[kVectors], spread[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    top[v] = hn::Set(d, -std::numeric_limits<Wide<T>>::infinity());
    spread[v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < n; ++i)
    for (size_t v = 0; v < kVectors; ++v)
      top[v] = hn::Max(top[v], load_n(d, x + i * stride + v * lanes, count));
  for (int64_t i = 0; i < n; ++i)
    for (size_t v = 0; v < kVectors; ++v)
      spread[v] =
          hn::Add(spread[v], exp_falling(d, hn::Sub(load_n(d, x + i * stride + v * lanes, count), top[v])));
  for (int v = 0; v < kVectors; ++v)
    spread[v] = logarithm ? log(d, spread[v]) : hn::Div(hn::Set(d, 1), spread[v]);
  for (int64_t i = 0; i < n; ++i)
    for (size_t v = 0; v < kVectors; ++v) {
      const auto distance = hn::Sub(load_n(d, x + i * stride + v * lanes, count), top[v]);
      const auto result =
          logarithm ? hn::Sub(distance, spread[v]) : hn::Mul(exp_falling(d, distance), spread[v]);
      store_n(result, d, y + i * stride + v * lanes, count);
    }
}

template <int kVectors, class T, class Count>
void softmax_grad_columns(int64_t n, int64_t stride, const T* y, const T* dy, T* dx, Count count) {
  const WideTag<T> d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<WideTag<T>> sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
  for (int64_t i = 0; i < n; ++i)
    for (size_t v = 0; v < kVectors; ++v) {
      const int64_t at = i * stride + static_cast<int64_t>(v * lanes);
      sum[v] = hn::MulAdd(load_n(d, y + at, count), load_n(d, dy + at, count), sum[v]);
    }
  for (int64_t i = 0; i < n; ++i)
    for (size_t v = 0; v < kVectors; ++v) {
      const int64_t at = i * stride + static_cast<int64_t>(v * lanes);
      store_n(hn::Mul(load_n(d, y + at, count), hn::Sub(load_n(d, dy + at, count), sum[v])), d, dx + at,
              count);
    }
}

template <class T>
void softmax_lines(SoftmaxKind kind, const SoftmaxLines& lines, const void* first, const void* second,
                   void* to, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(first);
  const T* dy = static_cast<const T*>(second);
  T* y = static_cast<T*>(to);
  const auto lanes = static_cast<int64_t>(hn::Lanes(WideTag<T>()));
  const int64_t n = lines.length, stride = lines.inner;
  for (int64_t task = begin; task < end; ++task) {
    if (stride == 1) {
      const int64_t at = task * n;
      if (kind == SoftmaxKind::softmax) softmax_row(n, x + at, y + at);
      if (kind == SoftmaxKind::log_softmax) log_softmax_row(n, x + at, y + at);
      if (kind == SoftmaxKind::gradient) softmax_grad_row(n, x + at, dy + at, y + at);
      continue;
    }
    const int64_t first_column = task % columns_per_outer(lines) * group_columns;
    const int64_t last_column = std::min(stride, first_column + group_columns);
    const auto run = [&]<int kVectors>(std::integral_constant<int, kVectors>, int64_t column,
                                       auto count) HWY_ATTR {
      const int64_t at = task / columns_per_outer(lines) * n * stride + column;
      if (kind == SoftmaxKind::gradient) {
        softmax_grad_columns<kVectors>(n, stride, x + at, dy + at, y + at, count);
      } else {
        softmax_columns<kVectors>(n, stride, x + at, y + at, count, kind == SoftmaxKind::log_softmax);
      }
    };
    const std::integral_constant<int, 4> four;
    const std::integral_constant<int, 1> one;
    int64_t column = first_column;
    for (; column + 4 * lanes <= last_column; column += 4 * lanes) run(four, column, Whole());
    for (; column + lanes <= last_column; column += lanes) run(one, column, Whole());
    if (column < last_column) run(one, column, static_cast<size_t>(last_column - column));
  }
}

void softmax_range(SoftmaxKind kind, const SoftmaxLines& lines, const void* first, const void* second,
                   void* to, int64_t begin, int64_t end) {
  switch (lines.dtype) {
    case DType::float64:
      return softmax_lines<double>(kind, lines, first, second, to, begin, end);
    case DType::bfloat16:
      return softmax_lines<bfloat16_t>(kind, lines, first, second, to, begin, end);
    case DType::float16:
      return softmax_lines<float16_t>(kind, lines, first, second, to, begin, end);
    default:
      return softmax_lines<float>(kind, lines, first, second, to, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {

HWY_EXPORT(softmax_range);

void run(SoftmaxKind kind, const SoftmaxLines& lines, Threads threads, const void* first, const void* second,
         void* to) {
  if (lines.inner == 0) return;
  const bool rows = lines.inner == 1;
  const int64_t tasks = lines.outer * (rows ? 1 : columns_per_outer(lines));
  const int64_t elements = lines.length * (rows ? 1 : std::min(lines.inner, group_columns));
  parallel_for(threads, tasks, grain_of(elements), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(softmax_range)(kind, lines, first, second, to, begin, end);
  });
}

}  // namespace

void softmax(const SoftmaxLines& lines, Threads threads, const void* x, void* y) {
  run(SoftmaxKind::softmax, lines, threads, x, nullptr, y);
}
void log_softmax(const SoftmaxLines& lines, Threads threads, const void* x, void* y) {
  run(SoftmaxKind::log_softmax, lines, threads, x, nullptr, y);
}
void softmax_grad(const SoftmaxLines& lines, Threads threads, const void* y, const void* dy, void* dx) {
  run(SoftmaxKind::gradient, lines, threads, y, dy, dx);
}

}  // namespace heddle::cpu
#endif
