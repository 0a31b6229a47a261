// Reductions.
//
// Prepared once (constructors check nothing: the runtime has), run without allocation. x and y are dense; y
// has the reduced axes removed or of size 1, which is the same bytes. Threads: outputs are shared out, and
// where there are few of them, slices of fixed size of what each reduces; the bits are the same at any thread
// count.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

enum class ReduceKind : uint8_t { sum, mean, max, min, prod };

// y = kind of x over `axes`.
//
// Floats: sums run in float32 over at most 4096 elements in parallel lanes and in float64 across those
// (float64: always); products run in float64. max and min are NaN when an element is. Integers: sums and
// products wrap, exactly; no mean. Nothing to reduce: sum 0, prod 1, max and min the ends of the dtype's
// range (floats: infinities), mean NaN. bool: max and min only.
class Reduce {
 public:
  Reduce(ReduceKind kind, DType dtype, const Shape& x, std::span<const int64_t> axes);
  uint64_t scratch_bytes(Threads threads) const;
  void run(const void* x, void* y, void* scratch, Threads threads) const;

  // The reduction as the kernels walk it.
  struct Axes {
    int rank = 0;
    std::array<int64_t, max_rank> size{}, stride{};  // elements of x
    int64_t count() const;
    int64_t offset(int64_t index) const;
  };
  struct Walk {
    ReduceKind kind = ReduceKind::sum;
    DType dtype = DType::float32;
    bool columns = false;  // the last axis stays: `width` neighbours are reduced side by side
    Axes kept, reduced;    // without the innermost one (width)
    int64_t width = 1;     // of the innermost axis
    int64_t fold = 1;      // columns: how many reduced rows lie next to each other and are taken as one row
    int64_t rows = 0;      // columns: of the last reduced axis, to be folded
    int64_t blocks = 1;    // columns: pieces of at most `block` of the width
    int64_t units = 0;     // runs of contiguous elements for each output or block
    int64_t pieces = 1;    // not columns: units that one innermost axis makes
    int64_t slices = 1;    // shares of the units
    int64_t length = 0;    // elements reduced into each output
    int64_t outputs = 0;
  };
  static constexpr int64_t block = 1024, piece = 32768;

 private:
  Walk walk_;
};

// y = the index (int64) of the first largest (smallest) element along `axis`; NaN is beyond every number.
class ArgReduce {
 public:
  ArgReduce(bool largest, DType dtype, const Shape& x, int axis);
  void run(const void* x, int64_t* y, Threads threads) const;

 private:
  bool largest_;
  DType dtype_;
  int64_t outer_ = 1, length_ = 1, inner_ = 1;
};

// y[.., i, ..] = sum of x[.., 0..i, ..] along `axis`; exclusive: without x[i]; reverse: from the end. Floats
// are summed in float64, integers wrap.
class CumulativeSum {
 public:
  CumulativeSum(DType dtype, const Shape& x, int axis, bool exclusive, bool reverse);
  void run(const void* x, void* y, Threads threads) const;

 private:
  DType dtype_;
  bool exclusive_, reverse_;
  int64_t outer_ = 1, length_ = 1, inner_ = 1;
};

}  // namespace heddle::cpu
