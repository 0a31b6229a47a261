// Shapes: concrete sizes (Shape), and sizes that may be named and bound at run time (Dim, Dims).
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace heddle {

inline constexpr int max_rank = 8;

// Concrete sizes, at most max_rank of them, stored inline. A scalar has rank 0 and one element.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  // Throws invalid_argument for more than max_rank sizes or a negative one.
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dim_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return dim_[static_cast<size_t>(axis)]; }
  // Counted from the end when negative: at(-1) is the last size. Throws invalid_argument outside the rank.
  int64_t at(int axis) const;
  // Product of the sizes; throws invalid_argument when it is 2^62 or more.
  int64_t elements() const;
  std::span<const int64_t> dims() const { return {dim_.data(), static_cast<size_t>(rank_)}; }
  // Throws invalid_argument like the constructor.
  void push_back(int64_t size);
  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, max_rank> dim_{};
  int rank_ = 0;
};

// "[2,3,4]"
std::string to_string(const Shape& shape);

// Element strides of the dense row-major layout of `shape`.
std::array<int64_t, max_rank> row_major_strides(const Shape& shape);

// What a named size may be when it is bound: min <= size <= max and size % multiple == 0.
struct DimRange {
  int64_t min = 0;
  int64_t max = std::numeric_limits<int64_t>::max();
  int64_t multiple = 1;
  bool operator==(const DimRange&) const = default;
};

// Named sizes to numbers, for one plan: {"batch", 32}.
using DimBinding = std::map<std::string, int64_t>;

// One size: a number, a name ("batch"), or a polynomial of them (2*batch*seq + 1), as reshape and concat
// make. Numbers may be negative on the way (seq - 1); Dims refuses them. Arithmetic that overflows throws
// invalid_argument. A name that meets itself with another range keeps the sizes that both allow; none left is
// invalid_argument.
class Dim {
 public:
  Dim() = default;  // 0
  template <class T>
  requires(std::integral<T> && !std::same_as<T, bool>) Dim(T number)
      : constant_(static_cast<int64_t>(number)) {}   // NOLINT: a number is a Dim
  Dim(const char* name) : Dim(std::string(name)) {}  // NOLINT: a name is a Dim
  Dim(std::nullptr_t) = delete;
  // Throws invalid_argument unless the name is [A-Za-z_][A-Za-z0-9_.]* and some size is in the range.
  Dim(std::string name, DimRange range = {});  // NOLINT

  bool is_number() const { return terms_.empty(); }
  // The number; throws invalid_argument for a Dim with names.
  int64_t number() const;
  // The number this Dim has under `binding`; throws not_found naming the unbound name, and invalid_argument
  // naming the one whose size is out of its range. Names of `binding` that this Dim does not use are ignored.
  int64_t bind(const DimBinding& binding) const;
  // The name, when this Dim is one bare name; else empty.
  std::string name() const;
  // Every name used in this Dim with its range.
  std::map<std::string, DimRange> names() const;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  // a / b when b divides a exactly as a polynomial by a single term; nullopt otherwise.
  static std::optional<Dim> divide(const Dim& a, const Dim& b);
  // The same polynomial; ranges are not compared.
  bool operator==(const Dim& other) const;
  friend std::string to_string(const Dim& dim);

 private:
  void adopt_ranges(const Dim& a, const Dim& b);
  std::string text() const;

  using Names = std::vector<std::string>;  // sorted, repeated for powers
  int64_t constant_ = 0;
  std::map<Names, int64_t> terms_;  // coefficient per product of names, none of them zero
  std::map<std::string, DimRange> ranges_;
};

// "784", "batch", "2*batch*seq + 1"
std::string to_string(const Dim& dim);

// The sizes of a graph value. Converts from Shape; `shape()` converts back when all are numbers.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<Dim> dims) : dims_(dims) { check(); }
  explicit Dims(std::vector<Dim> dims) : dims_(std::move(dims)) { check(); }
  Dims(const Shape& shape);  // NOLINT

  int rank() const { return static_cast<int>(dims_.size()); }
  const Dim& operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  Dim& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  auto begin() const { return dims_.begin(); }
  auto end() const { return dims_.end(); }
  void push_back(Dim d) {
    dims_.push_back(std::move(d));
    check();
  }
  void insert(int axis, Dim d) {
    dims_.insert(dims_.begin() + axis, std::move(d));
    check();
  }
  void erase(int axis) { dims_.erase(dims_.begin() + axis); }

  bool is_concrete() const;
  // Throws invalid_argument naming the first size that is not a number.
  Shape shape() const;
  Dim elements() const;
  Dims bind(const DimBinding& binding) const;
  bool operator==(const Dims& other) const { return dims_ == other.dims_; }

 private:
  void check() const;  // rank and signs
  std::vector<Dim> dims_;
};

std::string to_string(const Dims& dims);

}  // namespace heddle
