#include "cpu/kernels/layout.h"

#include <algorithm>
#include <cstring>

#include "core/element.h"

namespace heddle::cpu {
namespace {

std::span<const int64_t> strides_of(const std::array<int64_t, max_rank>& strides) { return strides; }

// Bytes from the start of x to the window at `start`, which is clamped so that the window lies inside.
int64_t window_offset(size_t element, const Shape& x, const Shape& window, const int64_t* start) {
  const auto strides = row_major_strides(x);
  int64_t offset = 0;
  for (int i = 0; i < x.rank(); ++i)
    offset += std::clamp<int64_t>(start[i], 0, x[i] - window[i]) * strides[static_cast<size_t>(i)];
  return offset * static_cast<int64_t>(element);
}

std::byte* at(void* p, int64_t bytes) { return static_cast<std::byte*>(p) + bytes; }
const std::byte* at(const void* p, int64_t bytes) { return static_cast<const std::byte*>(p) + bytes; }

template <class E>
void fill(void* to, E value, int64_t n) {
  std::fill_n(static_cast<E*>(to), n, value);
}

// n elements of `element` bytes, each the low bytes of `value`.
void fill_elements(size_t element, uint64_t value, void* to, int64_t n) {
  switch (element) {
    case 1:
      return fill(to, static_cast<uint8_t>(value), n);
    case 2:
      return fill(to, static_cast<uint16_t>(value), n);
    case 4:
      return fill(to, static_cast<uint32_t>(value), n);
    default:
      return fill(to, value, n);
  }
}

}  // namespace

StridedCopy transpose(size_t element_bytes, const Shape& x, std::span<const int64_t> order) {
  const auto x_strides = row_major_strides(x);
  Shape y;
  std::array<int64_t, max_rank> from{};
  for (size_t i = 0; i < order.size(); ++i) {
    y.push_back(x[static_cast<int>(order[i])]);
    from[i] = x_strides[static_cast<size_t>(order[i])];
  }
  return {element_bytes, y, strides_of(from), strides_of(row_major_strides(y))};
}

StridedCopy broadcast(size_t element_bytes, const Shape& x, const Shape& y) {
  const auto x_strides = row_major_strides(x);
  std::array<int64_t, max_rank> from{};
  const int added = y.rank() - x.rank();
  for (int i = added; i < y.rank(); ++i)
    if (x[i - added] != 1) from[static_cast<size_t>(i)] = x_strides[static_cast<size_t>(i - added)];
  return {element_bytes, y, strides_of(from), strides_of(row_major_strides(y))};
}

Slice::Slice(size_t element_bytes, const Shape& x, std::span<const int64_t> begin,
             std::span<const int64_t> end, std::span<const int64_t> step) {
  const auto x_strides = row_major_strides(x);
  Shape y;
  std::array<int64_t, max_rank> from{};
  for (size_t i = 0; i < begin.size(); ++i) {
    y.push_back(std::max<int64_t>(0, (end[i] - begin[i] + step[i] - 1) / step[i]));
    from[i] = x_strides[i] * step[i];
    offset_ += begin[i] * x_strides[i] * static_cast<int64_t>(element_bytes);
  }
  copy_ = StridedCopy(element_bytes, y, strides_of(from), strides_of(row_major_strides(y)));
}

void Slice::run(const void* x, void* y, Threads threads) const { copy_.run(at(x, offset_), y, threads); }

Concat::Concat(size_t element_bytes, std::span<const Shape> operands, int axis) {
  Shape y = operands[0];
  y[axis] = 0;
  for (const Shape& operand : operands) y[axis] += operand[axis];
  const auto to = row_major_strides(y);
  int64_t offset = 0;
  for (const Shape& operand : operands) {
    parts_.push_back(
        {offset * static_cast<int64_t>(element_bytes),
         StridedCopy(element_bytes, operand, strides_of(row_major_strides(operand)), strides_of(to))});
    offset += operand[axis] * to[static_cast<size_t>(axis)];
  }
}

void Concat::run(const void* const* operands, void* y, Threads threads) const {
  for (size_t i = 0; i < parts_.size(); ++i)
    parts_[i].copy.run(operands[i], at(y, parts_[i].offset), threads);
}

Pad::Pad(DType dtype, const Shape& x, std::span<const int64_t> before, std::span<const int64_t> after,
         double value)
    : element_(size_of(dtype)), x_(x), y_(x) {
  for (int i = 0; i < x.rank(); ++i) {
    const auto axis = static_cast<size_t>(i);
    before_[axis] = before[axis];
    y_[i] += before[axis] + after[axis];
  }
  visit_dtype(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T element = store_from_double<T>(value);
    std::memcpy(&value_, &element, sizeof(T));
  });
}

