// How an attention is cut into tasks and where its scratch goes. Internal to the attention kernels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cpu/kernels/attention.h"

namespace heddle::cpu {

// Strides of q, k, v or out, in elements; the depth axis is contiguous.
struct HeadStrides {
  int64_t batch, head, row;
};

inline HeadStrides head_strides(Attention::Layout layout, int64_t heads, int64_t rows, int64_t depth) {
  if (layout == Attention::Layout::bhsd) return {heads * rows * depth, rows * depth, depth};
  return {rows * heads * depth, depth, heads * depth};
}

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Keys that query `i` may see under the causal rule: [0, limit).
inline int64_t causal_limit(const Attention& a, int64_t i) {
  if (!a.causal) return a.keys;
  return std::clamp<int64_t>(i + a.keys - a.queries + 1, 0, a.keys);
}

// Blocks of both passes are at most this many rows and keys. Panels (the part of a block in the lanes of one
// micro-kernel) are at most `widest_panel` columns on any instruction set.
inline constexpr int64_t block_rows_max = 128;
inline constexpr int64_t block_keys_max = 128;
inline constexpr int64_t widest_panel = 32;

// Forward. A task is (batch, head, block of rows); with short queries all heads of a key/value head share a
// block: row r is query r % queries of head r / queries of the group.
struct ForwardPlan {
  Attention a;
  HeadStrides q, k, v, out;
  int64_t group;               // heads per key/value head
  bool merged;                 // a block spans the heads of a group
  int64_t rows;                // per row set: queries, or group * queries when merged
  int64_t row_sets;            // batch * heads, or batch * kv_heads when merged
  int64_t block_rows, blocks;  // rows of a block; blocks of a row set
  int64_t block_keys;
  int64_t tasks;  // row_sets * blocks * splits
  int64_t tasks_per_claim;
  int64_t splits;  // parts of the keys, each a task of its own, combined at the end
  // Scratch of one thread, in floats from its start.
  int64_t packed_q, sums, scores, state, wide_k, wide_v, thread_floats;
  // Partial results of splits: per task, `partial_floats`.
  int64_t partial_floats;
};

struct ForwardIo {
  const void *q, *k, *v, *mask;
  void* out;
  float* lse;
  float* partials;  // when splits > 1
};

// Runs tasks [begin, end), or combines the splits of tasks [begin, end) counted without splits. `scratch`
// belongs to the calling thread.
void attention_forward_tasks(const ForwardPlan& plan, const ForwardIo& io, bool combine, int64_t begin,
                             int64_t end, float* scratch);

// Backward. A task is (batch, key/value head, part of the key blocks), over all heads of the group and all
// queries.
struct BackwardPlan {
  Attention a;
  HeadStrides q, k, v, out;
  int64_t group;
  int64_t block_keys, key_blocks, block_rows;
  int64_t parts;  // per (batch, key/value head); with several, each sums dq on its own
  int64_t tasks, tasks_per_claim;
  bool direct_k;         // keys are read in place: float32 and whole vectors
  bool direct_dq;        // dq is summed in place: one part, float32 and whole vectors
  int64_t depth_padded;  // row length of copied keys and of summed dq
  // Scratch of one thread, in floats from its start.
  int64_t packed_k, packed_v, wide_k, sum_dk, sum_dv, scores, gradients, row_state, wide_q, wide_dout, sum_dq,
      thread_floats;
  int64_t part_floats;  // with parts, of each task: its sum of dq
};

struct BackwardIo {
  AttentionGradIo t;
  float* parts;  // when parts > 1
};

void attention_backward_tasks(const BackwardPlan& plan, const BackwardIo& io, int64_t begin, int64_t end,
                              float* scratch);
// Adds the parts of dq, for rows [begin, end) of all batch * heads * queries.
void attention_backward_sum(const BackwardPlan& plan, const BackwardIo& io, int64_t begin, int64_t end);

}  // namespace heddle::cpu
