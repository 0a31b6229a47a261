// Order of rows in long heads, and what a causal mask makes of it.
#pragma once

#include <map>
#include <optional>

#include "systolic/kernels/attention_sections.h"

namespace heddle::systolic {

// How many neighbouring rows a partition takes (load_blocks), of queries and of keys. Full attention does not
// mind the order of either; a causal mask stays simple for pairs; a given mask needs rows in order.
struct Runs {
  int64_t query = 1, key = 1;
};
Runs runs_of(const AttentionShape& a, int64_t most);

// Blocks of 128 keys on the edge of a causal mask get a large negative number from the tensor engine, a
// product of the identity and a mask, added to the scores in PSUM.
class Edges {
 public:
  Edges(NeuronCore& nc, const AttentionShape& a, const Runs& runs)
      : nc_(nc), a_(a), runs_(runs), pool_(nc.sbuf_pool("edge", 4)) {}

  // Keys that some query of a tile sees, to the end of their block; pairs of blocks are seen together.
  int64_t visible_keys(const Piece& query) const;
  // For a block of keys of which some are hidden from some queries: query p sees key j when p - j is at least
  // this.
  std::optional<int64_t> edge_of(const Piece& query, const Piece& key) const;
  // Ends the accumulation group of scores[queries, keys] by hiding keys.
  void hide(const Tile& scores, int64_t edge);

 private:
  Tile mask(int64_t edge);
  Tile identity();

  NeuronCore& nc_;
  const AttentionShape& a_;
  const Runs runs_;
  TilePool pool_;
  std::map<int64_t, Tile> masks_;
  std::optional<Tile> identity_;
};

}  // namespace heddle::systolic
