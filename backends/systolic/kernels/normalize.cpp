// Norms over the last axis, a row per partition. Layer-norm statistics by bn_stats/bn_aggr on DVE, the mean
// of squares by an accumulating activation on ACT; gradients of scale and bias add up in SBUF and leave
// through the tensor engine.
#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

constexpr int64_t longest = 2048;     // elements of a row: twelve float32 tiles of it fit in SBUF
constexpr int64_t stats_block = 512;  // elements of one bn_stats

struct Loader {
  NeuronCore& nc;
  TilePool pool;
  Hbm matrix;
  DType dtype;
  Loader(NeuronCore& core, const char* name, const Operand& o, int64_t columns)
      : nc(core),
        pool(core.sbuf_pool(name, 2)),
        matrix(o.hbm.reshape({o.elements() / columns, columns})),
        dtype(o.dtype) {}
  Tile load(const Piece& r) {
    const Tile t = pool.tile(static_cast<int>(r.count), {static_cast<int>(matrix.size(1))}, dtype);
    nc.dma_load(t, matrix.rows(r.begin, r.count));
    return t;
  }
};

void power(NeuronCore& nc, const Tile& out, const Tile& in, double add, double exponent) {
  nc.tensor_scalar(out, in, {AluOp::add, add}, {AluOp::power, exponent});
}

void emit_layer_norm(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n), chunks = static_cast<int>((n + stats_block - 1) / stats_block);
  TilePool constants = nc.sbuf_pool("scale_bias", 2), work = nc.sbuf_pool("work", 2),
           out_pool = nc.sbuf_pool("y", 2), small = nc.sbuf_pool("stats", 8);
  Loader x(nc, "x", c.inputs[0], n);
  const int p_max = static_cast<int>(std::min<int64_t>(128, rows));
  const Tile scale = load_on_all_partitions(nc, constants, c.inputs[1], p_max),
             bias = load_on_all_partitions(nc, constants, c.inputs[2], p_max);
  const Hbm y = c.outputs[0].matrix(), mean_out = c.outputs[1].hbm.reshape({rows, 1}),
            rstd_out = c.outputs[2].hbm.reshape({rows, 1});
  for (const Piece& r : pieces(rows, 128)) {
    const int p = static_cast<int>(r.count);
    const Tile in = x.load(r);
    const Tile stats = small.tile(p, {6 * chunks}, DType::float32),
               moments = small.tile(p, {2}, DType::float32), rstd = small.tile(p, {1}, DType::float32);
    for (int k = 0; k < chunks; ++k) {
      const int begin = k * static_cast<int>(stats_block),
                count = std::min(static_cast<int>(stats_block), columns - begin);
      nc.bn_stats(stats.cols(6 * k, 6), in.cols(begin, count));
    }
    nc.bn_aggr(moments, stats);
    const Tile mean = moments.cols(0, 1);
    power(nc, rstd, moments.cols(1, 1), c.attributes.get<double>("epsilon"), -0.5);
    const Tile centered = work.tile(p, {columns}, DType::float32);
    nc.tensor_scalar(centered, in, {AluOp::subtract, mean}, {AluOp::multiply, rstd});
    const Tile out = out_pool.tile(p, {columns}, c.outputs[0].dtype);
    nc.tensor_tensor(centered, centered, AluOp::multiply, scale.rows(0, p));
    nc.tensor_tensor(out, centered, AluOp::add, bias.rows(0, p));
    nc.dma_store(y.rows(r.begin, r.count), out);
    nc.dma_store(mean_out.rows(r.begin, r.count), mean);
    nc.dma_store(rstd_out.rows(r.begin, r.count), rstd);
  }
}

void emit_rms_norm(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n);
  TilePool constants = nc.sbuf_pool("scale", 1), work = nc.sbuf_pool("work", 2),
           out_pool = nc.sbuf_pool("y", 2), small = nc.sbuf_pool("stats", 4);
  Loader x(nc, "x", c.inputs[0], n);
  const Tile scale =
      load_on_all_partitions(nc, constants, c.inputs[1], static_cast<int>(std::min<int64_t>(128, rows)));
  const Hbm y = c.outputs[0].matrix(), rstd_out = c.outputs[1].hbm.reshape({rows, 1});
  for (const Piece& r : pieces(rows, 128)) {
    const int p = static_cast<int>(r.count);
    const Tile in = x.load(r);
    const Tile squares = work.tile(p, {columns}, DType::float32), sum = small.tile(p, {1}, DType::float32),
               rstd = small.tile(p, {1}, DType::float32);
    nc.activation_reduce(squares, sum, Function::square, in);
    nc.tensor_scalar(sum, sum, {AluOp::multiply, 1.0 / static_cast<double>(n)});
    power(nc, rstd, sum, c.attributes.get<double>("epsilon"), -0.5);
    const Tile out = out_pool.tile(p, {columns}, c.outputs[0].dtype);
    nc.scalar_tensor_tensor(out, in, {AluOp::multiply, rstd}, AluOp::multiply, scale.rows(0, p));
    nc.dma_store(y.rows(r.begin, r.count), out);
    nc.dma_store(rstd_out.rows(r.begin, r.count), rstd);
  }
}

