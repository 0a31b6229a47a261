// Matmul of few rows, where time goes into reading b: it is read once, in the order of memory.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/matmul_skinny.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>

#include "cpu/kernels/matmul_own.h"
#include "cpu/kernels/matmul_tile-inl.h"

#ifndef HEDDLE_CPU_MATMUL_SKINNY_ONCE
#define HEDDLE_CPU_MATMUL_SKINNY_ONCE
namespace heddle::cpu {
namespace {

constexpr int64_t rows_max = 8;     // of a
constexpr int64_t sums_max = 4096;  // of a streamed task: they stay in the first cache
constexpr int64_t dots_task = 128;  // rows of b in a task of dot products

int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

// A multiplication of `rows` rows. Matrix times vector is turned around, y' = b' @ a', so that the vector is
// the row.
struct Skinny {
  bool turned = false;
  int64_t rows = 0, columns = 0, k = 0;
  // a(r, p) is a[r * row_step + p * depth_step]; y(r, c) is y[r * y_row + c * y_column].
  int64_t row_step = 0, depth_step = 0, y_row = 0, y_column = 0;
};

Skinny skinny(const MatmulShape& s) {
  Skinny w;
  w.k = s.k;
  w.turned = s.n == 1 && s.m > 1;
  w.rows = w.turned ? 1 : s.m;
  w.columns = w.turned ? s.m : s.n;
  w.row_step = w.turned || s.transpose_a ? 1 : s.k;
  w.depth_step = w.turned || !s.transpose_a ? 1 : s.m;
  w.y_row = w.columns;
  w.y_column = 1;
  return w;
}

// Columns of a streamed task; those of all rows are summed in scratch.
int64_t streamed_columns(const Skinny& w) { return sums_max / std::max<int64_t>(1, w.rows) / 64 * 64; }

void call_epilogue(const MatmulEpilogue& epilogue, const MatmulShape& s, const Skinny& w, int64_t batch,
                   int64_t first, int64_t count) {
  if (epilogue.run == nullptr) return;
  if (w.turned)
    epilogue.run(epilogue.context, batch * s.m + first, count, 0, 1);
  else
    epilogue.run(epilogue.context, batch * s.m, s.m, first, count);
}

}  // namespace
}  // namespace heddle::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

// sums[r][c] += sum over `depth` rows p of a(r, p) * b[p][c], for kRows rows and c < columns.
template <int kRows, int kDepth, class T, class Stored>
HWY_INLINE void stream_rows(const Stored* a, int64_t row_step, int64_t depth_step,
                            const Stored* HWY_RESTRICT b, int64_t b_step, int64_t columns,
                            T* HWY_RESTRICT sums, int64_t sums_step) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  V left[kRows][kDepth];
  for (int r = 0; r < kRows; ++r)
    for (int p = 0; p < kDepth; ++p) left[r][p] = hn::Set(d, widen<T>(a + r * row_step + p * depth_step));
  int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    V right[kDepth];
    for (int p = 0; p < kDepth; ++p) right[p] = load(d, b + p * b_step + c);
    for (int r = 0; r < kRows; ++r) {
      V sum = hn::LoadU(d, sums + r * sums_step + c);
      for (int p = 0; p < kDepth; ++p) sum = hn::MulAdd(left[r][p], right[p], sum);
      hn::StoreU(sum, d, sums + r * sums_step + c);
    }
  }
  if (const int64_t rest = columns - c; rest > 0) {  // sums have room for whole vectors
    for (int r = 0; r < kRows; ++r) {
      V sum = hn::LoadU(d, sums + r * sums_step + c);
      for (int p = 0; p < kDepth; ++p)
        sum = hn::MulAdd(left[r][p], load_n(d, b + p * b_step + c, static_cast<size_t>(rest)), sum);
      hn::StoreU(sum, d, sums + r * sums_step + c);
    }
  }
}

