// Host tensors: a dtype, a shape, strides, and shared bytes. Copying a Tensor copies the handle, not the
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
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
  // No tensor: defined() is false; every other accessor may only be called when defined.
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
  // alive).
  static Tensor borrow(void* data, DType dtype, const Shape& shape, std::shared_ptr<void> owner = nullptr);

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
  // Element `flat` in row-major order of the logical shape, as a double (64-bit integers may round).
  double at(int64_t flat) const;
  void set(int64_t flat, double value);

  // Views; no bytes move. Each throws invalid_argument / shape_mismatch naming the offending axis.
  Tensor reshape(const Shape& shape) const;                // needs contiguity
  Tensor transpose(std::span<const int64_t> order) const;  // axis i of the result is axis order[i] of this
  Tensor slice(int axis, int64_t begin, int64_t end, int64_t step = 1) const;  // step > 0
  Tensor broadcast(const Shape& shape) const;  // NumPy rules, stride 0 on stretched axes

  // Copies.
  Tensor contiguous() const;     // this, when already dense; else a dense copy
  Tensor clone() const;          // always a dense copy
  Tensor to(DType dtype) const;  // dense, each element converted as the `convert` op does

 private:
  void expect_values(DType dtype) const;
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
