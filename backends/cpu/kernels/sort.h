// Sort and top-k.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

// values, indices (int64) = the first `keep` elements of each line of x along `axis`, in ascending (or
// descending) order: sort with keep = the length of the axis, topk with keep = k. Equal elements stay in the
// order of their indices, -0 equals 0, NaN is larger than every number. Any dtype. Prepared once (the
// constructor checks nothing: the runtime has), run without allocation. Threads share the lines; the results
// are the same at any thread count.
class Sort {
 public:
  Sort(DType dtype, const Shape& x, int axis, bool descending, int64_t keep);
  uint64_t scratch_bytes(Threads threads) const;
  void run(const void* x, void* values, int64_t* indices, void* scratch, Threads threads) const;

 private:
  DType dtype_;
  bool descending_;
  int64_t outer_ = 1, length_ = 1, inner_ = 1, keep_;
};

}  // namespace heddle::cpu
