// Attention of short heads: several sequences share a tile, one below the other, under a block-diagonal mask.
//
// Either layout of q, k and v is a matrix of rows: bshd has a row for each (batch, position) and all heads
// beside each other, bhsd a row for each (batch, head, position) and one head. A panel is some whole
// sequences of it, at most 128 rows, and comes in one transfer. Heads of a panel are worked on a few at a
// time (a slab): their columns are turned together, and a product for one of them has the others' columns of
// one operand set to zero.
#pragma once

#include <vector>

#include "systolic/kernels/attention_tiles.h"

namespace heddle::systolic {

// Which sequences a panel holds.
struct Panel {
  int64_t first;  // sequence
  int sequences;
};

class Panels {
 public:
  Panels(NeuronCore& nc, const AttentionShape& a, bool bshd);

  std::vector<Panel> list() const;
  std::vector<Piece> slabs() const;     // of a panel's heads
  int heads() const { return heads_; }  // beside each other in a row
  int queries(const Panel& p) const { return p.sequences * static_cast<int>(a_.queries); }
  int keys(const Panel& p) const { return p.sequences * static_cast<int>(a_.keys); }

  // All heads of the panel: [rows, heads * depth].
  Tile load(TilePool& pool, const HeadRows& x, const Panel& p);
  void store(const HeadRows& x, const Panel& p, const Tile& tile);

  // [queries, keys] float32: 0 where a key is visible, -inf elsewhere.
  Tile mask(const Panel& p);
  // out[columns, heads, rows] = turned[columns, rows] with all but the head's `depth` columns zero.
  void separate(const Tile& out, const Tile& turned, int heads, int depth);

  // Row statistics [queries, heads] of a panel, from and to a value [batch, head, query]. All stores come
  // before finish_statistics(), which brings them into place.
  Tile load_statistics(const Hbm& value, const Panel& p);
  void store_statistics(const Panel& p, const Tile& tile);
  void finish_statistics(const Hbm& value);

 private:
  Hbm matrix(const HeadRows& x, const Panel& p) const;
  Hbm by_panel(const Panel& p) const;
  void exchange(const Hbm& value, bool to_panels);

  NeuronCore& nc_;
  const AttentionShape& a_;
  const bool bshd_;
  const int heads_, sequences_;  // of a full panel
  const int64_t all_sequences_;
  TilePool constants_, rows_, columns_;
  std::optional<Tile> mask_, chosen_;
  int chosen_heads_ = 0, chosen_depth_ = 0;
  std::optional<Hbm> statistics_;  // panel by panel: [head, sequence, query]
  bool exchanged_ = false;
};

void emit_attention_packed(const NodeContext& c, const AttentionShape& a);
void emit_attention_packed_grad(const NodeContext& c, const AttentionShape& a);

}  // namespace heddle::systolic
