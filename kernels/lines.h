// A tensor seen as lines along one axis, for references that keep tensors in vectors.
#pragma once

#include "kernels/reference_math.h"

namespace heddle::reference {

struct Lines : AxisView {
  using AxisView::AxisView;
  // Along the last axis: `outer` rows of `length`.
  explicit Lines(const Shape& shape) : AxisView(shape, shape.rank() - 1) {}
  size_t at(int64_t o, int64_t i, int64_t n = 0) const { return static_cast<size_t>(AxisView::at(o, i, n)); }
};

}  // namespace heddle::reference
