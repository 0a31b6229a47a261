#include "systolic/kernels/attention_edges.h"

#include <algorithm>

namespace heddle::systolic {

Runs runs_of(const AttentionShape& a, int64_t most) {
  if (a.mask != nullptr) return {};
  if (a.causal) {
    const int64_t pair = 2 * block_rows;
    return a.queries % pair == 0 && a.keys % pair == 0 && a.keys >= a.queries ? Runs{2, 2} : Runs{};
  }
  const auto longest = [most](int64_t rows) {
    int64_t run = most;
    while (run > 1 && rows % (block_rows * run) != 0) run /= 2;
    return run;
  };
  return {longest(a.queries), longest(a.keys)};
}

int64_t Edges::visible_keys(const Piece& query) const {
  if (!a_.causal) return a_.keys;
  const int64_t group = block_rows * runs_.key;
  const int64_t seen = std::max<int64_t>(query.begin + query.count + a_.keys - a_.queries, 0);
  return std::min((seen + group - 1) / group * group, a_.keys);
}

std::optional<int64_t> Edges::edge_of(const Piece& query, const Piece& key) const {
  if (!a_.causal || a_.mask != nullptr) return std::nullopt;
  const int64_t last = query.begin + a_.keys - a_.queries;  // key that the first query sees last
  if (runs_.key == 1) {
    if (key.begin + key.count - 1 <= last) return std::nullopt;
    return key.begin - last;
  }
  const int64_t pair = 2 * block_rows;
  if (key.begin / pair < last / pair) return std::nullopt;
  return key.begin % pair <= last % pair ? 0 : 1;
}

void Edges::hide(const Tile& scores, int64_t edge) {
  nc_.nc_matmul(scores, identity().cols(0, scores.partitions()),
                mask(edge).cols(0, static_cast<int>(scores.free_elements())), {false, true});
}

// [128, 128]: 0 where p - j >= edge, else so large a negative number that exp gives 0. Of the sign that the
// scale will keep negative.
Tile Edges::mask(int64_t edge) {
  const auto it = masks_.find(edge);
  if (it != masks_.end()) return it->second;
  const Tile tile = pool_.tile(block_rows, {block_rows}, a_.q.dtype);
  nc_.memset(tile, 0.0f);
  nc_.affine_select(tile, tile, AffinePattern{.base = -edge, .partition_step = 1, .step = {-1}},
                    AluOp::greater_equal, a_.scale < 0 ? 3e38f : -3e38f);
  return masks_.emplace(edge, tile).first->second;
}

Tile Edges::identity() {
  if (identity_) return *identity_;
  const Tile tile = pool_.tile(block_rows, {block_rows}, a_.q.dtype);
  nc_.memset(tile, 1.0f);
  nc_.affine_select(tile, tile, AffinePattern{.base = 0, .partition_step = 1, .step = {-1}}, AluOp::equal,
                    0.0f);
  identity_ = tile;
  return tile;
}

}  // namespace heddle::systolic
