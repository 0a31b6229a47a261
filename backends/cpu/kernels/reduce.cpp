// Reductions over any axes: runs of contiguous elements, vectorised along the run.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/reduce.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/element.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
inline constexpr bool is_real = !std::is_integral_v<T>;
template <class T>
inline constexpr bool is_float8 = std::is_same_v<T, float8_e4m3_t> || std::is_same_v<T, float8_e5m2_t>;

// What an output is accumulated in, across runs.
template <ReduceKind kKind, class T>
using Sum = std::conditional_t<kKind == ReduceKind::max || kKind == ReduceKind::min,
                               std::conditional_t<is_real<T>, Wide<T>, T>,
                               std::conditional_t<is_real<T>, double, uint64_t>>;

template <ReduceKind kKind, class A>
constexpr A identity() {
  using Limits = std::numeric_limits<A>;
  if constexpr (kKind == ReduceKind::max)
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  if constexpr (kKind == ReduceKind::min) return Limits::has_infinity ? Limits::infinity() : Limits::max();
  return kKind == ReduceKind::prod ? A{1} : A{0};
}

template <ReduceKind kKind, class A>
HWY_INLINE A combine(A a, A b) {
  if constexpr (kKind == ReduceKind::max || kKind == ReduceKind::min) {
    if constexpr (std::is_floating_point_v<A>) {
      if (std::isnan(a) || std::isnan(b)) return a + b;
    }
    if constexpr (kKind == ReduceKind::max) return a < b ? b : a;
    return b < a ? b : a;
  } else if constexpr (kKind == ReduceKind::prod) {
    return a * b;
  } else {
    return a + b;
  }
}

template <class A, class T>
HWY_INLINE A widened(const T& x) {
  if constexpr (is_real<T> && !std::is_same_v<T, float> && !std::is_same_v<T, double>) {
    return static_cast<A>(to_float(x));
  } else {
    return static_cast<A>(x);
  }
}

// The sum of n floats: lanes in parallel over short stretches, those in double.
template <class T>
double sum_run(const T* x, int64_t n) {
  const hn::ScalableTag<Wide<T>> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<Wide<T>>()));
  double total = 0;
  while (n > 0) {
    const int64_t stretch = std::min<int64_t>(n, 4096);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    int64_t i = 0;
    for (; i + 4 * lanes <= stretch; i += 4 * lanes) {
      s0 = hn::Add(s0, load(d, x + i));
      s1 = hn::Add(s1, load(d, x + i + lanes));
      s2 = hn::Add(s2, load(d, x + i + 2 * lanes));
      s3 = hn::Add(s3, load(d, x + i + 3 * lanes));
    }
    for (; i + lanes <= stretch; i += lanes) s0 = hn::Add(s0, load(d, x + i));
    if (i < stretch) s1 = hn::Add(s1, load_n(d, x + i, static_cast<size_t>(stretch - i)));
    total += static_cast<double>(sum_of(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
    x += stretch;
    n -= stretch;
  }
  return total;
}

// The largest (smallest) of n floats, NaN if one is.
template <ReduceKind kKind, class T>
Wide<T> extreme_run(const T* x, int64_t n) {
  using A = Wide<T>;
  const hn::ScalableTag<A> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<A>()));
  constexpr A start = identity<kKind, A>();
  auto e0 = hn::Set(d, start), e1 = e0;
  auto nan0 = hn::Zero(d), nan1 = nan0;  // NaN in the lanes that met one, for 0 * NaN is NaN
  const auto take = [&](auto v, auto& extreme, auto& nan) HWY_ATTR {
    nan = hn::IfThenElse(hn::IsNaN(v), v, nan);
    extreme = kKind == ReduceKind::max ? hn::Max(extreme, v) : hn::Min(extreme, v);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    take(load(d, x + i), e0, nan0);
    take(load(d, x + i + lanes), e1, nan1);
  }
  for (; i + lanes <= n; i += lanes) take(load(d, x + i), e0, nan0);
  A lane[hn::MaxLanes(hn::ScalableTag<A>())];
  A result = start;
  for (const auto& [extreme, nan] : {std::pair{e0, nan0}, std::pair{e1, nan1}}) {
    hn::StoreU(nan, d, lane);
    for (int64_t l = 0; l < lanes; ++l)
      if (std::isnan(lane[l])) return lane[l];
    hn::StoreU(extreme, d, lane);
    for (int64_t l = 0; l < lanes; ++l) result = combine<kKind>(result, lane[l]);
  }
  for (; i < n; ++i) result = combine<kKind>(result, widened<A>(x[i]));
  return result;
}

