// Norms over the last axis, some rows per partition. Layer-norm statistics by bn_stats/bn_aggr on DVE, the
// mean of squares by an accumulating activation on ACT; gradients of scale and bias are sums over the rows,
// products with ones that add up in PSUM.
#include <algorithm>
#include <optional>

#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

constexpr int64_t longest = 2048;       // elements of a row: twenty float32 tiles of it fit in SBUF
constexpr int64_t stats_block = 512;    // elements of one bn_stats
constexpr int64_t run_elements = 1024;  // of a partition, when rows are shorter
constexpr int64_t sum_columns = 512;    // of a bank of PSUM
constexpr int spread_columns = 1024;    // of a vector that is kept in PSUM: two banks

// Blocks of one operand as [partitions, run, columns].
struct Loader {
  NeuronCore& nc;
  TilePool pool;
  Hbm flat;
  int64_t columns;
  DType dtype;
  Loader(NeuronCore& core, const char* name, const Operand& o, int64_t width)
      : nc(core), pool(core.sbuf_pool(name, 2)), flat(o.hbm), columns(width), dtype(o.dtype) {}
  Tile load(const RowBlock& b) {
    const Tile t = pool.tile(b.partitions, {b.run, static_cast<int>(columns)}, dtype);
    nc.dma_load(t, b.of(flat, columns));
    return t;
  }
};

void power(NeuronCore& nc, const Tile& out, const Tile& in, double add, double exponent) {
  nc.tensor_scalar(out, in, {AluOp::add, add}, {AluOp::power, exponent});
}

// A row vector on every partition, float32. In PSUM where it fits: DVE takes one element a cycle when an
// operand is there, and half of that from SBUF alone.
class Spread {
 public:
  Spread(NeuronCore& nc, const char* name, const Operand& vector, int partitions)
      : n_(static_cast<int>(vector.elements())), rows_(nc.sbuf_pool(name, 3)) {
    if (n_ > spread_columns) {
      tile_ = load_on_all_partitions(nc, rows_, vector, partitions);
      return;
    }
    psum_.emplace(nc.psum_pool(name, 1));
    Tile row = rows_.tile(1, {n_}, vector.dtype);
    nc.dma_load(row, vector.hbm.reshape({1, n_}));
    if (vector.dtype != DType::float32) {
      const Tile wide = rows_.tile(1, {n_}, DType::float32);
      nc.tensor_copy(wide, row, Engine::act);
      row = wide;
    }
    const Tile ones = rows_.tile(1, {partitions}, DType::float32);
    nc.memset(ones, 1.0f);
    tile_ = psum_->tile(partitions, {n_}, DType::float32);
    for (const Piece& piece : pieces(n_, sum_columns)) {
      const int at = static_cast<int>(piece.begin), count = static_cast<int>(piece.count);
      nc.nc_matmul(tile_.cols(at, count), ones, row.cols(at, count));
    }
  }
  // Repeated for each of `run` rows of a partition.
  Tile for_rows(int partitions, int run) const { return tile_.rows(0, partitions).repeat(0, run); }

 private:
  const int n_;
  TilePool rows_;
  std::optional<TilePool> psum_;
  Tile tile_;
};

void emit_layer_norm(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n), chunks = static_cast<int>((n + stats_block - 1) / stats_block);
  TilePool work = nc.sbuf_pool("work", 2), out_pool = nc.sbuf_pool("y", 2), small = nc.sbuf_pool("stats", 8);
  Loader x(nc, "x", c.inputs[0], n);
  const int p_max = static_cast<int>(std::min<int64_t>(128, rows));
  const Spread scale(nc, "scale", c.inputs[1], p_max), bias(nc, "bias", c.inputs[2], p_max);
  for (const RowBlock& b : row_blocks(rows, n, run_elements)) {
    const int p = b.partitions, run = b.run;
    const Tile in = x.load(b);
    const Tile stats = small.tile(p, {run, 6 * chunks}, DType::float32),
               moments = small.tile(p, {run, 2}, DType::float32), mean = small.tile(p, {run}, DType::float32),
               rstd = small.tile(p, {run}, DType::float32);
    for (int r = 0; r < run; ++r) {
      for (int k = 0; k < chunks; ++k) {
        const int begin = k * static_cast<int>(stats_block),
                  count = std::min(static_cast<int>(stats_block), columns - begin);
        nc.bn_stats(stats.at(0, r).cols(6 * k, 6), in.at(0, r).cols(begin, count));
      }
      nc.bn_aggr(moments.at(0, r), stats.at(0, r));
    }
    nc.tensor_copy(mean, moments.at(1, 0), Engine::act);
    power(nc, rstd, moments.at(1, 1), c.attributes.get<double>("epsilon"), -0.5);
    const Tile centered = work.tile(p, {run, columns}, DType::float32);
    for (int r = 0; r < run; ++r)
      nc.tensor_scalar(centered.at(0, r), in.at(0, r), {AluOp::subtract, moments.at(0, r).cols(0, 1)},
                       {AluOp::multiply, rstd.cols(r, 1)});
    const Tile out = out_pool.tile(p, {run, columns}, c.outputs[0].dtype);
    nc.tensor_tensor(centered, centered, AluOp::multiply, scale.for_rows(p, run));
    nc.tensor_tensor(out, centered, AluOp::add, bias.for_rows(p, run));
    nc.dma_store(b.of(c.outputs[0].hbm, n), out);
    nc.dma_store(b.of(c.outputs[1].hbm, 1), mean);
    nc.dma_store(b.of(c.outputs[2].hbm, 1), rstd);
  }
}

