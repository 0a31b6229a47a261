// What attention forward and backward share: heads as rows of HBM, several short heads packed into one tile,
// and the mask that keeps them apart.
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
  // Heads that share a tile: their queries and their keys together fill at most 128 partitions.
  int64_t pack = 1;
};
AttentionShape attention_shape(const NodeContext& c);

// Consecutive heads of a tile, counted batch by batch.
struct Heads {
  int64_t first, count;
};

// Rows [row.begin, +row.count) of each of the heads, one head below the other: [heads * row.count, depth].
// `shared`: how many heads share one of `x` (grouped queries).
Tile load_heads(NeuronCore& nc, TilePool& pool, const HeadRows& x, const Heads& heads,
                int64_t heads_per_batch, int64_t shared, const Piece& row);
void store_heads(NeuronCore& nc, const HeadRows& x, const Heads& heads, int64_t heads_per_batch,
                 const Piece& row, const Tile& tile);

// [n, m] -> [m, n] by the tensor engine; n, m <= 128.
class Turner {
 public:
  // `psum`: a pool of PSUM that turners may share; `buffers`: results that are kept.
  Turner(NeuronCore& nc, DType dtype, TilePool& psum, int buffers);
  Tile turn(const Tile& in);

 private:
  NeuronCore& nc_;
  DType dtype_;
  TilePool& psum_;
  TilePool sbuf_;
};

// Additive masks: 0 where a key is visible, -inf where not.
class Masks {
 public:
  Masks(NeuronCore& nc, const AttentionShape& a);
  // For queries and keys of the given pieces; nullopt when everything is visible. With packed heads both
  // pieces are whole.
  std::optional<Tile> tile(const Heads& heads, const Piece& query, const Piece& key);
  // Whether no query of the piece sees a key of the piece.
  bool hidden(const Piece& query, const Piece& key) const;

 private:
  Tile packed();
  NeuronCore& nc_;
  const AttentionShape& a_;
  TilePool pool_, load_, constant_;
  std::optional<Tile> packed_;
};

// Scores below this are as good as -inf: keeps exp(-inf - max) a number in rows that see no key.
inline constexpr float lowest_score = -1e30f;

}  // namespace heddle::systolic