template <ReduceKind kKind, class T>
Sum<kKind, T> reduce_run(const T* x, int64_t n) {
  using A = Sum<kKind, T>;
  if constexpr (is_float8<T>) {
    float wide[256];
    A total = identity<kKind, A>();
    for (int64_t i = 0; i < n; i += 256) {
      const int64_t part = std::min<int64_t>(256, n - i);
      for (int64_t j = 0; j < part; ++j) wide[j] = to_float(x[i + j]);
      total = combine<kKind>(total, static_cast<A>(reduce_run<kKind, float>(wide, part)));
    }
    return total;
  } else if constexpr (is_real<T> && (kKind == ReduceKind::sum || kKind == ReduceKind::mean)) {
    return sum_run(x, n);
  } else if constexpr (is_real<T> && kKind != ReduceKind::prod) {
    return extreme_run<kKind>(x, n);
  } else {
    A total = identity<kKind, A>();
    for (int64_t i = 0; i < n; ++i) total = combine<kKind>(total, widened<A>(x[i]));
    return total;
  }
}

// sums[i] = combine(sums[i], x[i])
template <ReduceKind kKind, class T>
void reduce_columns(const T* x, int64_t n, Sum<kKind, T>* HWY_RESTRICT sums) {
  using A = Sum<kKind, T>;
  int64_t i = 0;
  if constexpr (std::is_same_v<T, float> && std::is_same_v<A, double> && kKind != ReduceKind::prod) {
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> half;
    constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<double>()));
    for (; i + lanes <= n; i += lanes)
      hn::StoreU(hn::Add(hn::LoadU(d, sums + i), hn::PromoteTo(d, hn::LoadU(half, x + i))), d, sums + i);
  } else if constexpr (is_real<T> && !is_float8<T> && std::is_same_v<A, Wide<T>> &&
                       kKind != ReduceKind::prod) {
    const hn::ScalableTag<A> d;
    constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<A>()));
    for (; i + lanes <= n; i += lanes) {
      const auto v = load(d, x + i), sum = hn::LoadU(d, sums + i);
      if constexpr (kKind == ReduceKind::max || kKind == ReduceKind::min) {
        const auto extreme = kKind == ReduceKind::max ? hn::Max(sum, v) : hn::Min(sum, v);
        const auto kept = hn::IfThenElse(hn::IsNaN(sum), sum, extreme);
        hn::StoreU(hn::IfThenElse(hn::IsNaN(v), v, kept), d, sums + i);
      } else {
        hn::StoreU(hn::Add(sum, v), d, sums + i);
      }
    }
  } else if constexpr (is_real<T> && !is_float8<T> &&
                       kKind != ReduceKind::prod) {  // sixteen bits, summed in double
    const hn::ScalableTag<float> d;
    constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<float>()));
    float wide[hn::MaxLanes(hn::ScalableTag<float>())];
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(load(d, x + i), d, wide);
      reduce_columns<kKind, float>(wide, lanes, sums + i);
    }
  }
  for (; i < n; ++i) sums[i] = combine<kKind>(sums[i], widened<A>(x[i]));
}

template <ReduceKind kKind, class T, class A>
T finished(A total, int64_t length) {
  if constexpr (kKind == ReduceKind::mean) {
    return store_from_double<T>(static_cast<double>(total) / static_cast<double>(length));
  } else if constexpr (is_real<T>) {
    return store_from_double<T>(static_cast<double>(total));
  } else {
    return static_cast<T>(total);
  }
}

