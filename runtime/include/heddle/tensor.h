// Host tensors: a dtype, a shape, strides, and shared bytes. Copying a Tensor copies the handle, not the
// bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heddle/dtype.h"
#include "heddle/error.h"
#include "heddle/shape.h"

namespace heddle {

// A view of host memory. Views made by transpose, slice and broadcast share the bytes of their source.
// Threads: const calls are safe together; the bytes are the caller's to guard.
class Tensor {
 public:
  // No tensor: defined() is false, and views, copies, values, at and set throw invalid_argument.
  Tensor() = default;
  // Dense row-major, zero-filled, 64-byte aligned. Throws out_of_memory, invalid_argument (size overflow).
  Tensor(DType dtype, const Shape& shape);

  // Dense row-major copy of `values`; throws shape_mismatch unless there are shape.elements() of them.
  template <class T>
  static Tensor of(std::span<const T> values, const Shape& shape) {
    Tensor t(dtype_of<T>, shape);
    t.assign(values.data(), values.size() * sizeof(T));
    return t;
  }
  template <class T>
  static Tensor of(const std::vector<T>& values, const Shape& shape) {
    return of(std::span<const T>(values), shape);
  }
  template <class T>
  static Tensor of(std::initializer_list<T> values, const Shape& shape) {
    return of(std::span<const T>(values.begin(), values.size()), shape);
  }
  // Rank 0, rounded to `dtype`.
  static Tensor scalar(double value, DType dtype = DType::float32);
  // Every element is `value` rounded to `dtype`.
  static Tensor full(double value, DType dtype, const Shape& shape);
  // A dense view of foreign memory, kept alive by `owner` (which may be null: then the caller keeps it
  // alive). Throws invalid_argument for null memory (unless there are no elements) and memory not aligned to
  // size_of(dtype).
  static Tensor borrow(void* data, DType dtype, const Shape& shape, std::shared_ptr<void> owner = nullptr);

  // True also for a tensor without elements.
  bool defined() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t elements() const { return shape_.elements(); }
  // Bytes of the dense layout: elements() * size_of(dtype()).
  uint64_t bytes() const { return static_cast<uint64_t>(elements()) * size_of(dtype_); }
  // In elements, one per axis.
  std::span<const int64_t> strides() const { return {strides_.data(), static_cast<size_t>(shape_.rank())}; }
  bool is_contiguous() const;

  void* data() { return data_; }
  const void* data() const { return data_; }
  // The elements in order. Throws dtype_mismatch, and invalid_argument when not contiguous.
  template <class T>
  std::span<T> values() {
    expect_values(dtype_of<T>);
    return {static_cast<T*>(static_cast<void*>(data_)), static_cast<size_t>(elements())};
  }
  template <class T>
  std::span<const T> values() const {
    expect_values(dtype_of<T>);
    return {static_cast<const T*>(static_cast<const void*>(data_)), static_cast<size_t>(elements())};
  }
  // Element `flat` in row-major order of the logical shape, as a double (64-bit integers may round); set()
  // rounds to the dtype as `convert` does. Throws invalid_argument outside the shape.
  double at(int64_t flat) const;
  void set(int64_t flat, double value);

  // Views; no bytes move. Each throws invalid_argument / shape_mismatch naming the offending axis. `axis`
  // counts from the end when negative; slice needs 0 <= begin <= end <= size.
  Tensor reshape(const Shape& shape) const;                // needs contiguity
  Tensor transpose(std::span<const int64_t> order) const;  // axis i of the result is axis order[i] of this
  Tensor slice(int axis, int64_t begin, int64_t end, int64_t step = 1) const;  // step > 0
  Tensor broadcast(const Shape& shape) const;  // NumPy rules, stride 0 on stretched axes

  // Copies.
  Tensor contiguous() const;  // this, when already dense; else a dense copy
  Tensor clone() const;       // always a dense copy
  // Dense, each element converted as the `convert` op does: float to integer truncates toward zero,
  // saturates, and takes NaN to 0; to bool is x != 0; to a float rounds once to nearest even; integer to
  // integer keeps the low bits.
  Tensor to(DType dtype) const;

 private:
  void expect_defined(const char* what) const;
  void expect_values(DType dtype) const;
  void expect_element(int64_t flat) const;
  void assign(const void* from, size_t bytes);

  DType dtype_ = DType::float32;
  Shape shape_;
  std::array<int64_t, max_rank> strides_{};
  std::byte* data_ = nullptr;
  std::shared_ptr<void> owner_;
};

// Dtype, shape and up to `limit` elements: "float32[2,2] {1, 2, 3, 4}".
std::string to_string(const Tensor& tensor, int64_t limit = 16);

}  // namespace heddle
