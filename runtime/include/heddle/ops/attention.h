// Scaled dot-product attention. Every function throws Error (dtype_mismatch, shape_mismatch,
// invalid_argument) naming the op and the operands.
#pragma once

#include <cstdint>

#include "heddle/graph.h"

namespace heddle {

// Where the heads axis stands: [batch, heads, positions, size] or [batch, positions, heads, size].
enum class HeadLayout : uint8_t { bhsd, bshd };
inline const char* head_layout_name(HeadLayout layout) {
  return layout == HeadLayout::bhsd ? "bhsd" : "bshd";
}

struct AttentionOptions {
  // Query i sees key j only when j <= i + (T - S): the last query sees every key (decoding with a cache).
  bool causal = false;
  double scale = 0;  // 0: 1 / sqrt(D)
  HeadLayout layout = HeadLayout::bhsd;
};

// out = softmax(scale * q @ transpose(k) + mask) @ v per batch and head (Vaswani et al.: Attention Is All You
// Need, 2017). In layout bhsd q is [B,H,S,D], k [B,Hk,T,D], v [B,Hk,T,Dv], out [B,H,S,Dv], all of one float
// dtype. Hk divides H, and head h uses key head h / (H / Hk): Hk = H is multi-head, 1 multi-query, between
// grouped attention. `mask` (or no value) broadcasts to [B,H,S,T] in either layout: bool, true where a query
// may look, or q's dtype, added. A query that sees no key gets 0. Scores and sums are float32 (float64 for
// float64). Hidden keys and values must be finite.
Value attention(Value q, Value k, Value v, const AttentionOptions& options = {}, Value mask = {});

}  // namespace heddle
