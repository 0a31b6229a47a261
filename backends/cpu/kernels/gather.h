// Gather, scatter, embedding and its gradient.
//
// An index may be of any integer dtype but uint64; -1 is the last row. Prepared once (constructors check
// nothing: the runtime has), run without allocation; sizes may be zero. The bits are the same at any thread
// count and in any run: threads share the rows of y, and what is added to a row is added in the order of the
// indices.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

// Rows along an axis: `outer` times `length` rows of `inner` elements.
struct RowView {
  int64_t outer = 1, length = 1, inner = 1;
  RowView(const Shape& shape, int axis);
};

// y[.., i.., ..] = x[.., indices[i..], ..]: `indices` stand in place of the axis. An index outside of [-n, n)
// gives NaN (floats) or zero. embedding(table, indices) is this along axis 0.
class Gather {
 public:
  Gather(DType dtype, const Shape& x, int axis, DType index_dtype, int64_t indices);
  void run(const void* x, const void* indices, void* y, Threads threads) const;

 private:
  DType dtype_, index_dtype_;
  RowView view_;
  int64_t indices_;
};

enum class ScatterMode : uint8_t { set, add };

// y = x, but y[.., indices[i..], ..] = (or +=) updates[.., i.., ..]. An index outside of [-n, n) is skipped.
// Of several updates of a row, `set` keeps the last one; `add` adds them in float32 (float64: float64;
// integers: wrapping) and rounds once. embedding_grad(dy, indices) is `add` with zeros for x.
class Scatter {
 public:
  Scatter(ScatterMode mode, DType dtype, const Shape& x, int axis, DType index_dtype, int64_t indices);
  uint64_t scratch_bytes() const;
  // x may be y itself, or null for zeros.
  void run(const void* x, const void* indices, const void* updates, void* y, void* scratch,
           Threads threads) const;

 private:
  ScatterMode mode_;
  DType dtype_, index_dtype_;
  RowView view_;
  int64_t indices_;
};

}  // namespace heddle::cpu