void Pad::run(const void* x, void* y, Threads threads) const {
  if (y_.elements() == 0) return;
  const int rank = y_.rank();
  const auto element = static_cast<int64_t>(element_);
  if (rank == 0) {
    std::memcpy(y, x, element_);
    return;
  }
  const int64_t line = y_[rank - 1], inner = x_[rank - 1], left = before_[static_cast<size_t>(rank - 1)];
  const int64_t rows = y_.elements() / line;
  const int64_t grain = std::max<int64_t>(1, 64 * 1024 / (line * element));
  parallel_for(threads, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      // The row of x, or none where an outer index lies in the padding.
      bool inside = inner > 0;
      int64_t rest = row, source = 0, stride = 1;
      for (int i = rank - 1; i-- > 0;) {
        const int64_t index = rest % y_[i] - before_[static_cast<size_t>(i)];
        rest /= y_[i];
        inside = inside && index >= 0 && index < x_[i];
        source += index * stride;
        stride *= x_[i];
      }
      std::byte* to = at(y, row * line * element);
      if (!inside) {
        fill_elements(element_, value_, to, line);
        continue;
      }
      fill_elements(element_, value_, to, left);
      std::memcpy(to + left * element, at(x, source * inner * element), static_cast<size_t>(inner * element));
      fill_elements(element_, value_, to + (left + inner) * element, line - left - inner);
    }
  });
}

DynamicSlice::DynamicSlice(size_t element_bytes, const Shape& x, const Shape& window)
    : element_(element_bytes),
      x_(x),
      window_(window),
      copy_(element_bytes, window, strides_of(row_major_strides(x)), strides_of(row_major_strides(window))) {}

void DynamicSlice::run(const void* x, const int64_t* start, void* y, Threads threads) const {
  copy_.run(at(x, window_offset(element_, x_, window_, start)), y, threads);
}

DynamicUpdateSlice::DynamicUpdateSlice(size_t element_bytes, const Shape& x, const Shape& update)
    : element_(element_bytes),
      x_(x),
      update_(update),
      copy_(element_bytes, update, strides_of(row_major_strides(update)), strides_of(row_major_strides(x))) {}

void DynamicUpdateSlice::run(const void* x, const void* update, const int64_t* start, void* y,
                             Threads threads) const {
  copy(x, y, static_cast<uint64_t>(x_.elements()) * element_, threads);
  copy_.run(update, at(y, window_offset(element_, x_, update_, start)), threads);
}

void iota(DType dtype, const Shape& shape, int axis, void* y, Threads threads) {
  const int64_t total = shape.elements();
  if (total == 0) return;
  int64_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const int64_t length = shape[axis];
  visit_dtype(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    parallel_for(threads, total / inner, std::max<int64_t>(1, 16 * 1024 / inner),
                 [&](int64_t begin, int64_t end) {
                   T* to = static_cast<T*>(y) + begin * inner;
                   for (int64_t row = begin; row < end; ++row, to += inner)
                     std::fill_n(to, inner, convert_element<T>(row % length));
                 });
  });
}

}  // namespace heddle::cpu