// dx = rstd * (g - [mean(g)] - xhat * mean(g * xhat)), g = dy * scale, xhat = (x - [mean]) * rstd;
// dscale = sum dy * xhat, [dbias = sum dy] over the rows. The parts in brackets are layer norm's alone.
void emit_grad(const NodeContext& c, bool centered) {
  NeuronCore& nc = c.nc;
  const int64_t n = c.inputs[0].last(), rows = c.inputs[0].rows();
  const int columns = static_cast<int>(n), p_max = static_cast<int>(std::min<int64_t>(128, rows));
  const size_t rstd_operand = centered ? 4 : 3;
  TilePool constants = nc.sbuf_pool("scale", 1), sums = nc.sbuf_pool("sums", 2),
           work = nc.sbuf_pool("work", 6), out_pool = nc.sbuf_pool("dx", 2), small = nc.sbuf_pool("stats", 8);
  Loader dy(nc, "dy", c.inputs[0], n), x(nc, "x", c.inputs[1], n), mean_in(nc, "mean", c.inputs[3], 1),
      rstd_in(nc, "rstd", c.inputs[rstd_operand], 1);
  const Tile scale = load_on_all_partitions(nc, constants, c.inputs[2], p_max);
  const Tile dscale = sums.tile(p_max, {columns}, DType::float32);
  nc.memset(dscale, 0.0f);
  Tile dbias;
  if (centered) {
    dbias = sums.tile(p_max, {columns}, DType::float32);
    nc.memset(dbias, 0.0f);
  }
  const Hbm dx = c.outputs[0].matrix();
  for (const Piece& r : pieces(rows, 128)) {
    const int p = static_cast<int>(r.count);
    const Tile g_out = dy.load(r), in = x.load(r), rstd = rstd_in.load(r);
    const Tile xhat = work.tile(p, {columns}, DType::float32),
               product = work.tile(p, {columns}, DType::float32), g = work.tile(p, {columns}, DType::float32);
    if (centered)
      nc.tensor_scalar(xhat, in, {AluOp::subtract, mean_in.load(r)}, {AluOp::multiply, rstd});
    else
      nc.tensor_scalar(xhat, in, {AluOp::multiply, rstd});
    nc.tensor_tensor(product, g_out, AluOp::multiply, xhat);
    nc.tensor_tensor(dscale.rows(0, p), dscale.rows(0, p), AluOp::add, product);
    if (centered) nc.tensor_tensor(dbias.rows(0, p), dbias.rows(0, p), AluOp::add, g_out);
    nc.tensor_tensor(g, g_out, AluOp::multiply, scale.rows(0, p));
    const Tile g_xhat = small.tile(p, {1}, DType::float32);
    nc.tensor_tensor(product, g, AluOp::multiply, xhat);
    row_mean(nc, g_xhat, product);
    // xhat * mean(g xhat) - g [+ mean(g)], then times -rstd
    const Tile negative_rstd = small.tile(p, {1}, DType::float32);
    nc.tensor_scalar(negative_rstd, rstd, {AluOp::multiply, -1.0});
    nc.scalar_tensor_tensor(xhat, xhat, {AluOp::multiply, g_xhat}, AluOp::subtract, g);
    const Tile out = out_pool.tile(p, {columns}, c.outputs[0].dtype);
    if (centered) {
      const Tile g_mean = small.tile(p, {1}, DType::float32);
      row_mean(nc, g_mean, g);
      nc.tensor_scalar(out, xhat, {AluOp::add, g_mean}, {AluOp::multiply, negative_rstd});
    } else {
      nc.tensor_scalar(out, xhat, {AluOp::multiply, negative_rstd});
    }
    nc.dma_store(dx.rows(r.begin, r.count), out);
  }
  store_partition_sums(nc, c.outputs[1].hbm, c.outputs[1].dtype, dscale);
  if (centered) store_partition_sums(nc, c.outputs[2].hbm, c.outputs[2].dtype, dbias);
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