template <int kDepth, class T, class Stored>
void stream_all_rows(const Skinny& w, const Stored* a, const Stored* b, int64_t columns, T* sums,
                     int64_t sums_step) {
  int64_t r = 0;
  for (; r + 4 <= w.rows; r += 4)
    stream_rows<4, kDepth>(a + r * w.row_step, w.row_step, w.depth_step, b, w.columns, columns,
                           sums + r * sums_step, sums_step);
  for (; r < w.rows; ++r)
    stream_rows<1, kDepth>(a + r * w.row_step, w.row_step, w.depth_step, b, w.columns, columns,
                           sums + r * sums_step, sums_step);
}

template <class Stored>
void run_streamed_as(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                     const MatmulEpilogue& epilogue) {
  using T = Wide<Stored>;
  const hn::ScalableTag<T> d;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  const Skinny w = skinny(s);
  const int64_t task_columns = streamed_columns(w), tasks = blocks_of(w.columns, task_columns);
  parallel_tasks(threads, s.batches() * tasks, [&](int64_t task, int thread) HWY_ATTR {
    const int64_t batch = task / tasks, first = task % tasks * task_columns;
    const int64_t columns = std::min(task_columns, w.columns - first);
    const MatmulOperands of = matmul_operands(s, batch);
    const Stored* a = static_cast<const Stored*>(at.a) + of.a * s.m * s.k;
    const Stored* b = static_cast<const Stored*>(at.b) + of.b * s.k * s.n;
    if (w.turned) std::swap(a, b);
    b += first;
    Stored* y = static_cast<Stored*>(at.y) + batch * s.m * s.n + first;
    T* sums = static_cast<T*>(at.scratch) + thread * sums_max;
    std::fill_n(sums, w.rows * task_columns, T{0});
    int64_t p = 0;
    for (; p + 4 <= w.k; p += 4)
      stream_all_rows<4>(w, a + p * w.depth_step, b + p * w.columns, columns, sums, task_columns);
    for (; p < w.k; ++p)
      stream_all_rows<1>(w, a + p * w.depth_step, b + p * w.columns, columns, sums, task_columns);
    for (int64_t r = 0; r < w.rows; ++r) {
      const T* from = sums + r * task_columns;
      Stored* to = y + r * w.columns;
      int64_t c = 0;
      for (; c + lanes <= columns; c += lanes) store(hn::LoadU(d, from + c), d, to + c);
      if (c < columns) store_n(hn::LoadU(d, from + c), d, to + c, static_cast<size_t>(columns - c));
    }
    call_epilogue(epilogue, s, w, batch, first, columns);
  });
}

// y(r, c) for kRows rows of a and kColumns rows of b, each of k contiguous elements.
template <int kRows, int kColumns, class T, class Stored>
HWY_INLINE void dots(const Stored* a, const Stored* b, int64_t k, Stored* y, int64_t y_row) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  V sum[kRows][kColumns];
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; ++c) sum[r][c] = hn::Zero(d);
  const auto step = [&](auto load_at, int64_t p) HWY_ATTR {
    V right[kColumns];
    for (int c = 0; c < kColumns; ++c) right[c] = load_at(b + c * k + p);
    for (int r = 0; r < kRows; ++r) {
      const V left = load_at(a + r * k + p);
      for (int c = 0; c < kColumns; ++c) sum[r][c] = hn::MulAdd(left, right[c], sum[r][c]);
    }
  };
  int64_t p = 0;
  for (; p + lanes <= k; p += lanes) step([&](const Stored* x) HWY_ATTR { return load(d, x); }, p);
  if (p < k) {
    const auto rest = static_cast<size_t>(k - p);
    step([&](const Stored* x) HWY_ATTR { return load_n(d, x, rest); }, p);
  }
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; ++c) {
      const T total = sum_of(d, sum[r][c]);
      if constexpr (std::is_same_v<T, Stored>) {
        y[r * y_row + c] = total;
      } else {
        store_n(hn::Set(d, total), d, y + r * y_row + c, 1);
      }
    }
}

template <int kColumns, class T, class Stored>
void dots_of_all_rows(const Skinny& w, const Stored* a, const Stored* b, Stored* y) {
  int64_t r = 0;
  for (; r + 4 <= w.rows; r += 4) dots<4, kColumns, T>(a + r * w.k, b, w.k, y + r * w.y_row, w.y_row);
  for (; r < w.rows; ++r) dots<1, kColumns, T>(a + r * w.k, b, w.k, y + r * w.y_row, w.y_row);
}

