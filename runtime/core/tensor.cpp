#include "heddle/tensor.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/element.h"

namespace heddle {
namespace {

constexpr size_t alignment = 64;  // a cache line, and the widest vector register

// Where tensors without elements point, so that they are defined and own nothing.
alignas(alignment) std::byte no_bytes[alignment];

[[noreturn]] void refuse(ErrorCode code, const std::string& text) { throw Error(code, text); }

// Zeroed by the operating system where possible: a large tensor costs nothing until it is touched.
std::shared_ptr<void> allocate_zeroed(uint64_t bytes, std::byte** data) {
  const size_t padded = static_cast<size_t>(bytes) + alignment;
  void* raw = std::calloc(padded, 1);
  if (raw == nullptr) {
    refuse(ErrorCode::out_of_memory, "the host cannot allocate " + std::to_string(bytes) +
                                         " bytes for a tensor; use smaller tensors or free others");
  }
  std::shared_ptr<void> owner(raw, std::free);
  size_t space = padded;
  *data = static_cast<std::byte*>(std::align(alignment, static_cast<size_t>(bytes), raw, space));
  return owner;
}

// An axis counted from the end when negative; throws naming the view that was asked for.
int resolve_axis(const char* view, int axis, const Shape& shape) {
  const int counted = axis < 0 ? axis + shape.rank() : axis;
  if (counted < 0 || counted >= shape.rank()) {
    refuse(ErrorCode::invalid_argument, std::string(view) + ": axis " + std::to_string(axis) +
                                            " is outside shape " + to_string(shape) + " of rank " +
                                            std::to_string(shape.rank()));
  }
  return counted;
}

// Offset in elements of element `flat` in row-major order.
int64_t offset_of(int64_t flat, const Shape& shape, std::span<const int64_t> strides) {
  int64_t offset = 0;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    offset += flat % shape[axis] * strides[static_cast<size_t>(axis)];
    flat /= shape[axis];
  }
  return offset;
}

// Copies a row of `count` elements of Size bytes that lie `stride` elements apart.
template <size_t Size>
void gather_row(std::byte* to, const std::byte* from, int64_t count, int64_t stride) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * int64_t{Size}, from + i * stride * int64_t{Size}, Size);
}

void gather_row(std::byte* to, const std::byte* from, int64_t count, int64_t stride, size_t size) {
  if (stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(count) * size);
    return;
  }
  switch (size) {
    case 1:
      return gather_row<1>(to, from, count, stride);
    case 2:
      return gather_row<2>(to, from, count, stride);
    case 4:
      return gather_row<4>(to, from, count, stride);
    default:
      return gather_row<8>(to, from, count, stride);
  }
}

// Writes the elements of a strided view densely, row by row. Not called without elements.
void gather_dense(std::byte* to, const std::byte* from, const Shape& shape, std::span<const int64_t> strides,
                  size_t size) {
  // Axes of size 1 go, and neighbours that lie densely in each other merge into one longer axis.
  std::array<int64_t, max_rank> length{}, step{};
  size_t axes = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int64_t n = shape[axis], s = strides[static_cast<size_t>(axis)];
    if (n == 1) continue;
    if (axes > 0 && step[axes - 1] == s * n) {
      length[axes - 1] *= n;
      step[axes - 1] = s;
    } else {
      length[axes] = n;
      step[axes++] = s;
    }
  }
  const int64_t row = axes > 0 ? length[axes - 1] : 1;
  const int64_t row_step = axes > 0 ? step[axes - 1] : 1;
  std::array<int64_t, max_rank> index{};
  for (;;) {
    gather_row(to, from, row, row_step, size);
    to += row * static_cast<int64_t>(size);
    size_t axis = axes > 0 ? axes - 1 : 0;
    while (axis > 0) {
      --axis;
      from += step[axis] * static_cast<int64_t>(size);
      if (++index[axis] < length[axis]) break;
      from -= step[axis] * length[axis] * static_cast<int64_t>(size);
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (axes < 2) return;
  }
}

template <class T>
void append_number(std::string& text, T value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  text.append(digits, end);
}

}  // namespace

Tensor::Tensor(DType dtype, const Shape& shape)
    : dtype_(dtype), shape_(shape), strides_(row_major_strides(shape)) {
  visit_dtype(dtype, [](auto) {});  // refuses a dtype that does not exist
  if (elements() > std::numeric_limits<int64_t>::max() / 8 / 2) {
    refuse(ErrorCode::invalid_argument,
           "a tensor of shape " + to_string(shape) + " does not fit in an address space");
  }
  if (elements() == 0) {
    data_ = no_bytes;
  } else {
    owner_ = allocate_zeroed(bytes(), &data_);
  }
}