template <ReduceKind kKind, class T>
void run_rows(const Reduce::Walk& w, const T* x, T* y, void* scratch, Threads threads) {
  using A = Sum<kKind, T>;
  auto* partial = static_cast<A*>(scratch);
  const auto slice = [&](int64_t output, int64_t s) HWY_ATTR {
    const T* from = x + w.kept.offset(output);
    A total = identity<kKind, A>();
    for (int64_t unit = w.units * s / w.slices; unit < w.units * (s + 1) / w.slices; ++unit) {
      const int64_t first = unit % w.pieces * Reduce::piece;
      total = combine<kKind>(total, reduce_run<kKind>(from + w.reduced.offset(unit / w.pieces) + first,
                                                      std::min(Reduce::piece, w.width - first)));
    }
    return total;
  };
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, w.length / w.slices));
  parallel_for(threads, w.outputs * w.slices, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t task = begin; task < end; ++task) {
      const A total = slice(task / w.slices, task % w.slices);
      if (w.slices == 1)
        y[task] = finished<kKind, T>(total, w.length);
      else
        partial[task] = total;
    }
  });
  if (w.slices == 1) return;
  for (int64_t output = 0; output < w.outputs; ++output) {
    A total = identity<kKind, A>();
    for (int64_t s = 0; s < w.slices; ++s) total = combine<kKind>(total, partial[output * w.slices + s]);
    y[output] = finished<kKind, T>(total, w.length);
  }
}

template <ReduceKind kKind, class T>
void run_columns(const Reduce::Walk& w, const T* x, T* y, void* scratch, Threads threads) {
  using A = Sum<kKind, T>;
  auto* sums = static_cast<A*>(scratch);
  const auto finish = [&](int64_t task, const A* from) HWY_ATTR {
    const int64_t kept = task / w.blocks, first = task % w.blocks * Reduce::block;
    for (int64_t c = 0; c < std::min(Reduce::block, w.width - first); ++c)
      y[kept * w.width + first + c] = finished<kKind, T>(from[c], w.length);
  };
  const int64_t tasks = w.kept.count() * w.blocks;
  // The sums of a task have `block` places; those of folded rows come round again every `width`.
  parallel_tasks(threads, tasks * w.slices, [&](int64_t work, int thread) HWY_ATTR {
    const int64_t task = work / w.slices, s = work % w.slices;
    const int64_t first = task % w.blocks * Reduce::block;
    const T* from = x + w.kept.offset(task / w.blocks) + first;
    A* to = sums + (w.slices == 1 ? thread : work) * Reduce::block;
    const int64_t columns = std::min(Reduce::block, w.width - first);
    std::fill_n(to, columns * w.fold, identity<kKind, A>());
    const int64_t folds = w.rows == 0 ? 0 : (w.rows + w.fold - 1) / w.fold;
    for (int64_t unit = w.units * s / w.slices; unit < w.units * (s + 1) / w.slices; ++unit) {
      const int64_t row = unit % folds * w.fold;
      reduce_columns<kKind>(from + w.reduced.offset(unit / folds) + row * w.width,
                            w.fold == 1 ? columns : std::min(w.fold, w.rows - row) * w.width, to);
    }
    for (int64_t f = 1; f < w.fold; ++f)
      for (int64_t c = 0; c < columns; ++c) to[c] = combine<kKind>(to[c], to[f * columns + c]);
    if (w.slices == 1) finish(task, to);
  });
  if (w.slices == 1) return;
  parallel_for(threads, tasks, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t task = begin; task < end; ++task) {
      A* total = sums + task * w.slices * Reduce::block;
      const int64_t columns = std::min(Reduce::block, w.width - task % w.blocks * Reduce::block);
      for (int64_t s = 1; s < w.slices; ++s)
        for (int64_t c = 0; c < columns; ++c)
          total[c] = combine<kKind>(total[c], total[s * Reduce::block + c]);
      finish(task, total);
    }
  });
}

template <ReduceKind kKind>
void run_kind(const Reduce::Walk& w, const void* x, void* y, void* scratch, Threads threads) {
  const auto run = [&]<class T>(std::type_identity<T>) {
    if constexpr (kKind != ReduceKind::mean || is_real<T>) {
      if (w.columns)
        run_columns<kKind>(w, static_cast<const T*>(x), static_cast<T*>(y), scratch, threads);
      else
        run_rows<kKind>(w, static_cast<const T*>(x), static_cast<T*>(y), scratch, threads);
    }
  };
  // bool has the bytes and the order of uint8.
  if (w.dtype == DType::boolean) return run(std::type_identity<uint8_t>{});
  visit_dtype(w.dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (!std::is_same_v<T, bool>) run(type);
  });
}

