// rope: turns pairs of elements by the angle of their position.
//
//   y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin      inverse: -sin for sin
//
// Pairs are elements i and i + depth/2, or 2i and 2i + 1 when interleaved. x: float64, float32, bfloat16,
// float16; y may be x. cos, sin: [positions, depth/2] in float32, or in float64 for float64 x. Threads:
// called from the thread that may start parallel loops (threads.h). The same bits at any thread count.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// x as rows of `depth` elements. Row r has position r / repeat % positions: [batch, heads, positions, depth]
// has repeat 1, [batch, positions, heads, depth] has repeat = heads.
struct RopeRows {
  DType dtype, table_dtype;
  int64_t rows, positions, repeat, depth;
  bool interleaved = false, inverse = false;
};

void rope(const RopeRows& r, Threads threads, const void* x, const void* cos, const void* sin, void* y);

}  // namespace heddle::cpu
