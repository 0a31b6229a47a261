#include "heddle/shape.h"

#include <algorithm>
#include <string>

#include "heddle/error.h"

namespace heddle {
namespace {

constexpr int64_t element_limit = int64_t{1} << 62;

[[noreturn]] void rank_exceeded(size_t rank) {
  throw Error(ErrorCode::invalid_argument, "a shape of rank " + std::to_string(rank) +
                                               " exceeds the largest rank, " + std::to_string(max_rank) +
                                               "; merge axes with reshape");
}

[[noreturn]] void negative_size(int64_t size, size_t axis) {
  throw Error(ErrorCode::invalid_argument, "size " + std::to_string(size) + " of axis " +
                                               std::to_string(axis) + " is negative; sizes start at 0");
}

}  // namespace

Shape::Shape(std::span<const int64_t> dims) {
  if (dims.size() > static_cast<size_t>(max_rank)) rank_exceeded(dims.size());
  for (int64_t size : dims) push_back(size);
}

int64_t Shape::at(int axis) const {
  const int counted = axis < 0 ? axis + rank_ : axis;
  if (counted < 0 || counted >= rank_) {
    throw Error(ErrorCode::invalid_argument, "axis " + std::to_string(axis) + " is outside shape " +
                                                 to_string(*this) + " of rank " + std::to_string(rank_));
  }
  return (*this)[counted];
}

int64_t Shape::elements() const {
  for (int axis = 0; axis < rank_; ++axis)
    if ((*this)[axis] < 0) negative_size((*this)[axis], static_cast<size_t>(axis));
  if (std::ranges::find(dims(), 0) != dims().end()) return 0;  // even where the other sizes overflow
  int64_t count = 1;
  for (int64_t size : dims()) {
    if (__builtin_mul_overflow(count, size, &count) || count >= element_limit) {
      throw Error(ErrorCode::invalid_argument,
                  "shape " + to_string(*this) + " has more than 2^62 elements; check its sizes");
    }
  }
  return count;
}

void Shape::push_back(int64_t size) {
  if (rank_ == max_rank) rank_exceeded(static_cast<size_t>(max_rank) + 1);
  if (size < 0) negative_size(size, static_cast<size_t>(rank_));
  dim_[static_cast<size_t>(rank_++)] = size;
}

bool Shape::operator==(const Shape& other) const { return std::ranges::equal(dims(), other.dims()); }

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += ',';
    text += std::to_string(shape[axis]);
  }
  return text + ']';
}

std::array<int64_t, max_rank> row_major_strides(const Shape& shape) {
  std::array<int64_t, max_rank> strides{};
  uint64_t stride = 1;  // unsigned: in a shape without elements the product may wrap, and nobody reads it
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(shape[axis]);
  }
  return strides;
}

Dims::Dims(const Shape& shape) {
  for (int64_t size : shape.dims()) dims_.emplace_back(size);
  check();
}

bool Dims::is_concrete() const {
  return std::ranges::all_of(dims_, [](const Dim& d) { return d.is_number(); });
}

Shape Dims::shape() const {
  Shape shape;
  for (size_t axis = 0; axis < dims_.size(); ++axis) {
    if (!dims_[axis].is_number()) {
      throw Error(ErrorCode::invalid_argument, "size '" + to_string(dims_[axis]) + "' of axis " +
                                                   std::to_string(axis) + " in " + to_string(*this) +
                                                   " is not a number yet; bind its names first");
    }
    shape.push_back(dims_[axis].number());
  }
  return shape;
}

Dim Dims::elements() const {
  Dim product = 1;
  for (const Dim& d : dims_) product = product * d;
  return product;
}

Dims Dims::bind(const DimBinding& binding) const {
  std::vector<Dim> bound;
  bound.reserve(dims_.size());
  for (const Dim& d : dims_) bound.emplace_back(d.bind(binding));
  return Dims(std::move(bound));
}

void Dims::check() const {
  if (dims_.size() > static_cast<size_t>(max_rank)) rank_exceeded(dims_.size());
  for (size_t axis = 0; axis < dims_.size(); ++axis) {
    if (dims_[axis].is_number() && dims_[axis].number() < 0) negative_size(dims_[axis].number(), axis);
  }
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (int axis = 0; axis < dims.rank(); ++axis) {
    if (axis > 0) text += ',';
    text += to_string(dims[axis]);
  }
  return text + ']';
}

}  // namespace heddle