void Tensor::assign(const void* from, size_t bytes) {
  if (bytes != this->bytes()) {
    refuse(ErrorCode::shape_mismatch, std::to_string(bytes / size_of(dtype_)) + " values do not fill shape " +
                                          to_string(shape_) + ", which has " + std::to_string(elements()) +
                                          " elements");
  }
  if (bytes > 0) std::memcpy(data_, from, bytes);
}

Tensor Tensor::scalar(double value, DType dtype) { return full(value, dtype, Shape{}); }

Tensor Tensor::full(double value, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    std::ranges::fill(t.values<T>(), store_from_double<T>(value));
  });
  return t;
}

Tensor Tensor::borrow(void* data, DType dtype, const Shape& shape, std::shared_ptr<void> owner) {
  visit_dtype(dtype, [](auto) {});
  if (shape.elements() == 0) return Tensor(dtype, shape);
  if (data == nullptr) {
    refuse(ErrorCode::invalid_argument, "Tensor::borrow was given no memory for shape " + to_string(shape));
  }
  if (reinterpret_cast<uintptr_t>(data) % size_of(dtype) != 0) {
    refuse(ErrorCode::invalid_argument, std::string("Tensor::borrow needs memory aligned to the ") +
                                            std::to_string(size_of(dtype)) + " bytes of " +
                                            dtype_name(dtype) + "; copy the bytes into a Tensor instead");
  }
  Tensor t;
  t.dtype_ = dtype;
  t.shape_ = shape;
  t.strides_ = row_major_strides(shape);
  t.data_ = static_cast<std::byte*>(data);
  t.owner_ = std::move(owner);
  return t;
}

bool Tensor::is_contiguous() const {
  if (elements() == 0) return true;
  const auto dense = row_major_strides(shape_);
  for (size_t axis = 0; axis < static_cast<size_t>(rank()); ++axis) {
    if (shape_.dims()[axis] != 1 && strides_[axis] != dense[axis]) return false;
  }
  return true;
}

void Tensor::expect_defined(const char* what) const {
  if (!defined()) {
    refuse(
        ErrorCode::invalid_argument,
        std::string(what) + " was called on a Tensor that holds nothing; give it a dtype and a shape first");
  }
}

void Tensor::expect_values(DType dtype) const {
  expect_defined("values");
  if (dtype != dtype_) {
    refuse(ErrorCode::dtype_mismatch, std::string("values of a ") + dtype_name(dtype_) +
                                          " tensor were asked for as " + dtype_name(dtype) +
                                          "; convert it with to()");
  }
  if (!is_contiguous()) {
    refuse(ErrorCode::invalid_argument, "values of a strided view of shape " + to_string(shape_) +
                                            " do not lie in order; call contiguous() first");
  }
}

void Tensor::expect_element(int64_t flat) const {
  expect_defined("at or set");
  if (flat < 0 || flat >= elements()) {
    refuse(ErrorCode::invalid_argument, "element " + std::to_string(flat) + " is outside shape " +
                                            to_string(shape_) + " of " + std::to_string(elements()) +
                                            " elements");
  }
}

double Tensor::at(int64_t flat) const {
  expect_element(flat);
  const int64_t offset = offset_of(flat, shape_, strides());
  return visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
    return load_as_double(reinterpret_cast<const T*>(data_)[offset]);
  });
}

void Tensor::set(int64_t flat, double value) {
  expect_element(flat);
  const int64_t offset = offset_of(flat, shape_, strides());
  visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
    reinterpret_cast<T*>(data_)[offset] = store_from_double<T>(value);
  });
}

Tensor Tensor::reshape(const Shape& shape) const {
  expect_defined("reshape");
  if (shape.elements() != elements()) {
    refuse(ErrorCode::shape_mismatch, "reshape: " + to_string(shape_) + " has " + std::to_string(elements()) +
                                          " elements and " + to_string(shape) + " has " +
                                          std::to_string(shape.elements()));
  }
  if (!is_contiguous()) {
    refuse(ErrorCode::invalid_argument, "reshape: a strided view of shape " + to_string(shape_) +
                                            " cannot be reshaped without a copy; call contiguous() first");
  }
  Tensor view = *this;
  view.shape_ = shape;
  view.strides_ = row_major_strides(shape);
  return view;
}

