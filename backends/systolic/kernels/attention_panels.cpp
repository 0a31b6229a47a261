#include "systolic/kernels/attention_panels.h"

#include <algorithm>
#include <cmath>

namespace heddle::systolic {
namespace {

constexpr int most_rows = 128;
constexpr int vector_square = 32;  // what the vector engine turns at once

}  // namespace

Panels::Panels(NeuronCore& nc, const AttentionShape& a, bool bshd)
    : nc_(nc),
      a_(a),
      bshd_(bshd),
      heads_(bshd ? static_cast<int>(a.heads) : 1),
      sequences_(static_cast<int>(a.pack)),
      all_sequences_(bshd ? a.batch : a.batch * a.heads),
      constants_(nc.sbuf_pool("masks", 2)),
      rows_(nc.sbuf_pool("statistics.rows", 2)),
      columns_(nc.sbuf_pool("statistics.columns", 2)) {}

std::vector<Panel> Panels::list() const {
  std::vector<Panel> all;
  for (const Piece& p : pieces(all_sequences_, sequences_))
    all.push_back({p.begin, static_cast<int>(p.count)});
  return all;
}

std::vector<Piece> Panels::slabs() const {
  const int64_t bank = nc_.device().psum.bank_bytes / static_cast<int64_t>(sizeof(float));
  const int64_t rows = sequences_ * std::max(a_.queries, a_.keys);
  return pieces(heads_, std::min(most_rows / std::max(a_.depth, a_.value_depth), bank / rows));
}

Hbm Panels::matrix(const HeadRows& x, const Panel& p) const {
  const int64_t columns = heads_ * x.depth;
  return x.hbm.box(p.first * x.rows * columns, {p.sequences * x.rows, columns}, {columns, 1});
}
Tile Panels::load(TilePool& pool, const HeadRows& x, const Panel& p) {
  const Tile tile =
      pool.tile(p.sequences * static_cast<int>(x.rows), {heads_ * static_cast<int>(x.depth)}, x.dtype);
  nc_.dma_load(tile, matrix(x, p));
  return tile;
}
void Panels::store(const HeadRows& x, const Panel& p, const Tile& tile) { nc_.dma_store(matrix(x, p), tile); }

Tile Panels::mask(const Panel& p) {
  if (!mask_) {
    const int n = sequences_, s = static_cast<int>(a_.queries), t = static_cast<int>(a_.keys);
    const Tile all = constants_.tile(n * s, {n * t}, DType::float32), blocks = all.reshape({n, t});
    nc_.memset(all, 0.0f);
    // Query row r, sequence i, key j: 0 <= r - i*s < s, and causal r - i*s + t - s >= j.
    nc_.affine_select(blocks, blocks, AffinePattern{.base = 0, .partition_step = 1, .step = {-s, 0}},
                      AluOp::greater_equal, -INFINITY);
    nc_.affine_select(blocks, blocks, AffinePattern{.base = s - 1, .partition_step = -1, .step = {s, 0}},
                      AluOp::greater_equal, -INFINITY);
    if (a_.causal)
      nc_.affine_select(blocks, blocks, AffinePattern{.base = t - s, .partition_step = 1, .step = {-s, -1}},
                        AluOp::greater_equal, -INFINITY);
    mask_ = all;
  }
  return mask_->rows(0, queries(p)).cols(0, keys(p));
}

void Panels::separate(const Tile& out, const Tile& turned, int heads, int depth) {
  const int rows = static_cast<int>(turned.free_elements()), columns = turned.partitions();
  if (heads == 1) {
    nc_.tensor_copy(out, turned);
    return;
  }
  if (!chosen_ || chosen_heads_ < heads || chosen_depth_ != depth) {
    // Column c belongs to head i: 0 <= c - i*depth < depth.
    const Tile ones = constants_.tile(heads * depth, {heads}, DType::float32);
    nc_.memset(ones, 1.0f);
    nc_.affine_select(ones, ones, AffinePattern{.base = 0, .partition_step = 1, .step = {-depth}},
                      AluOp::greater_equal, 0.0f);
    nc_.affine_select(ones, ones, AffinePattern{.base = depth - 1, .partition_step = -1, .step = {depth}},
                      AluOp::greater_equal, 0.0f);
    chosen_ = ones, chosen_heads_ = heads, chosen_depth_ = depth;
  }
  const Tile chosen = chosen_->rows(0, columns).cols(0, heads);
  nc_.tensor_tensor(out, turned.repeat(0, heads), AluOp::multiply, chosen.repeat(1, rows));
}

// Panel by panel [head, sequence, query], which is what tiles hold.
Hbm Panels::by_panel(const Panel& p) const {
  const int64_t n = p.sequences * a_.queries;
  return statistics_->box(p.first * heads_ * a_.queries, {heads_, n}, {n, 1});
}

void Panels::exchange(const Hbm& value, bool to_panels) {
  const int64_t s = a_.queries, whole = all_sequences_ / sequences_, rest = all_sequences_ % sequences_;
  const auto move = [&](int64_t first, int64_t panels, int64_t n) {
    if (panels == 0) return;
    const Hbm there =
        value.box(first * heads_ * s, {panels, heads_, n, s}, {n * heads_ * s, s, heads_ * s, 1});
    const Hbm here =
        statistics_->box(first * heads_ * s, {panels, heads_, n, s}, {heads_ * n * s, n * s, s, 1});
    nc_.dma_copy(to_panels ? here : there, to_panels ? there : here);
  };
  move(0, whole, sequences_);
  move(whole * sequences_, rest > 0 ? 1 : 0, rest);
}

Tile Panels::load_statistics(const Hbm& value, const Panel& p) {
  if (!statistics_) {
    if (bshd_) {
      statistics_ = nc_.hbm_scratch("statistics", {value.elements()}, DType::float32);
      exchange(value, true);
    } else {
      statistics_ = value;
    }
  }
  const int n = queries(p);
  const Tile rows = rows_.tile(heads_, {n}, DType::float32),
             columns = columns_.tile(n, {heads_}, DType::float32);
  nc_.dma_load(rows, by_panel(p));
  for (const Piece& h : pieces(heads_, vector_square))
    for (const Piece& r : pieces(n, vector_square)) {
      const int head = static_cast<int>(h.begin), row = static_cast<int>(r.begin);
      nc_.nc_transpose(columns.rows(row, static_cast<int>(r.count)).cols(head, static_cast<int>(h.count)),
                       rows.rows(head, static_cast<int>(h.count)).cols(row, static_cast<int>(r.count)),
                       Engine::dve);
    }
  return columns;
}

void Panels::store_statistics(const Panel& p, const Tile& tile) {
  const int n = queries(p);
  if (!statistics_)
    statistics_ = nc_.hbm_scratch("statistics", {all_sequences_ * heads_ * a_.queries}, DType::float32);
  const Tile rows = rows_.tile(heads_, {n}, DType::float32);
  for (const Piece& h : pieces(heads_, vector_square))
    for (const Piece& r : pieces(n, vector_square)) {
      const int head = static_cast<int>(h.begin), row = static_cast<int>(r.begin);
      nc_.nc_transpose(rows.rows(head, static_cast<int>(h.count)).cols(row, static_cast<int>(r.count)),
                       tile.rows(row, static_cast<int>(r.count)).cols(head, static_cast<int>(h.count)),
                       Engine::dve);
    }
  nc_.dma_store(by_panel(p), rows);
}

void Panels::finish_statistics(const Hbm& value) { exchange(value, false); }

}  // namespace heddle::systolic