void run_reduce(const Reduce::Walk& w, const void* x, void* y, void* scratch, Threads threads) {
  switch (w.kind) {
    case ReduceKind::sum:
      return run_kind<ReduceKind::sum>(w, x, y, scratch, threads);
    case ReduceKind::mean:
      return run_kind<ReduceKind::mean>(w, x, y, scratch, threads);
    case ReduceKind::max:
      return run_kind<ReduceKind::max>(w, x, y, scratch, threads);
    case ReduceKind::min:
      return run_kind<ReduceKind::min>(w, x, y, scratch, threads);
    case ReduceKind::prod:
      return run_kind<ReduceKind::prod>(w, x, y, scratch, threads);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(run_reduce);

int64_t Reduce::Axes::count() const {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= size[static_cast<size_t>(i)];
  return n;
}

int64_t Reduce::Axes::offset(int64_t index) const {
  int64_t at = 0;
  for (int i = rank; i-- > 0;) {
    const auto axis = static_cast<size_t>(i);
    at += index % size[axis] * stride[axis];
    index /= size[axis];
  }
  return at;
}

Reduce::Reduce(ReduceKind kind, DType dtype, const Shape& x, std::span<const int64_t> axes) {
  Walk& w = walk_;
  w.kind = kind;
  w.dtype = dtype;
  w.length = 1;
  w.outputs = 1;
  // Neighbouring axes with the same fate become one.
  struct Group {
    bool reduced;
    int64_t size, stride;
  };
  std::array<Group, max_rank> groups{};
  int count = 0;
  const auto strides = row_major_strides(x);
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = std::find(axes.begin(), axes.end(), i) != axes.end();
    (reduced ? w.length : w.outputs) *= x[i];
    if (x[i] == 1) continue;
    const Group group{reduced, x[i], strides[static_cast<size_t>(i)]};
    Group* outer = count > 0 ? &groups[static_cast<size_t>(count - 1)] : nullptr;
    if (outer != nullptr && outer->reduced == reduced)
      *outer = {reduced, outer->size * x[i], group.stride};
    else
      groups[static_cast<size_t>(count++)] = group;
  }
  const auto add = [](Axes& to, const Group& group) {
    const auto at = static_cast<size_t>(to.rank++);
    to.size[at] = group.size;
    to.stride[at] = group.stride;
  };
  for (int i = 0; i + 1 < count; ++i)
    add(groups[static_cast<size_t>(i)].reduced ? w.reduced : w.kept, groups[static_cast<size_t>(i)]);
  if (count > 0) {
    const Group& last = groups[static_cast<size_t>(count - 1)];
    w.width = last.size;
    w.columns = !last.reduced;
  }
  if (w.outputs == 0) return;
  // Slices of what is reduced, where the outputs alone would not keep many threads busy.
  constexpr int64_t slice_elements = 32768, few = 64;
  if (w.columns) {
    w.rows = 1;
    if (w.reduced.rank > 0) {
      const auto last =
          static_cast<size_t>(--w.reduced.rank);  // its rows are `width` apart: it is next to the columns
      w.rows = w.reduced.size[last];
    }
    w.blocks = (w.width + block - 1) / block;
    if (w.width <= 64) w.fold = std::clamp<int64_t>(256 / w.width, 1, std::max<int64_t>(1, w.rows));
    w.units = w.length == 0 ? 0 : w.reduced.count() * ((w.rows + w.fold - 1) / w.fold);
    const int64_t unit_elements = std::min(block, w.width) * w.fold, tasks = w.kept.count() * w.blocks;
    if (tasks < few) w.slices = std::clamp<int64_t>(w.units * unit_elements / slice_elements, 1, few);
  } else {
    w.pieces = (w.width + piece - 1) / piece;
    w.units = w.length == 0 ? 0 : w.reduced.count() * w.pieces;
    if (w.outputs < few) w.slices = std::clamp<int64_t>(std::min(w.units, w.length / slice_elements), 1, few);
  }
}

uint64_t Reduce::scratch_bytes(Threads threads) const {
  const Walk& w = walk_;
  if (w.outputs == 0) return 0;
  constexpr int64_t accumulator = 8;  // bytes, at most
  if (!w.columns) return static_cast<uint64_t>(w.slices == 1 ? 0 : w.outputs * w.slices * accumulator);
  const int64_t places = w.slices == 1 ? threads.count : w.kept.count() * w.blocks * w.slices;
  return static_cast<uint64_t>(places * block * accumulator);
}

void Reduce::run(const void* x, void* y, void* scratch, Threads threads) const {
  if (walk_.outputs == 0) return;
  HWY_DYNAMIC_DISPATCH(run_reduce)(walk_, x, y, scratch, threads);
}

}  // namespace heddle::cpu
#endif
