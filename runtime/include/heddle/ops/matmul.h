#pragma once

#include "heddle/graph.h"

namespace heddle {

// y = a @ b. a is [..., M, K] ([..., K, M] with transpose_a), b is [..., K, N] ([..., N, K] with
// transpose_b); leading axes broadcast as in NumPy. One dtype, which the result has too; int8 gives int32.
// Sums are kept in float32 or wider. Throws shape_mismatch, dtype_mismatch.
Value matmul(Value a, Value b, bool transpose_a = false, bool transpose_b = false);

}  // namespace heddle