Tensor Tensor::transpose(std::span<const int64_t> order) const {
  expect_defined("transpose");
  if (order.size() != static_cast<size_t>(rank())) {
    refuse(ErrorCode::invalid_argument, "transpose: " + std::to_string(order.size()) +
                                            " axes were given for shape " + to_string(shape_) + " of rank " +
                                            std::to_string(rank()));
  }
  Tensor view = *this;
  std::array<bool, max_rank> seen{};
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t axis = order[i];
    if (axis < 0 || axis >= rank() || seen[static_cast<size_t>(axis)]) {
      refuse(ErrorCode::invalid_argument, "transpose: axis " + std::to_string(axis) +
                                              " is outside the rank or given twice for shape " +
                                              to_string(shape_) + "; list every axis once");
    }
    seen[static_cast<size_t>(axis)] = true;
    view.shape_[static_cast<int>(i)] = shape_[static_cast<int>(axis)];
    view.strides_[i] = strides_[static_cast<size_t>(axis)];
  }
  return view;
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t end, int64_t step) const {
  expect_defined("slice");
  const int counted = resolve_axis("slice", axis, shape_);
  if (begin < 0 || begin > end || end > shape_[counted] || step < 1) {
    refuse(ErrorCode::invalid_argument, "slice: [" + std::to_string(begin) + ", " + std::to_string(end) +
                                            ") step " + std::to_string(step) + " does not lie in axis " +
                                            std::to_string(axis) + " of shape " + to_string(shape_) +
                                            "; it needs 0 <= begin <= end <= size and step > 0");
  }
  Tensor view = *this;
  const int64_t length = end - begin;
  view.shape_[counted] = length == 0 ? 0 : (length - 1) / step + 1;
  int64_t& stride = view.strides_[static_cast<size_t>(counted)];
  if (view.elements() > 0) view.data_ += begin * stride * static_cast<int64_t>(size_of(dtype_));
  // With one element or none the stride is never used, and a huge step must not overflow it.
  if (view.shape_[counted] > 1) stride *= step;
  return view;
}

Tensor Tensor::broadcast(const Shape& shape) const {
  expect_defined("broadcast");
  static_cast<void>(shape.elements());  // refuses a result whose elements cannot be counted
  if (shape.rank() < rank()) {
    refuse(ErrorCode::shape_mismatch,
           "broadcast: " + to_string(shape_) + " has more axes than " + to_string(shape));
  }
  Tensor view = *this;
  view.shape_ = shape;
  view.strides_ = {};
  for (int axis = rank() - 1, to = shape.rank() - 1; axis >= 0; --axis, --to) {
    if (shape_[axis] == shape[to]) {
      view.strides_[static_cast<size_t>(to)] = strides_[static_cast<size_t>(axis)];
    } else if (shape_[axis] != 1) {
      refuse(ErrorCode::shape_mismatch, "broadcast: axis " + std::to_string(axis) + " of " +
                                            to_string(shape_) + " is neither 1 nor the size of axis " +
                                            std::to_string(to) + " of " + to_string(shape));
    }
  }
  return view;
}

Tensor Tensor::contiguous() const {
  expect_defined("contiguous");
  return is_contiguous() ? *this : clone();
}

Tensor Tensor::clone() const {
  expect_defined("clone");
  Tensor copy(dtype_, shape_);
  if (elements() > 0) gather_dense(copy.data_, data_, shape_, strides(), size_of(dtype_));
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  expect_defined("to");
  if (dtype == dtype_) return clone();
  Tensor converted(dtype, shape_);
  const Tensor dense = contiguous();
  const int64_t count = elements();
  visit_dtype(dtype_, [&]<class From>(std::type_identity<From>) {
    visit_dtype(dtype, [&]<class To>(std::type_identity<To>) {
      const From* from = reinterpret_cast<const From*>(dense.data_);
      To* to = reinterpret_cast<To*>(converted.data_);
      for (int64_t i = 0; i < count; ++i) to[i] = convert_element<To>(from[i]);
    });
  });
  return converted;
}

std::string to_string(const Tensor& tensor, int64_t limit) {
  if (!tensor.defined()) return "(no tensor)";
  std::string text = dtype_name(tensor.dtype()) + to_string(tensor.shape()) + " {";
  const int64_t shown = std::min(tensor.elements(), std::max<int64_t>(limit, 0));
  const auto* base = static_cast<const std::byte*>(tensor.data());
  visit_dtype(tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    for (int64_t i = 0; i < shown; ++i) {
      if (i > 0) text += ", ";
      const T& value = reinterpret_cast<const T*>(base)[offset_of(i, tensor.shape(), tensor.strides())];
      if constexpr (std::same_as<T, bool>) {
        text += load_as_double(value) != 0 ? "true" : "false";
      } else if constexpr (StorageFloat<T>) {
        append_number(text, to_float(value));
      } else {
        append_number(text, value);
      }
    }
  });
  if (shown < tensor.elements()) text += shown > 0 ? ", ..." : "...";
  return text + "}";
}

}  // namespace heddle
