// Rows by index. Scatter first lists the updates of each row; then every row of y is written once, by one
// thread.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/gather.cpp"
#include <hwy/foreach_target.h>
// after foreach_target
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/element.h"
#include "cpu/kernels/gather.h"
#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
inline constexpr bool is_vector_type = std::is_same_v<T, double> || std::is_same_v<T, float> ||
                                       std::is_same_v<T, bfloat16_t> || std::is_same_v<T, float16_t>;

// y[0..n) = x + the rows `order[0..count)` of updates, added in that order; x may be null.
template <class T>
void add_rows(const T* x, const T* updates, const int64_t* order, int64_t count, int64_t inner, T* y) {
  if constexpr (is_vector_type<T>) {
    const hn::ScalableTag<Wide<T>> d;
    constexpr auto lanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<Wide<T>>()));
    int64_t c = 0;
    for (; c + 4 * lanes <= inner; c += 4 * lanes) {
      auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
      const auto add = [&](const T* from) HWY_ATTR {
        s0 = hn::Add(s0, load(d, from));
        s1 = hn::Add(s1, load(d, from + lanes));
        s2 = hn::Add(s2, load(d, from + 2 * lanes));
        s3 = hn::Add(s3, load(d, from + 3 * lanes));
      };
      if (x != nullptr) add(x + c);
      for (int64_t i = 0; i < count; ++i) add(updates + order[i] * inner + c);
      store(s0, d, y + c);
      store(s1, d, y + c + lanes);
      store(s2, d, y + c + 2 * lanes);
      store(s3, d, y + c + 3 * lanes);
    }
    for (; c < inner; c += lanes) {
      const auto n = static_cast<size_t>(std::min(lanes, inner - c));
      auto sum = x != nullptr ? load_n(d, x + c, n) : hn::Zero(d);
      for (int64_t i = 0; i < count; ++i) sum = hn::Add(sum, load_n(d, updates + order[i] * inner + c, n));
      store_n(sum, d, y + c, n);
    }
  } else {
    for (int64_t c = 0; c < inner; ++c) {
      if constexpr (std::is_integral_v<T>) {
        uint64_t sum = x != nullptr ? static_cast<uint64_t>(x[c]) : 0;
        for (int64_t i = 0; i < count; ++i) sum += static_cast<uint64_t>(updates[order[i] * inner + c]);
        y[c] = static_cast<T>(sum);
      } else {
        float sum = x != nullptr ? to_float(x[c]) : 0;
        for (int64_t i = 0; i < count; ++i) sum += to_float(updates[order[i] * inner + c]);
        y[c] = narrow_float<T>(sum);
      }
    }
  }
}

void add_rows_of(DType dtype, const void* x, const void* updates, const int64_t* order, int64_t count,
                 int64_t inner, void* y) {
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (!std::is_same_v<T, bool>)
      add_rows(static_cast<const T*>(x), static_cast<const T*>(updates), order, count, inner,
               static_cast<T*>(y));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(add_rows_of);

namespace {

// The row that an index names, or -1.
int64_t row_of(const void* indices, DType dtype, int64_t i, int64_t length) {
  const auto read = [&]<class I>(const I* p) { return static_cast<int64_t>(p[i]); };
  int64_t index = 0;
  switch (dtype) {
    case DType::int8:
      index = read(static_cast<const int8_t*>(indices));
      break;
    case DType::int16:
      index = read(static_cast<const int16_t*>(indices));
      break;
    case DType::int32:
      index = read(static_cast<const int32_t*>(indices));
      break;
    case DType::uint8:
      index = read(static_cast<const uint8_t*>(indices));
      break;
    case DType::uint16:
      index = read(static_cast<const uint16_t*>(indices));
      break;
    case DType::uint32:
      index = read(static_cast<const uint32_t*>(indices));
      break;
    default:
      index = read(static_cast<const int64_t*>(indices));
      break;
  }
  if (index < -length || index >= length) return -1;
  return index < 0 ? index + length : index;
}

void fill_missing(DType dtype, void* y, int64_t n) {
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    std::fill_n(static_cast<T*>(y), n,
                store_from_double<T>(is_float(dtype) ? std::numeric_limits<double>::quiet_NaN() : 0));
  });
}