template <class Stored>
void run_dots_as(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                 const MatmulEpilogue& epilogue) {
  using T = Wide<Stored>;
  const Skinny w = skinny(s);
  const int64_t tasks = blocks_of(w.columns, dots_task);
  parallel_tasks(threads, s.batches() * tasks, [&](int64_t task, int thread) HWY_ATTR {
    const int64_t batch = task / tasks, first = task % tasks * dots_task;
    const int64_t columns = std::min(dots_task, w.columns - first);
    const MatmulOperands of = matmul_operands(s, batch);
    const Stored* a = static_cast<const Stored*>(at.a) + of.a * s.m * s.k;
    const Stored* b = static_cast<const Stored*>(at.b) + of.b * s.k * s.n;
    if (w.turned) std::swap(a, b);
    if (w.depth_step != 1) {  // a few rows that are stored as columns
      Stored* rows = static_cast<Stored*>(at.scratch) + thread * w.rows * w.k;
      for (int64_t p = 0; p < w.k; ++p)
        for (int64_t r = 0; r < w.rows; ++r) rows[r * w.k + p] = a[p * w.depth_step + r];
      a = rows;
    }
    b += first * w.k;
    Stored* y = static_cast<Stored*>(at.y) + batch * s.m * s.n + first;
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) dots_of_all_rows<4, T>(w, a, b + c * w.k, y + c);
    for (; c < columns; ++c) dots_of_all_rows<1, T>(w, a, b + c * w.k, y + c);
    call_epilogue(epilogue, s, w, batch, first, columns);
  });
}

void run_streamed(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                  const MatmulEpilogue& epilogue) {
  switch (s.dtype) {
    case DType::float64:
      return run_streamed_as<double>(s, threads, at, epilogue);
    case DType::bfloat16:
      return run_streamed_as<bfloat16_t>(s, threads, at, epilogue);
    case DType::float16:
      return run_streamed_as<float16_t>(s, threads, at, epilogue);
    default:
      return run_streamed_as<float>(s, threads, at, epilogue);
  }
}

void run_dots(const MatmulShape& s, Threads threads, const MatmulPointers& at,
              const MatmulEpilogue& epilogue) {
  switch (s.dtype) {
    case DType::float64:
      return run_dots_as<double>(s, threads, at, epilogue);
    case DType::bfloat16:
      return run_dots_as<bfloat16_t>(s, threads, at, epilogue);
    case DType::float16:
      return run_dots_as<float16_t>(s, threads, at, epilogue);
    default:
      return run_dots_as<float>(s, threads, at, epilogue);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(run_streamed);
HWY_EXPORT(run_dots);

bool streamed_matmul_takes(const MatmulShape& s) {
  if (s.n == 1 && s.m > 1) return s.transpose_a;
  return s.m <= rows_max && !s.transpose_b;
}

uint64_t streamed_matmul_scratch(const MatmulShape& s, Threads threads) {
  const uint64_t element = s.dtype == DType::float64 ? sizeof(double) : sizeof(float);
  return sums_max * element * static_cast<uint64_t>(threads.count);
}

void streamed_matmul(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                     const MatmulEpilogue& epilogue) {
  HWY_DYNAMIC_DISPATCH(run_streamed)(s, threads, at, epilogue);
}

bool dot_matmul_takes(const MatmulShape& s) {
  if (s.n == 1 && s.m > 1) return !s.transpose_a;
  return s.m <= rows_max && s.transpose_b;
}

uint64_t dot_matmul_scratch(const MatmulShape& s, Threads threads) {
  const Skinny w = skinny(s);
  if (w.depth_step == 1) return 0;
  return static_cast<uint64_t>(w.rows * w.k * threads.count) * size_of(s.dtype);
}

void dot_matmul(const MatmulShape& s, Threads threads, const MatmulPointers& at,
                const MatmulEpilogue& epilogue) {
  HWY_DYNAMIC_DISPATCH(run_dots)(s, threads, at, epilogue);
}

}  // namespace heddle::cpu
#endif
