// Reductions. Trailing axes: along the free dimension on DVE. Leading axes: rows add up in SBUF, partitions
// through the tensor engine (sums) or GpSimd (the others). Axes in the middle: leading, once per index of the
// axes before them.
#include "systolic/kernels/rows.h"

#include <algorithm>
#include <cmath>

namespace heddle::systolic {
namespace {

constexpr int64_t block_columns = 2048;
constexpr int64_t least_product = 16;  // columns

// The operand as [outer, reduced, inner], when the reduced axes are neighbours.
struct Split {
  int64_t outer = 1, reduced = 1, inner = 1;
  bool neighbours = true;
};
Split split_of(std::span<const int64_t> dims, std::span<const int64_t> axes) {
  Split s;
  int state = 0;  // before, in, behind the reduced axes; axes of size one do not count
  for (size_t a = 0; a < dims.size(); ++a) {
    if (dims[a] == 1) continue;
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<int64_t>(a)) != axes.end();
    if (reduced) {
      if (state == 2) s.neighbours = false;
      state = 1;
      s.reduced *= dims[a];
    } else {
      if (state == 1) state = 2;
      (state == 0 ? s.outer : s.inner) *= dims[a];
    }
  }
  return s;
}

struct Kind {
  AluOp op;
  double factor;  // of the result: 1/n for means
  float neutral;
};
Kind kind_of(const std::string& kind, int64_t n) {
  if (kind == "max") return {AluOp::maximum, 1.0, -INFINITY};
  if (kind == "min") return {AluOp::minimum, 1.0, INFINITY};
  if (kind == "prod") return {AluOp::multiply, 1.0, 1.0f};
  return {AluOp::add, kind == "mean" ? 1.0 / static_cast<double>(n) : 1.0, 0.0f};
}

// [rows, columns] -> [rows], short rows: some per partition.
void reduce_short_rows(const NodeContext& c, const Kind& kind, int64_t rows, int64_t columns) {
  NeuronCore& nc = c.nc;
  TilePool in = nc.sbuf_pool("x", 2), small = nc.sbuf_pool("sums", 2), out_pool = nc.sbuf_pool("y", 2);
  for (const RowBlock& b : row_blocks(rows, columns, block_columns)) {
    const Tile t = in.tile(b.partitions, {b.run, static_cast<int>(columns)}, c.inputs[0].dtype);
    nc.dma_load(t, b.of(c.inputs[0].hbm, columns));
    const Tile sum = small.tile(b.partitions, {b.run}, DType::float32),
               out = out_pool.tile(b.partitions, {b.run}, c.outputs[0].dtype);
    nc.tensor_reduce(sum, kind.op, t, 1);
    nc.tensor_scalar(out, sum, {AluOp::multiply, kind.factor});
    nc.dma_store(b.of(c.outputs[0].hbm, 1), out);
  }
}

// [rows, columns] -> [rows]: the free axis, piece by piece.
void reduce_rows(const NodeContext& c, const Kind& kind, int64_t rows, int64_t columns) {
  if (columns <= block_columns / 2) return reduce_short_rows(c, kind, rows, columns);
  NeuronCore& nc = c.nc;
  TilePool in = nc.sbuf_pool("x", 2), small = nc.sbuf_pool("sums", 6), out_pool = nc.sbuf_pool("y", 2);
  const Hbm x = c.inputs[0].hbm.reshape({rows, columns}), y = c.outputs[0].hbm.reshape({rows, 1});
  for (const Piece& r : pieces(rows, 128)) {
    const int p = static_cast<int>(r.count);
    Tile total;
    for (const Piece& k : pieces(columns, block_columns)) {
      const Tile t = in.tile(p, {static_cast<int>(k.count)}, c.inputs[0].dtype);
      nc.dma_load(t, x.rows(r.begin, r.count).cols(k.begin, k.count));
      const Tile part = small.tile(p, {1}, DType::float32);
      nc.tensor_reduce(part, kind.op, t);
      if (k.begin != 0) nc.tensor_tensor(part, part, kind.op, total);
      total = part;
    }
    const Tile out = out_pool.tile(p, {1}, c.outputs[0].dtype);
    nc.tensor_scalar(out, total, {AluOp::multiply, kind.factor});
    nc.dma_store(y.rows(r.begin, r.count), out);
  }
}

// [reduced, columns] -> [columns], `x` and `y` at one index of the outer axes. Sums of rows are products with
// ones that add up in PSUM, unless rows are too short to be worth one.
void reduce_columns(const NodeContext& c, const Kind& kind, const Hbm& x, const Hbm& y, int64_t reduced,
                    int64_t columns) {
  NeuronCore& nc = c.nc;
  const DType dtype = c.inputs[0].dtype;
  TilePool in = nc.sbuf_pool("x", 3), sums = nc.sbuf_pool("sums", 2), parts = nc.sbuf_pool("parts", 2),
           out_pool = nc.sbuf_pool("y", 2), ones_pool = nc.sbuf_pool("ones", 1);
  TilePool psum = nc.psum_pool("sums", 2);
  const int p_max = static_cast<int>(std::min<int64_t>(128, reduced));
  const bool by_products = kind.op == AluOp::add && columns >= least_product;
  const Tile ones = ones_pool.tile(p_max, {1}, by_products ? dtype : DType::float32);
  nc.memset(ones, 1.0f);
  for (const Piece& k : pieces(columns, 512)) {
    const int n = static_cast<int>(k.count);
    const Tile sum = psum.tile(1, {n}, DType::float32);
    Tile total;
    // Rows that are whole come some per partition; pieces of rows one by one.
    for (const RowBlock& b : row_blocks(reduced, n, n == columns ? block_columns / 2 : 1)) {
      const Tile t = in.tile(b.partitions, {b.run, n}, dtype);
      nc.dma_load(
          t, x.box(b.begin * columns + k.begin, {b.partitions, b.run, n}, {b.run * columns, columns, 1}));
      const bool first = b.begin == 0, last = b.begin + b.rows() == reduced;
      if (by_products) {
        for (int r = 0; r < b.run; ++r)
          nc.nc_matmul(sum, ones.rows(0, b.partitions), t.at(0, r),
                       {first && r == 0, last && r + 1 == b.run});
        continue;
      }
      const Tile part =
          first ? sums.tile(p_max, {n}, DType::float32) : parts.tile(b.partitions, {n}, DType::float32);
      nc.tensor_reduce(part, kind.op, t.permute({1, 0}), 1);
      if (first)
        total = part;
      else
        nc.tensor_tensor(total.rows(0, b.partitions), total.rows(0, b.partitions), kind.op, part);
    }
    const Tile out = out_pool.tile(1, {n}, c.outputs[0].dtype);
    if (kind.op == AluOp::add) {
      if (!by_products) nc.nc_matmul(sum, ones, total);
      nc.tensor_scalar(out, sum, {AluOp::multiply, kind.factor});
    } else {
      const Tile across = out_pool.tile(1, {n}, DType::float32);
      nc.partition_reduce(across, kind.op, total);
      nc.tensor_copy(out, across);
    }
    nc.dma_store(y.box(k.begin, {1, n}, {n, 1}), out);
  }
}

void emit(const NodeContext& c) {
  const auto& axes = c.attributes.get<std::vector<int64_t>>("axes");
  const Split s = split_of(c.inputs[0].shape.dims(), axes);
  const Kind kind = kind_of(c.attributes.get<std::string>("kind"), s.reduced);
  if (s.inner == 1 && (s.outer > 1 || s.reduced < 128)) return reduce_rows(c, kind, s.outer, s.reduced);
  if (s.inner == 1) {  // everything to one number: 128 rows first, then across the partitions
    const int64_t columns = 1;
    return reduce_columns(c, kind, c.inputs[0].hbm, c.outputs[0].hbm, s.reduced, columns);
  }
  for (int64_t o = 0; o < s.outer; ++o)
    reduce_columns(c, kind, c.inputs[0].hbm.slice(0, o * s.reduced * s.inner, s.reduced * s.inner),
                   c.outputs[0].hbm.slice(0, o * s.inner, s.inner), s.reduced, s.inner);
}

backend::Offer offer(const backend::NodeRef& node) {
  if (!split_of(node.input(0).dims(), node.ints("axes")).neighbours)
    return backend::no("reduced axes that are no neighbours");
  return floats_only(node);
}

constexpr Lowering lowerings[] = {{"reduce", offer, emit}};

}  // namespace

std::span<const Lowering> reduce_lowerings() { return lowerings; }

}  // namespace heddle::systolic
