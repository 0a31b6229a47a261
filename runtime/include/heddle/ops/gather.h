// Rows by index. Indices are integers (any but uint64); i in [-n, n) names row i, or n + i when negative.
// Each throws heddle::Error (shape_mismatch, dtype_mismatch, invalid_argument) naming the op and the
// operands.
#pragma once

#include <cstdint>

#include "heddle/graph.h"

namespace heddle {

// y = take(x, indices, axis): the sizes of x with those of the indices in place of the axis. A row that does
// not exist is NaN (integers, bool: 0).
Value gather(Value x, Value indices, int64_t axis = 0);

// y = x with row indices[i] of the axis set to (or increased by) updates[..., i, ...], in the order of the
// indices: of equal ones the last wins, or all are added. Rows that do not exist are skipped. The gradient of
// scatter_set takes indices to be distinct.
Value scatter_set(Value x, Value indices, Value updates, int64_t axis = 0);
Value scatter_add(Value x, Value indices, Value updates, int64_t axis = 0);

// y[..., :] = table[indices[...], :] for a table [rows, columns]; the same for rows that do not exist as
// gather.
Value embedding(Value table, Value indices);

// y[..., i] = indices[...] == i, with i < depth, as 0 and 1 of `dtype`. An index outside [0, depth) gives
// zeros.
Value one_hot(Value indices, int64_t depth, DType dtype = f32);

}  // namespace heddle
