// Losses. Every function throws Error (dtype_mismatch, shape_mismatch) naming the op and the operands.
#pragma once

#include <cstdint>

#include "heddle/graph.h"

namespace heddle {

// loss[i] = log(sum(exp(logits[i]))) - logits[i, targets[i]], and 0 where targets[i] == ignore_index.
// logits: any float [..., C]; targets: integers [...]; loss: float32 (float64 for float64) [...]. A target
// that is neither ignored nor in [0, C) makes its loss and gradient NaN.
Value cross_entropy_per_position(Value logits, Value targets, int64_t ignore_index = -100);

// The mean of cross_entropy_per_position over the positions that are not ignored: float32 (float64 for
// float64), rank 0. With every position ignored it is 0 / 0 = NaN, as in PyTorch. Positions are counted in
// float32, exactly up to 2^24.
Value cross_entropy(Value logits, Value targets, int64_t ignore_index = -100);

}  // namespace heddle
