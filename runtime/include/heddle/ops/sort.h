// Sorting along one axis. Equal elements keep their order; NaN counts as larger than every number.
#pragma once

#include <cstdint>

#include "heddle/graph.h"

namespace heddle {

struct Sorted {
  Value values;
  Value indices;  // int64: where each value was along the axis
};
Sorted sort(Value x, int64_t axis = -1, bool descending = false);
// The k largest (or smallest) elements, sorted; of equal ones those with the lower index.
Sorted topk(Value x, int64_t k, int64_t axis = -1, bool largest = true);

}  // namespace heddle