void emit_rms_norm(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n);
  TilePool work = nc.sbuf_pool("work", 2), out_pool = nc.sbuf_pool("y", 2), small = nc.sbuf_pool("stats", 4);
  Loader x(nc, "x", c.inputs[0], n);
  const Spread scale(nc, "scale", c.inputs[1], static_cast<int>(std::min<int64_t>(128, rows)));
  for (const RowBlock& b : row_blocks(rows, n, run_elements)) {
    const int p = b.partitions, run = b.run;
    const Tile in = x.load(b);
    const Tile squares = work.tile(p, {run, columns}, DType::float32),
               sum = small.tile(p, {run}, DType::float32), rstd = small.tile(p, {run}, DType::float32);
    for (int r = 0; r < run; ++r)
      nc.activation_reduce(squares.at(0, r), sum.cols(r, 1), Function::square, in.at(0, r));
    nc.tensor_scalar(sum, sum, {AluOp::multiply, 1.0 / static_cast<double>(n)});
    power(nc, rstd, sum, c.attributes.get<double>("epsilon"), -0.5);
    const Tile out = out_pool.tile(p, {run, columns}, c.outputs[0].dtype);
    for (int r = 0; r < run; ++r)
      nc.scalar_tensor_tensor(out.at(0, r), in.at(0, r), {AluOp::multiply, rstd.cols(r, 1)}, AluOp::multiply,
                              scale.for_rows(p, 1).at(0, 0));
    nc.dma_store(b.of(c.outputs[0].hbm, n), out);
    nc.dma_store(b.of(c.outputs[1].hbm, 1), rstd);
  }
}

// Sums over all rows of float32 tiles [partitions, run, columns], in PSUM: products with ones.
class RowSums {
 public:
  RowSums(NeuronCore& nc, const char* name, int64_t columns, const Tile& ones)
      : nc_(nc),
        columns_(columns),
        ones_(ones),
        psum_(nc.psum_pool(name, static_cast<int>((columns + sum_columns - 1) / sum_columns))) {
    for (const Piece& piece : pieces(columns, sum_columns))
      sums_.push_back(psum_.tile(1, {static_cast<int>(piece.count)}, DType::float32));
  }
  void add(const Tile& tile, bool last) {
    const int run = tile.size(0);
    for (int r = 0; r < run; ++r) {
      const std::vector<Piece> parts = pieces(columns_, sum_columns);
      for (size_t i = 0; i < parts.size(); ++i)
        nc_.nc_matmul(sums_[i], ones_.rows(0, tile.partitions()),
                      tile.at(0, r).cols(static_cast<int>(parts[i].begin), static_cast<int>(parts[i].count)),
                      {first_, last && r + 1 == run});
      first_ = false;
    }
  }
  void store(const Operand& result) {
    TilePool pool = nc_.sbuf_pool("sums", 1);
    const Tile out = pool.tile(1, {static_cast<int>(columns_)}, result.dtype);
    const std::vector<Piece> parts = pieces(columns_, sum_columns);
    for (size_t i = 0; i < parts.size(); ++i)
      nc_.tensor_copy(out.cols(static_cast<int>(parts[i].begin), static_cast<int>(parts[i].count)), sums_[i],
                      Engine::act);
    nc_.dma_store(result.hbm.reshape({1, columns_}), out);
  }

 private:
  NeuronCore& nc_;
  const int64_t columns_;
  const Tile ones_;
  TilePool psum_;
  std::vector<Tile> sums_;
  bool first_ = true;
};

// Sums of each row of [partitions, run, columns]. Long rows on ACT, in place; short ones all at once on DVE.
void row_sums(NeuronCore& nc, const Tile& out, const Tile& in) {
  if (in.size(0) > 1)
    nc.tensor_reduce(out, AluOp::add, in, 1);
  else
    nc.activation_reduce(in, out, Function::copy, in);
}

