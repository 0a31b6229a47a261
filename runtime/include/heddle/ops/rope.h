// Rotary position embedding (Su et al.: RoFormer, 2021). Throws Error (dtype_mismatch, shape_mismatch,
// invalid_argument) naming the op and the operands.
#pragma once

#include "heddle/graph.h"
#include "heddle/ops/attention.h"
#include "heddle/tensor.h"

namespace heddle {

struct RopeOptions {
  HeadLayout layout = HeadLayout::bhsd;
  // Which elements of a vector of size D turn together: element i with i + D/2, or 2i with 2i + 1.
  bool interleaved = false;
  // Turns back: the transpose, and so the gradient.
  bool inverse = false;
};

// Turns each pair (x1, x2) of the vector at position s by the angle of row s of the tables:
// y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin. x is any float [B,H,S,D] or [B,S,H,D]; cos and sin are
// float32 [S, D/2] (float64 allowed for float64 x), one row per position.
Value rope(Value x, Value cos, Value sin, const RopeOptions& options = {});

// float32 tables [positions, size/2] of the angles s * base^(-2i/size), computed in double precision.
// Throws invalid_argument unless size is even and positive, positions >= 0 and base > 0.
struct RopeTables {
  Tensor cos, sin;
};
RopeTables rope_tables(int64_t positions, int64_t size, double base = 10000);

}  // namespace heddle
