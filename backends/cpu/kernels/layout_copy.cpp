// Strided copies: rows, lines, and blocked transposition.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/layout.h"

namespace heddle::cpu {
namespace {

constexpr int64_t task_bytes = 64 * 1024;  // a parallel task moves at least this much
constexpr int64_t tile = 32;               // elements a side: a tile's lines stay in the first cache

struct Sixteen {
  uint64_t part[2];
};

// Calls f(E{}) with a type of `bytes` bytes.
template <class F>
void with_element(size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    case 8:
      return f(uint64_t{});
    default:
      return f(Sixteen{});
  }
}

template <class E>
E get(const std::byte* p) {
  E e;
  std::memcpy(&e, p, sizeof(E));
  return e;
}
template <class E>
void put(std::byte* p, E e) {
  std::memcpy(p, &e, sizeof(E));
}

// n elements, each side with its stride in bytes.
template <class E>
void copy_line(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride, int64_t n) {
  constexpr auto bytes = static_cast<int64_t>(sizeof(E));
  if (to_stride == bytes && from_stride == 0) {
    const E e = get<E>(from);
    for (int64_t i = 0; i < n; ++i) put(to + i * bytes, e);
  } else if (to_stride == bytes) {
    for (int64_t i = 0; i < n; ++i) put(to + i * bytes, get<E>(from + i * from_stride));
  } else {
    for (int64_t i = 0; i < n; ++i) put(to + i * to_stride, get<E>(from + i * from_stride));
  }
}

// to[r][c] = from[c][r] for a tile; rows of `to` and columns of `from` are contiguous.
template <class E>
void copy_tile(const std::byte* from, int64_t from_column, std::byte* to, int64_t to_row, int64_t rows,
               int64_t columns) {
  constexpr auto bytes = static_cast<int64_t>(sizeof(E));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      put(to + r * to_row + c * bytes, get<E>(from + r * bytes + c * from_column));
}

}  // namespace

void copy(const void* x, void* y, uint64_t bytes, Threads threads) {
  if (x == y) return;
  parallel_for(threads, static_cast<int64_t>(bytes), task_bytes, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<std::byte*>(y) + begin, static_cast<const std::byte*>(x) + begin,
                static_cast<size_t>(end - begin));
  });
}

StridedCopy::StridedCopy(size_t element_bytes, const Shape& shape, std::span<const int64_t> from_strides,
                         std::span<const int64_t> to_strides)
    : element_(element_bytes) {
  if (shape.elements() == 0) return;
  const auto bytes = static_cast<int64_t>(element_bytes);
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1) continue;
    const auto axis = static_cast<size_t>(i);
    const int64_t from = from_strides[axis] * bytes, to = to_strides[axis] * bytes;
    if (rank_ > 0) {  // one axis with the one outside of it?
      const auto outer = static_cast<size_t>(rank_ - 1);
      if (from_[outer] == from * shape[i] && to_[outer] == to * shape[i]) {
        size_[outer] *= shape[i];
        from_[outer] = from;
        to_[outer] = to;
        continue;
      }
    }
    const auto at = static_cast<size_t>(rank_++);
    size_[at] = shape[i];
    from_[at] = from;
    to_[at] = to;
  }
  // A short contiguous last axis becomes the element: [B,S,H,2] moves pairs.
  if (rank_ > 1) {
    const auto last = static_cast<size_t>(rank_ - 1);
    const int64_t run = size_[last] * bytes;
    if (from_[last] == bytes && to_[last] == bytes && run <= 16 && (run & (run - 1)) == 0) {
      element_ = static_cast<size_t>(run);
      --rank_;
    }
  }
  if (rank_ == 0) {  // one element
    rank_ = 1;
    size_[0] = 1;
    from_[0] = to_[0] = static_cast<int64_t>(element_);
  }
  const auto last = static_cast<size_t>(rank_ - 1);
  const auto element = static_cast<int64_t>(element_);
  kind_ = from_[last] == element && to_[last] == element ? Kind::rows : Kind::lines;
  if (kind_ == Kind::lines && to_[last] == element && from_[last] != 0) order_tiles();
}

// Where another axis is contiguous in `from`, that axis goes before the last one.
void StridedCopy::order_tiles() {
  const auto element = static_cast<int64_t>(element_);
  for (int i = rank_ - 1; i-- > 0;) {
    if (from_[static_cast<size_t>(i)] != element) continue;
    for (auto* values : {&size_, &from_, &to_})
      std::rotate(values->begin() + i, values->begin() + i + 1, values->begin() + rank_ - 1);
    kind_ = Kind::tiles;
    return;
  }
}

void StridedCopy::run(const void* from, void* to, Threads threads) const {
  if (kind_ == Kind::nothing) return;
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  const auto last = static_cast<size_t>(rank_ - 1);
  const auto element = static_cast<int64_t>(element_);

  // A unit is one row (or line), a piece of a long one, or a band of tiles; units are numbered in the order
  // of `to`.
  const int unit_axes = kind_ == Kind::tiles ? 2 : 1, outer_axes = rank_ - unit_axes;
  int64_t outer = 1;
  for (int i = 0; i < outer_axes; ++i) outer *= size_[static_cast<size_t>(i)];
  const int64_t line = size_[last];
  const int64_t piece = kind_ == Kind::tiles ? tile : std::max<int64_t>(1, task_bytes / element);
  const int64_t divided = kind_ == Kind::tiles ? size_[last - 1] : line;
  const int64_t pieces = (divided + piece - 1) / piece;
  const int64_t unit_bytes =
      element * (kind_ == Kind::tiles ? std::min(piece, divided) * line : std::min(piece, line));
  const int64_t grain = std::max<int64_t>(1, task_bytes / std::max<int64_t>(1, unit_bytes));

  parallel_for(threads, outer * pieces, grain, [&](int64_t begin, int64_t end) {
    // The index of the first unit, then one step at a time.
    std::array<int64_t, max_rank> index{};
    int64_t rest = begin / pieces, at_piece = begin % pieces;
    const std::byte* f = source;
    std::byte* t = target;
    for (int i = outer_axes; i-- > 0;) {
      const auto axis = static_cast<size_t>(i);
      index[axis] = rest % size_[axis];
      rest /= size_[axis];
      f += index[axis] * from_[axis];
      t += index[axis] * to_[axis];
    }
    with_element(element_, [&](auto e) {
      using E = decltype(e);
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t first = at_piece * piece, n = std::min(piece, divided - first);
        switch (kind_) {
          case Kind::rows:
            std::memcpy(t + first * element, f + first * element, static_cast<size_t>(n * element));
            break;
          case Kind::lines:
            copy_line<E>(f + first * from_[last], from_[last], t + first * to_[last], to_[last], n);
            break;
          case Kind::tiles:
            for (int64_t c = 0; c < line; c += tile)
              copy_tile<E>(f + first * element + c * from_[last], from_[last],
                           t + first * to_[last - 1] + c * element, to_[last - 1], n,
                           std::min(tile, line - c));
            break;
          case Kind::nothing:
            break;
        }
        if (++at_piece < pieces) continue;
        at_piece = 0;
        for (int i = outer_axes; i-- > 0;) {
          const auto axis = static_cast<size_t>(i);
          f += from_[axis];
          t += to_[axis];
          if (++index[axis] < size_[axis]) break;
          f -= size_[axis] * from_[axis];
          t -= size_[axis] * to_[axis];
          index[axis] = 0;
        }
      }
    });
  });
}

}  // namespace heddle::cpu
