#include "systolic/kernels/attention_tiles.h"

#include <algorithm>
#include <cmath>

namespace heddle::systolic {

HeadRows head_rows(const Operand& o, bool bshd) {
  HeadRows x;
  x.hbm = o.hbm;
  x.dtype = o.dtype;
  const int64_t heads = o.shape[bshd ? 2 : 1];
  x.rows = o.shape[bshd ? 1 : 2];
  x.depth = o.shape[3];
  x.batch_step = heads * x.rows * x.depth;
  x.head_step = bshd ? x.depth : x.rows * x.depth;
  x.row_step = bshd ? heads * x.depth : x.depth;
  return x;
}

AttentionShape attention_shape(const NodeContext& c) {
  AttentionShape a{};
  const bool bshd = c.attributes.get<std::string>("layout") == "bshd";
  a.q = head_rows(c.inputs[0], bshd);
  a.k = head_rows(c.inputs[1], bshd);
  a.v = head_rows(c.inputs[2], bshd);
  a.batch = c.inputs[0].shape[0];
  a.heads = c.inputs[0].shape[bshd ? 2 : 1];
  a.kv_heads = c.inputs[1].shape[bshd ? 2 : 1];
  a.queries = a.q.rows;
  a.keys = a.k.rows;
  a.depth = a.q.depth;
  a.value_depth = a.v.depth;
  a.causal = c.attributes.get<bool>("causal");
  const double scale = c.attributes.get<double>("scale");
  a.scale = static_cast<float>(scale != 0 ? scale : 1.0 / std::sqrt(static_cast<double>(a.depth)));
  if (c.inputs.size() > 3 && c.inputs[3].present) {
    a.mask = &c.inputs[3];
    int64_t step = 1;
    for (int axis = 3, own = a.mask->shape.rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
      if (a.mask->shape[own] != 1) a.mask_step[static_cast<size_t>(axis)] = step;
      step *= a.mask->shape[own];
    }
  }
  if (a.mask == nullptr && a.heads == a.kv_heads)
    a.pack =
        std::max<int64_t>(1, std::min(128 / std::max(a.queries, a.keys), bshd ? a.batch : a.batch * a.heads));
  return a;
}

Masks::Masks(NeuronCore& nc, const AttentionShape& a)
    : nc_(nc), a_(a), pool_(nc.sbuf_pool("mask", 2)), load_(nc.sbuf_pool("mask.raw", 2)) {}

std::optional<Tile> Masks::tile(int64_t sequence, const Piece& query, const Piece& key) {
  const int64_t shift = a_.keys - a_.queries;
  const bool crosses = a_.causal && key.begin + key.count - 1 > query.begin + shift;
  if (!crosses && a_.mask == nullptr) return std::nullopt;
  const int p = static_cast<int>(query.count), n = static_cast<int>(key.count);
  const Tile tile = pool_.tile(p, {n}, DType::float32);
  if (a_.mask != nullptr) {
    const int64_t head = sequence % a_.heads, batch = sequence / a_.heads;
    const int64_t start = batch * a_.mask_step[0] + head * a_.mask_step[1] + query.begin * a_.mask_step[2] +
                          key.begin * a_.mask_step[3];
    const Tile raw = load_.tile(p, {n}, a_.mask->dtype);
    nc_.dma_load(raw, a_.mask->hbm.box(start, {p, n}, {a_.mask_step[2], a_.mask_step[3]}));
    if (a_.mask->dtype == DType::boolean) {
      const Tile zeros = load_.tile(p, {n}, DType::float32);
      nc_.memset(zeros, 0.0f);
      nc_.select(tile, raw, zeros, -INFINITY);
    } else {
      nc_.tensor_copy(tile, raw);
    }
  } else {
    nc_.memset(tile, 0.0f);
  }
  // query i (from query.begin) sees key j while i + shift - j >= 0
  if (crosses)
    nc_.affine_select(
        tile, tile, AffinePattern{.base = query.begin + shift - key.begin, .partition_step = 1, .step = {-1}},
        AluOp::greater_equal, -INFINITY);
  return tile;
}

}  // namespace heddle::systolic
