// Rows by index: indirect DMA. Embedding is a gather from a table, its gradient a read-add-write scatter into
// zeros.
#include <algorithm>
#include <cmath>

#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

constexpr int64_t longest_piece = 4096;  // elements of a row moved at once

// Indices of a block of rows, [P, 1] int32; negative ones count from the end of the table.
class Indices {
 public:
  Indices(NeuronCore& nc, const Operand& indices, int64_t table_rows)
      : nc_(nc),
        hbm_(indices.hbm.reshape({indices.elements(), 1})),
        rows_(table_rows),
        pool_(nc.sbuf_pool("index", 6)) {}
  Tile load(const Piece& r) {
    const int p = static_cast<int>(r.count);
    const Tile raw = pool_.tile(p, {1}, DType::int32), shift = pool_.tile(p, {1}, DType::int32),
               index = pool_.tile(p, {1}, DType::int32);
    nc_.dma_load(raw, hbm_.rows(r.begin, r.count));
    nc_.tensor_scalar(shift, raw, {AluOp::less, 0.0}, {AluOp::multiply, static_cast<double>(rows_)},
                      Engine::gpsimd);
    nc_.tensor_tensor(index, raw, AluOp::add, shift, Engine::gpsimd);
    return index;
  }

 private:
  NeuronCore& nc_;
  Hbm hbm_;
  int64_t rows_;
  TilePool pool_;
};

void gather_rows(const NodeContext& c, const Operand& table, const Operand& indices, const Operand& out) {
  NeuronCore& nc = c.nc;
  const int64_t rows = table.shape[0], columns = table.elements() / rows, n = indices.elements();
  Indices index(nc, indices, rows);
  TilePool pool = nc.sbuf_pool("rows", 2);
  const Hbm from = table.hbm.reshape({rows, columns}), to = out.hbm.reshape({n, columns});
  const bool is_real = is_float(table.dtype);
  for (const Piece& r : pieces(n, 128)) {
    const Tile at = index.load(r);
    for (const Piece& k : pieces(columns, longest_piece)) {
      const Tile t = pool.tile(static_cast<int>(r.count), {static_cast<int>(k.count)}, table.dtype);
      nc.memset(t, is_real ? NAN : 0.0f);  // rows whose index is out of range
      nc.dma_gather(t, from.cols(k.begin, k.count), at, Bounds::skip);
      nc.dma_store(to.rows(r.begin, r.count).cols(k.begin, k.count), t);
    }
  }
}

void scatter_rows(const NodeContext& c, const Operand& target, const Operand& indices, const Operand& updates,
                  Scatter mode) {
  NeuronCore& nc = c.nc;
  const int64_t rows = target.shape[0], columns = target.elements() / rows, n = indices.elements();
  Indices index(nc, indices, rows);
  TilePool pool = nc.sbuf_pool("updates", 2);
  const Hbm to = target.hbm.reshape({rows, columns}), from = updates.hbm.reshape({n, columns});
  for (const Piece& r : pieces(n, 128)) {
    const Tile at = index.load(r);
    for (const Piece& k : pieces(columns, longest_piece)) {
      const Tile t = pool.tile(static_cast<int>(r.count), {static_cast<int>(k.count)}, target.dtype);
      nc.dma_load(t, from.rows(r.begin, r.count).cols(k.begin, k.count));
      nc.dma_scatter(to.cols(k.begin, k.count), at, t, mode, Bounds::skip);
    }
  }
}

void emit_gather(const NodeContext& c) { gather_rows(c, c.inputs[0], c.inputs[1], c.outputs[0]); }

void emit_scatter(const NodeContext& c) {
  c.nc.dma_copy(c.outputs[0].hbm, c.inputs[0].hbm);
  scatter_rows(c, c.outputs[0], c.inputs[1], c.inputs[2],
               c.attributes.get<std::string>("mode") == "add" ? Scatter::add : Scatter::set);
}

void emit_embedding_grad(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const Operand& table = c.outputs[0];
  const int64_t rows = table.shape[0], columns = table.elements() / rows;
  {
    TilePool pool = nc.sbuf_pool("zeros", 1);
    const int64_t width = std::min(columns, longest_piece);
    const Tile zeros =
        pool.tile(static_cast<int>(std::min<int64_t>(128, rows)), {static_cast<int>(width)}, table.dtype);
    nc.memset(zeros, 0.0f);
    const Hbm to = table.hbm.reshape({rows, columns});
    for (const Piece& r : pieces(rows, 128))
      for (const Piece& k : pieces(columns, width))
        nc.dma_store(to.rows(r.begin, r.count).cols(k.begin, k.count),
                     zeros.rows(0, static_cast<int>(r.count)).cols(0, static_cast<int>(k.count)));
  }
  scatter_rows(c, table, c.inputs[1], c.inputs[0], Scatter::add);
}

backend::Offer check(const backend::NodeRef& node, uint32_t indices) {
  if (node.input(indices).dtype() != HD_DTYPE_INT32)
    return backend::no("indices must be int32; the engines have no 64-bit integers");
  if (node.integer("axis") != 0) return backend::no("indirect DMA moves rows: axis 0 only");
  return floats_and_indices(node);
}
backend::Offer offer_first(const backend::NodeRef& node) { return check(node, 1); }
// bfloat16 sums of many rows would round at every addition, and integers pass through float32.
backend::Offer offer_adding(const backend::NodeRef& node) {
  const backend::Offer o = check(node, 1);
  const bool adds = node.text("mode", "add") == "add";
  if (o.accepted && adds && node.output(0).dtype() != HD_DTYPE_FLOAT32)
    return backend::no("DMA adds in the dtype in memory: float32 only");
  return o;
}

constexpr Lowering lowerings[] = {{"gather", offer_first, emit_gather},
                                  {"embedding", offer_first, emit_gather},
                                  {"scatter", offer_adding, emit_scatter},
                                  {"embedding_grad", offer_adding, emit_embedding_grad}};

}  // namespace

std::span<const Lowering> gather_lowerings() { return lowerings; }

}  // namespace heddle::systolic
