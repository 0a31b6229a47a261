// What attention forward and backward share: heads as rows of HBM, and masks that are given.
#pragma once

#include <optional>
#include <vector>

#include "systolic/kernels/rows.h"

namespace heddle::systolic {

// q, k, v and their like: element (batch, head, row, column) of a value in either layout.
struct HeadRows {
  Hbm hbm;
  DType dtype = DType::float32;
  int64_t batch_step = 0, head_step = 0, row_step = 0;
  int64_t rows = 0, depth = 0;
  int64_t at(int64_t batch, int64_t head, int64_t row) const {
    return batch * batch_step + head * head_step + row * row_step;
  }
};
HeadRows head_rows(const Operand& o, bool bshd);

// Sizes and options of one attention node.
struct AttentionShape {
  HeadRows q, k, v;
  int64_t batch, heads, kv_heads, queries, keys, depth, value_depth;
  bool causal;
  float scale;
  const Operand* mask = nullptr;
  std::array<int64_t, 4> mask_step{};  // over [batch, head, query, key]
  // Sequences that share a tile (attention_panels.h): their queries and their keys together fill at most 128
  // partitions.
  int64_t pack = 1;
};
AttentionShape attention_shape(const NodeContext& c);

// Additive masks: 0 where a key is visible, -inf where not.
class Masks {
 public:
  Masks(NeuronCore& nc, const AttentionShape& a);
  // For queries and keys of the given pieces of a head, heads counted batch by batch; nullopt when everything
  // is visible.
  std::optional<Tile> tile(int64_t head, const Piece& query, const Piece& key);

 private:
  NeuronCore& nc_;
  const AttentionShape& a_;
  TilePool pool_, load_;
};

// Scores below this are as good as -inf: keeps exp(-inf - max) a number in rows that see no key.
inline constexpr float lowest_score = -1e30f;

}  // namespace heddle::systolic
