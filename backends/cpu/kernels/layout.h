// Layout ops: every one is a copy between two strided views of dense memory, prepared once.
//
// Constructors take what the ops' attributes say and check nothing (the runtime has); run() allocates
// nothing. Any dtype, by the size of its elements; any rank up to max_rank; sizes may be zero. x and y do not
// overlap, except where a function says so. Threads: rows or tiles are shared out; the bytes are the same at
// any thread count.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

// to[i] = from[i] for each index i of `shape`, with a stride per axis and side (in elements; 0 repeats).
class StridedCopy {
 public:
  StridedCopy() = default;
  StridedCopy(size_t element_bytes, const Shape& shape, std::span<const int64_t> from_strides,
              std::span<const int64_t> to_strides);
  void run(const void* from, void* to, Threads threads) const;

 private:
  enum class Kind : uint8_t {
    nothing,
    rows,   // the last axis is contiguous on both sides
    lines,  // the last axis is strided
    tiles,  // the last axis is contiguous in `to`, another one in `from`: a transposition
  };
  void order_tiles();

  Kind kind_ = Kind::nothing;
  size_t element_ = 1;  // bytes; after merging, possibly a group of elements
  int rank_ = 0;
  std::array<int64_t, max_rank> size_{}, from_{}, to_{};  // strides in bytes
};

// y = x: reshape, contiguous.
void copy(const void* x, void* y, uint64_t bytes, Threads threads);

// y[i0, i1, ..] = x with axis k of y being axis order[k] of x.
StridedCopy transpose(size_t element_bytes, const Shape& x, std::span<const int64_t> order);

// y = x repeated along new and size-1 axes, as NumPy does.
StridedCopy broadcast(size_t element_bytes, const Shape& x, const Shape& y);

// y[i..] = x[begin + i * step ..].
class Slice {
 public:
  Slice(size_t element_bytes, const Shape& x, std::span<const int64_t> begin, std::span<const int64_t> end,
        std::span<const int64_t> step);
  void run(const void* x, void* y, Threads threads) const;

 private:
  int64_t offset_ = 0;  // bytes
  StridedCopy copy_;
};

// y = the operands one after the other along `axis`.
class Concat {
 public:
  Concat(size_t element_bytes, std::span<const Shape> operands, int axis);
  void run(const void* const* operands, void* y, Threads threads) const;

 private:
  struct Part {
    int64_t offset;  // bytes
    StridedCopy copy;
  };
  std::vector<Part> parts_;
};

// y = x with `before` and `after` elements of `value` (rounded to dtype) around it on each axis.
class Pad {
 public:
  Pad(DType dtype, const Shape& x, std::span<const int64_t> before, std::span<const int64_t> after,
      double value);
  void run(const void* x, void* y, Threads threads) const;

 private:
  size_t element_;
  uint64_t value_ = 0;  // its bytes
  Shape x_, y_;
  std::array<int64_t, max_rank> before_{};
};

// y = the window of x at `start` (int64, one per axis), which is clamped so that the window lies inside.
class DynamicSlice {
 public:
  DynamicSlice(size_t element_bytes, const Shape& x, const Shape& window);
  void run(const void* x, const int64_t* start, void* y, Threads threads) const;

 private:
  size_t element_;
  Shape x_, window_;
  StridedCopy copy_;
};

// y = x with the window at `start`, clamped likewise, replaced by `update`. y may be x itself: then only the
// window is written.
class DynamicUpdateSlice {
 public:
  DynamicUpdateSlice(size_t element_bytes, const Shape& x, const Shape& update);
  void run(const void* x, const void* update, const int64_t* start, void* y, Threads threads) const;

 private:
  size_t element_;
  Shape x_, update_;
  StridedCopy copy_;
};

// y[i..] = i along `axis`, converted to dtype as convert does from int64.
void iota(DType dtype, const Shape& shape, int axis, void* y, Threads threads);

}  // namespace heddle::cpu
