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

Tile load_heads(NeuronCore& nc, TilePool& pool, const HeadRows& x, const Heads& heads,
                int64_t heads_per_batch, int64_t shared, const Piece& row) {
  const int rows = static_cast<int>(row.count), depth = static_cast<int>(x.depth);
  const Tile tile = pool.tile(static_cast<int>(heads.count) * rows, {depth}, x.dtype);
  // Whole heads that follow each other in memory are one transfer.
  const bool dense = x.row_step == x.depth && shared == 1 && (heads.count == 1 || row.count == x.rows);
  if (dense) {
    const int64_t start = x.at(heads.first / heads_per_batch, heads.first % heads_per_batch, row.begin);
    nc.dma_load(tile, x.hbm.box(start, {heads.count * rows, depth}, {depth, 1}));
    return tile;
  }
  for (int64_t h = 0; h < heads.count; ++h) {
    const int64_t head = heads.first + h;
    const int64_t start = x.at(head / heads_per_batch, head % heads_per_batch / shared, row.begin);
    nc.dma_load(tile.rows(static_cast<int>(h) * rows, rows),
                x.hbm.box(start, {rows, depth}, {x.row_step, 1}));
  }
  return tile;
}

void store_heads(NeuronCore& nc, const HeadRows& x, const Heads& heads, int64_t heads_per_batch,
                 const Piece& row, const Tile& tile) {
  const int rows = static_cast<int>(row.count), depth = static_cast<int>(x.depth);
  if (x.row_step == x.depth && (heads.count == 1 || row.count == x.rows)) {
    const int64_t start = x.at(heads.first / heads_per_batch, heads.first % heads_per_batch, row.begin);
    nc.dma_store(x.hbm.box(start, {heads.count * rows, depth}, {depth, 1}), tile);
    return;
  }
  for (int64_t h = 0; h < heads.count; ++h) {
    const int64_t head = heads.first + h;
    nc.dma_store(x.hbm.box(x.at(head / heads_per_batch, head % heads_per_batch, row.begin), {rows, depth},
                           {x.row_step, 1}),
                 tile.rows(static_cast<int>(h) * rows, rows));
  }
}

Turner::Turner(NeuronCore& nc, DType dtype, TilePool& psum, int buffers)
    : nc_(nc), dtype_(dtype), psum_(psum), sbuf_(nc.sbuf_pool("turned", buffers)) {}

Tile Turner::turn(const Tile& in) {
  const int n = in.partitions(), m = static_cast<int>(in.free_elements());
  const Tile turned = psum_.tile(m, {n}, dtype_);
  nc_.nc_transpose(turned, in);
  const Tile out = sbuf_.tile(m, {n}, dtype_);
  nc_.tensor_copy(out, turned);
  return out;
}

Masks::Masks(NeuronCore& nc, const AttentionShape& a)
    : nc_(nc),
      a_(a),
      pool_(nc.sbuf_pool("mask", 2)),
      load_(nc.sbuf_pool("mask.raw", 2)),
      constant_(nc.sbuf_pool("mask.packed", 2)) {}

bool Masks::hidden(const Piece& query, const Piece& key) const {
  return a_.causal && key.begin > query.begin + query.count - 1 + a_.keys - a_.queries;
}

Tile Masks::packed() {
  if (packed_) return *packed_;
  const int s = static_cast<int>(a_.queries), t = static_cast<int>(a_.keys), g = static_cast<int>(a_.pack);
  const Tile one = constant_.tile(s, {t}, DType::float32), all = pool_.tile(g * s, {g * t}, DType::float32);
  nc_.memset(one, 0.0f);
  if (a_.causal)
    nc_.affine_select(one, one, AffinePattern{.base = t - s, .partition_step = 1, .step = {-1}},
                      AluOp::greater_equal, -INFINITY);
  nc_.memset(all, -INFINITY);
  for (int h = 0; h < g; ++h) nc_.dma_copy(all.rows(h * s, s).cols(h * t, t), one);
  packed_ = all;
  return all;
}

std::optional<Tile> Masks::tile(const Heads& heads, const Piece& query, const Piece& key) {
  if (a_.pack > 1) {
    const int s = static_cast<int>(a_.queries), t = static_cast<int>(a_.keys),
              g = static_cast<int>(heads.count);
    return packed().rows(0, g * s).cols(0, g * t);
  }
  const int64_t shift = a_.keys - a_.queries;
  const bool crosses = a_.causal && key.begin + key.count - 1 > query.begin + shift;
  if (!crosses && a_.mask == nullptr) return std::nullopt;
  const int p = static_cast<int>(query.count), n = static_cast<int>(key.count);
  const Tile tile = pool_.tile(p, {n}, DType::float32);
  if (a_.mask != nullptr) {
    const int64_t head = heads.first % a_.heads, batch = heads.first / a_.heads;
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
