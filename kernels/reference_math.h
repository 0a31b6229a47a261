// What the references are written with: dense host tensors read as doubles, and results rounded once at the
// end.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/element.h"
#include "heddle/tensor.h"

namespace heddle::reference {

// Every element in row-major order, as a double. Exact but for 64-bit integers beyond 2^53.
std::vector<double> reals(const Tensor& tensor);
// The same for a tensor broadcast to `shape`.
std::vector<double> reals(const Tensor& tensor, const Shape& shape);
// Every element of an integer or bool tensor; uint64 keeps its bits.
std::vector<int64_t> integers(const Tensor& tensor);

// Rounds each value to the tensor's dtype.
void store(Tensor& tensor, std::span<const double> values);
void store(Tensor& tensor, std::span<const int64_t> values);

// `shape` seen from one axis: element (o, i, n) is at (o * length + i) * inner + n.
struct AxisView {
  int64_t outer = 1, length = 1, inner = 1;
  AxisView(const Shape& shape, int axis);
  int64_t at(int64_t o, int64_t i, int64_t n) const { return (o * length + i) * inner + n; }
};

// Copies element `from_index` of `from` to element `to_index` of `to`, bit for bit. One dtype, both dense.
inline void copy_element(Tensor& to, int64_t to_index, const Tensor& from, int64_t from_index,
                         int64_t count = 1) {
  const size_t size = size_of(to.dtype());
  std::memcpy(static_cast<std::byte*>(to.data()) + static_cast<size_t>(to_index) * size,
              static_cast<const std::byte*>(from.data()) + static_cast<size_t>(from_index) * size,
              static_cast<size_t>(count) * size);
}

// Copies a view into a dense tensor of the same dtype and shape, bit for bit.
void copy_view(Tensor& to, const Tensor& view);

// Calls f(index) for every index of `shape` in row-major order.
template <class F>
void for_each_index(const Shape& shape, F&& f) {
  const int64_t n = shape.elements();
  std::array<int64_t, max_rank> index{};
  for (int64_t flat = 0; flat < n; ++flat) {
    f(std::span<const int64_t>(index.data(), static_cast<size_t>(shape.rank())));
    for (int axis = shape.rank(); axis-- > 0;) {
      if (++index[static_cast<size_t>(axis)] < shape[axis]) break;
      index[static_cast<size_t>(axis)] = 0;
    }
  }
}

}  // namespace heddle::reference