// dx = rstd * (g - [mean(g)] - xhat * mean(g * xhat)), g = dy * scale, xhat = (x - [mean]) * rstd;
// dscale = sum dy * xhat, [dbias = sum dy] over the rows. The parts in brackets are layer norm's alone.
void emit_grad(const NodeContext& c, bool centered) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n), p_max = static_cast<int>(std::min<int64_t>(128, rows));
  const size_t rstd_operand = centered ? 4 : 3;
  TilePool constants = nc.sbuf_pool("ones", 1), work = nc.sbuf_pool("work", 10),
           out_pool = nc.sbuf_pool("dx", 2), small = nc.sbuf_pool("stats", 8);
  Loader dy(nc, "dy", c.inputs[0], n), x(nc, "x", c.inputs[1], n), mean_in(nc, "mean", c.inputs[3], 1),
      rstd_in(nc, "rstd", c.inputs[rstd_operand], 1);
  const Spread scale(nc, "scale", c.inputs[2], p_max);
  const Tile ones = constants.tile(p_max, {1}, DType::float32);
  nc.memset(ones, 1.0f);
  RowSums dscale(nc, "dscale", n, ones);
  std::optional<RowSums> dbias;
  if (centered) dbias.emplace(nc, "dbias", n, ones);
  const double per_element = 1.0 / static_cast<double>(n);
  for (const RowBlock& b : row_blocks(rows, n, run_elements)) {
    const int p = b.partitions, run = b.run;
    const bool last = b.begin + b.rows() == rows;
    const Tile g_out = dy.load(b), in = x.load(b), rstd = rstd_in.load(b).at(1, 0);
    const auto tile = [&] { return work.tile(p, {run, columns}, DType::float32); };
    const auto scalars = [&] { return small.tile(p, {run}, DType::float32); };
    const Tile xhat = tile(), product = tile(), g = tile();
    if (centered) {
      const Tile mean = mean_in.load(b).at(1, 0);
      for (int r = 0; r < run; ++r)
        nc.tensor_scalar(xhat.at(0, r), in.at(0, r), {AluOp::subtract, mean.cols(r, 1)},
                         {AluOp::multiply, rstd.cols(r, 1)});
    } else {
      for (int r = 0; r < run; ++r)
        nc.activation(xhat.at(0, r), Function::copy, in.at(0, r), rstd.cols(r, 1));
    }
    nc.tensor_tensor(product, g_out, AluOp::multiply, xhat);
    dscale.add(product, last);
    if (centered) {
      Tile wide = g_out;
      if (g_out.dtype() != DType::float32) {
        wide = tile();
        nc.tensor_copy(wide, g_out, Engine::act);
      }
      dbias->add(wide, last);
    }
    nc.tensor_tensor(g, g_out, AluOp::multiply, scale.for_rows(p, run));
    // g * xhat = (dy * xhat) * scale, and its row means
    const Tile weighted = tile(), g_xhat = scalars(), negative_rstd = scalars();
    nc.tensor_tensor(weighted, product, AluOp::multiply, scale.for_rows(p, run));
    row_sums(nc, g_xhat, weighted);
    nc.tensor_scalar(g_xhat, g_xhat, {AluOp::multiply, per_element});
    nc.tensor_scalar(negative_rstd, rstd, {AluOp::multiply, -1.0});
    Tile shift;  // -rstd * mean(g)
    if (centered) {
      shift = scalars();
      row_sums(nc, shift, g);
      nc.scalar_tensor_tensor(shift, shift, {AluOp::multiply, per_element}, AluOp::multiply, negative_rstd);
    }
    // (xhat * mean(g xhat) - g) * -rstd [- rstd * mean(g)]
    const Tile out = out_pool.tile(p, {run, columns}, c.outputs[0].dtype);
    for (int r = 0; r < run; ++r) {
      nc.scalar_tensor_tensor(xhat.at(0, r), xhat.at(0, r), {AluOp::multiply, g_xhat.cols(r, 1)},
                              AluOp::subtract, g.at(0, r));
      nc.activation(out.at(0, r), Function::copy, xhat.at(0, r), negative_rstd.cols(r, 1),
                    centered ? Scalar(shift.cols(r, 1)) : Scalar(0.0));
    }
    nc.dma_store(b.of(c.outputs[0].hbm, n), out);
  }
  dscale.store(c.outputs[1]);
  if (centered) dbias->store(c.outputs[2]);
}

void emit_layer_norm_grad(const NodeContext& c) { emit_grad(c, true); }
void emit_rms_norm_grad(const NodeContext& c) { emit_grad(c, false); }

backend::Offer offer(const backend::NodeRef& node) {
  if (node.input(0).dim(-1) > longest)
    return backend::no("rows of more than " + std::to_string(longest) +
                       " elements do not fit in SBUF with their work tiles");
  return floats_only(node);
}

constexpr Lowering lowerings[] = {{"layer_norm", offer, emit_layer_norm},
                                  {"layer_norm_grad", offer, emit_layer_norm_grad},
                                  {"rms_norm", offer, emit_rms_norm},
                                  {"rms_norm_grad", offer, emit_rms_norm_grad}};

}  // namespace

std::span<const Lowering> normalize_lowerings() { return lowerings; }

}  // namespace heddle::systolic