// A row of one element is moved as such: a call of memcpy costs more than the move.
void copy_row(const std::byte* from, std::byte* to, size_t bytes) {
  switch (bytes) {
    case 1:
      *to = *from;
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, bytes);
  }
}

constexpr int64_t task_bytes = 32 * 1024;

}  // namespace

RowView::RowView(const Shape& shape, int axis) : length(shape[axis]) {
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
}

Gather::Gather(DType dtype, const Shape& x, int axis, DType index_dtype, int64_t indices)
    : dtype_(dtype), index_dtype_(index_dtype), view_(x, axis), indices_(indices) {}

void Gather::run(const void* x, const void* indices, void* y, Threads threads) const {
  const auto bytes = static_cast<int64_t>(size_of(dtype_)) * view_.inner;
  if (bytes == 0) return;
  const int64_t grain = std::max<int64_t>(1, task_bytes / (bytes + 16));
  parallel_for(threads, view_.outer * indices_, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = row_of(indices, index_dtype_, i % indices_, view_.length);
      std::byte* to = static_cast<std::byte*>(y) + i * bytes;
      if (row < 0)
        fill_missing(dtype_, to, view_.inner);
      else
        copy_row(static_cast<const std::byte*>(x) + (i / indices_ * view_.length + row) * bytes, to,
                 static_cast<size_t>(bytes));
    }
  });
}

Scatter::Scatter(ScatterMode mode, DType dtype, const Shape& x, int axis, DType index_dtype, int64_t indices)
    : mode_(mode), dtype_(dtype), index_dtype_(index_dtype), view_(x, axis), indices_(indices) {}

uint64_t Scatter::scratch_bytes() const {
  return static_cast<uint64_t>(view_.length + 1 + indices_) * sizeof(int64_t);
}

void Scatter::run(const void* x, const void* indices, const void* updates, void* y, void* scratch,
                  Threads threads) const {
  const auto bytes = static_cast<int64_t>(size_of(dtype_)) * view_.inner;
  if (bytes == 0 || view_.length == 0) return;

  // The updates of row r are order[start[r] .. start[r + 1]), by a counting sort, which keeps their order.
  auto* start = static_cast<int64_t*>(scratch);
  int64_t* order = start + view_.length + 1;
  std::fill_n(start, view_.length + 1, 0);
  for (int64_t i = 0; i < indices_; ++i)
    if (const int64_t row = row_of(indices, index_dtype_, i, view_.length); row >= 0) ++start[row];
  int64_t total = 0;
  for (int64_t r = 0; r <= view_.length; ++r) {
    total += start[r];
    start[r] = total;  // the end of row r; filling backwards makes it the start
  }
  for (int64_t i = indices_; i-- > 0;)
    if (const int64_t row = row_of(indices, index_dtype_, i, view_.length); row >= 0) order[--start[row]] = i;

  const auto add = HWY_DYNAMIC_DISPATCH(add_rows_of);
  // Updates are often of few rows: rows are handed out in small shares.
  const int64_t rows_task = std::max<int64_t>(1, task_bytes / bytes);
  const int64_t tasks = (view_.outer * view_.length + rows_task - 1) / rows_task;
  parallel_tasks(threads, tasks, [&](int64_t task, int) {
    for (int64_t i = task * rows_task; i < std::min((task + 1) * rows_task, view_.outer * view_.length);
         ++i) {
      const int64_t row = i % view_.length, count = start[row + 1] - start[row];
      const std::byte* from = x == nullptr ? nullptr : static_cast<const std::byte*>(x) + i * bytes;
      const std::byte* changes = static_cast<const std::byte*>(updates) + i / view_.length * indices_ * bytes;
      std::byte* to = static_cast<std::byte*>(y) + i * bytes;
      if (count == 0) {
        if (from == nullptr)
          std::memset(to, 0, static_cast<size_t>(bytes));
        else if (from != to)
          copy_row(from, to, static_cast<size_t>(bytes));
      } else if (mode_ == ScatterMode::set) {
        copy_row(changes + order[start[row + 1] - 1] * bytes, to, static_cast<size_t>(bytes));
      } else {
        add(dtype_, from, changes, order + start[row], count, view_.inner, to);
      }
    }
  });
}

}  // namespace heddle::cpu
#endif
