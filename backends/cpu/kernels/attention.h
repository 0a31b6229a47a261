// attention and attention_grad: softmax(scale * q k' + mask) v without the score matrix ever being in memory.
//
//   s_ij = scale * (q_i . k_j) + mask_ij        out_i = sum_j exp(s_ij - lse_i) v_j        lse_i = log sum_j
//   exp(s_ij)
//
// Forward: blocks of query rows stay in cache while blocks of keys pass by (online softmax); queries lie in
// the lanes of the vectors, so keys and values are read as they are, and the maxima and sums need no
// horizontal step. Backward: keys lie in the lanes, probabilities are recomputed from lse. Blocks of keys
// that no row of a block may see (causal, or a boolean mask) are skipped. With kv_heads < heads, k and v are
// read where they lie, never repeated.
//
// float32, bfloat16, float16: float32 accumulation. float64: a plain path. A row with no visible key gives
// out 0, lse -inf, and no gradient. Empty batches, no queries, no keys: fine.
//
// Threads: called from the thread that may start parallel loops (threads.h). The same bits come out of every
// run at one thread count. Nothing is allocated; `scratch` must hold attention_scratch_bytes(...) bytes,
// 64-byte aligned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

// One attention: everything that is known before the data. Fill the fields, then call check_attention once.
struct Attention {
  enum class Layout : uint8_t { bhsd, bshd };  // [batch, heads, rows, depth] or [batch, rows, heads, depth]
  enum class Mask : uint8_t {
    none,
    boolean,
    added
  };  // true = visible; or a number of the dtype, added to the score
  DType dtype = DType::float32;
  Layout layout = Layout::bhsd;
  bool causal = false;  // key j is visible to query i iff j <= i + keys - queries
  Mask mask = Mask::none;
  std::array<int64_t, 4> mask_strides{};  // in elements over [batch, heads, queries, keys]; 0 where broadcast
  double scale = 0;                       // 0 means 1 / sqrt(depth)
  int64_t batch = 0, heads = 0, kv_heads = 0;
  int64_t queries = 0, keys = 0;
  int64_t depth = 0, value_depth = 0;
};

// Throws unsupported for a dtype that is no float of 16 to 64 bits, shape_mismatch for negative sizes or
// heads that are no multiple of kv_heads.
void check_attention(const Attention& a);

// The strides of a dense mask of this shape (rank <= 4, NumPy rules); throws shape_mismatch when it does not
// broadcast to [batch, heads, queries, keys].
std::array<int64_t, 4> attention_mask_strides(const Attention& a, const Shape& mask);

size_t attention_scratch_bytes(const Attention& a, Threads threads);
// out: like q with value_depth. lse: float (float64: double) [batch, heads, queries]. mask may be null iff
// Mask::none.
void attention(const Attention& a, Threads threads, const void* q, const void* k, const void* v,
               const void* mask, void* out, void* lse, void* scratch);

// What the backward pass reads (all but mask required) and writes.
struct AttentionGradIo {
  const void *q, *k, *v, *mask, *out, *lse, *dout;
  void *dq, *dk, *dv;
};
size_t attention_grad_scratch_bytes(const Attention& a, Threads threads);
void attention_grad(const Attention& a, Threads threads, const AttentionGradIo& io, void* scratch);

}  // namespace heddle::cpu
