#include "cpu/kernels/normalize.h"

#include <algorithm>

#ifndef HEDDLE_CPU_NORMALIZE_ONCE
#define HEDDLE_CPU_NORMALIZE_ONCE
namespace heddle::cpu {
namespace {

struct NormIo {
  const void *x, *scale, *bias;
  void *y, *mean, *rstd;  // mean is null for rms_norm
};

struct NormGradIo {
  const void *dy, *x, *scale, *mean, *rstd;  // mean is null for rms_norm
  void *dx, *dscale, *dbias;
};

// Rows are summed in this many groups, whatever the number of threads, unless that is larger.
constexpr int64_t row_groups = 16;

int64_t groups_of(const NormRows& n, Threads threads) {
  return std::clamp<int64_t>(std::max<int64_t>(row_groups, threads.count), 1, std::max<int64_t>(1, n.rows));
}
// Elements between the sums of two groups: dscale, then dbias, each from a cache line on.
int64_t sum_length(const NormRows& n) { return (n.length + 15) / 16 * 16; }

}  // namespace
}  // namespace heddle::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/normalize.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

template <class T, class S>
void norm_rows(const NormRows& n, const NormIo& io, int64_t begin, int64_t end) {
  const WideTag<T> d;
  using W = Wide<T>;
  const S* scale = static_cast<const S*>(io.scale);
  const S* bias = static_cast<const S*>(io.bias);
  const bool centred = io.mean != nullptr;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(io.x) + row * n.length;
    T* y = static_cast<T*>(io.y) + row * n.length;
    W mean = 0;
    if (centred) {
      Sums<WideTag<T>> sum(d);
      steps(d, n.length, [&](int64_t i, auto count, int k) HWY_ATTR {
        sum.part[k] = hn::Add(sum.part[k], load_n(d, x + i, count));
      });
      mean = sum.total(d) / static_cast<W>(n.length);
      static_cast<W*>(io.mean)[row] = mean;
    }
    const auto middle = hn::Set(d, mean);
    Sums<WideTag<T>> squares(d);
    steps(d, n.length, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto distance = keep_n(d, hn::Sub(load_n(d, x + i, count), middle), count, W(0));
      squares.part[k] = hn::MulAdd(distance, distance, squares.part[k]);
    });
    const W rstd = W(1) / std::sqrt(squares.total(d) / static_cast<W>(n.length) + static_cast<W>(n.epsilon));
    static_cast<W*>(io.rstd)[row] = rstd;
    const auto factor = hn::Set(d, rstd);
    if (centred) {
      steps(d, n.length, [&](int64_t i, auto count, int) HWY_ATTR {
        const auto unit = hn::Mul(hn::Sub(load_n(d, x + i, count), middle), factor);
        store_n(hn::MulAdd(unit, load_n(d, scale + i, count), load_n(d, bias + i, count)), d, y + i, count);
      });
    } else {
      steps(d, n.length, [&](int64_t i, auto count, int) HWY_ATTR {
        store_n(hn::Mul(hn::Mul(load_n(d, x + i, count), factor), load_n(d, scale + i, count)), d, y + i,
                count);
      });
    }
  }
}

// Rows [begin, end): their dx, and their sums into dscale and (unless null) dbias, which start from zero.
template <class T, class S>
void norm_grad_rows(const NormRows& n, const NormGradIo& io, int64_t begin, int64_t end, Wide<T>* dscale,
                    Wide<T>* dbias) {
  const WideTag<T> d;
  using W = Wide<T>;
  const S* scale = static_cast<const S*>(io.scale);
  const bool centred = io.mean != nullptr;
  std::fill_n(dscale, n.length, W(0));
  if (centred) std::fill_n(dbias, n.length, W(0));
  const W share = W(1) / static_cast<W>(std::max<int64_t>(1, n.length));
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(io.x) + row * n.length;
    const T* dy = static_cast<const T*>(io.dy) + row * n.length;
    T* dx = static_cast<T*>(io.dx) + row * n.length;
    const auto middle = hn::Set(d, centred ? static_cast<const W*>(io.mean)[row] : W(0));
    const auto rstd = hn::Set(d, static_cast<const W*>(io.rstd)[row]);
    Sums<WideTag<T>> sum_g(d), sum_gn(d);
    steps(d, n.length, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto gradient = load_n(d, dy + i, count);
      const auto unit = hn::Mul(hn::Sub(load_n(d, x + i, count), middle), rstd);
      const auto g = hn::Mul(gradient, load_n(d, scale + i, count));
      sum_g.part[k] = hn::Add(sum_g.part[k], g);
      sum_gn.part[k] = hn::MulAdd(g, unit, sum_gn.part[k]);
      store_n(hn::MulAdd(gradient, unit, load_n(d, dscale + i, count)), d, dscale + i, count);
      if (centred) store_n(hn::Add(gradient, load_n(d, dbias + i, count)), d, dbias + i, count);
    });
    const auto mean_g = hn::Set(d, centred ? sum_g.total(d) * share : W(0));
    const auto mean_gn = hn::Set(d, sum_gn.total(d) * share);
    steps(d, n.length, [&](int64_t i, auto count, int) HWY_ATTR {
      const auto unit = hn::Mul(hn::Sub(load_n(d, x + i, count), middle), rstd);
      const auto g = hn::Mul(load_n(d, dy + i, count), load_n(d, scale + i, count));
      store_n(hn::Mul(rstd, hn::NegMulAdd(unit, mean_gn, hn::Sub(g, mean_g))), d, dx + i, count);
    });
  }
}

// Columns [begin, end) of dscale and dbias from the sums of the groups, in their order.
template <class T, class S>
void add_groups(const NormRows& n, const NormGradIo& io, const Wide<T>* sums, int64_t groups, int64_t begin,
                int64_t end) {
  const WideTag<T> d;
  const int64_t length = sum_length(n);
  for (int64_t which = 0; which < (io.mean != nullptr ? 2 : 1); ++which) {
    S* to = static_cast<S*>(which == 0 ? io.dscale : io.dbias) + begin;
    const Wide<T>* from = sums + which * length + begin;
    steps(d, end - begin, [&](int64_t i, auto count, int) HWY_ATTR {
      auto total = load_n(d, from + i, count);
      for (int64_t g = 1; g < groups; ++g)
        total = hn::Add(total, load_n(d, from + 2 * g * length + i, count));
      store_n(total, d, to + i, count);
    });
  }
}

// Calls f with the element type of x and of the weights.
template <class F>
void with_types(const NormRows& n, F f) {
  const bool wide = n.weight_dtype == DType::float32;
  switch (n.dtype) {
    case DType::float64:
      return f(double(), double());
    case DType::bfloat16:
      return wide ? f(bfloat16_t(), float()) : f(bfloat16_t(), bfloat16_t());
    case DType::float16:
      return wide ? f(float16_t(), float()) : f(float16_t(), float16_t());
    default:
      return f(float(), float());
  }
}

void norm_range(const NormRows& n, const NormIo& io, int64_t begin, int64_t end) {
  with_types(n, [&]<class T, class S>(T, S) { norm_rows<T, S>(n, io, begin, end); });
}

// Groups [begin, end) of the rows.
void norm_grad_range(const NormRows& n, const NormGradIo& io, void* sums, int64_t groups, int64_t begin,
                     int64_t end) {
  with_types(n, [&]<class T, class S>(T, S) {
    for (int64_t g = begin; g < end; ++g) {
      Wide<T>* dscale = static_cast<Wide<T>*>(sums) + 2 * g * sum_length(n);
      norm_grad_rows<T, S>(n, io, n.rows * g / groups, n.rows * (g + 1) / groups, dscale,
                           dscale + sum_length(n));
    }
  });
}

void norm_sum_range(const NormRows& n, const NormGradIo& io, void* sums, int64_t groups, int64_t begin,
                    int64_t end) {
  with_types(n, [&]<class T, class S>(T, S) {
    add_groups<T, S>(n, io, static_cast<const Wide<T>*>(sums), groups, begin, end);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {

HWY_EXPORT(norm_range);
HWY_EXPORT(norm_grad_range);
HWY_EXPORT(norm_sum_range);

void run(const NormRows& n, Threads threads, const NormIo& io) {
  parallel_for(threads, n.rows, grain_of(n.length), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(norm_range)(n, io, begin, end);
  });
}

void run_grad(const NormRows& n, Threads threads, const NormGradIo& io, void* scratch) {
  const int64_t groups = groups_of(n, threads);
  parallel_for(threads, groups, grain_of(n.length * (n.rows / groups)), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(norm_grad_range)(n, io, scratch, groups, begin, end);
  });
  const int64_t grain = (grain_of(2 * groups) + 15) / 16 * 16;
  parallel_for(threads, n.length, grain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(norm_sum_range)(n, io, scratch, groups, begin, end);
  });
}

}  // namespace

void layer_norm(const NormRows& n, Threads threads, const void* x, const void* scale, const void* bias,
                void* y, void* mean, void* rstd) {
  run(n, threads, {x, scale, bias, y, mean, rstd});
}

void rms_norm(const NormRows& n, Threads threads, const void* x, const void* scale, void* y, void* rstd) {
  run(n, threads, {x, scale, nullptr, y, nullptr, rstd});
}

size_t norm_grad_scratch_bytes(const NormRows& n, Threads threads) {
  return static_cast<size_t>(2 * groups_of(n, threads) * sum_length(n)) * (n.dtype == DType::float64 ? 8 : 4);
}

void layer_norm_grad(const NormRows& n, Threads threads, const void* dy, const void* x, const void* scale,
                     const void* mean, const void* rstd, void* dx, void* dscale, void* dbias, void* scratch) {
  run_grad(n, threads, {dy, x, scale, mean, rstd, dx, dscale, dbias}, scratch);
}

void rms_norm_grad(const NormRows& n, Threads threads, const void* dy, const void* x, const void* scale,
                   const void* rstd, void* dx, void* dscale, void* scratch) {
  run_grad(n, threads, {dy, x, scale, nullptr, rstd, dx, dscale, nullptr}, scratch);
}

}  // namespace heddle::cpu
#endif
