// Softmax over the last axis: the row maximum on DVE, exp and its row sum in one ACT instruction.
#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

constexpr int row_tiles = 8;  // of a row, in flight

struct Pools {
  explicit Pools(NeuronCore& nc)
      : in(nc.sbuf_pool("x", 2)),
        work(nc.sbuf_pool("work", 2)),
        out(nc.sbuf_pool("out", 2)),
        scalars(nc.sbuf_pool("scalars", 8)) {}
  TilePool in, work, out, scalars;
};

// -max of each row, and exp(x - max) with its row sum.
struct Exponentials {
  Tile negative_max, exponent, sum;
};
Exponentials exponentials(NeuronCore& nc, Pools& pools, const Tile& x) {
  const int p = x.partitions();
  Exponentials e{pools.scalars.tile(p, {1}, DType::float32),
                 pools.work.tile(p, {static_cast<int>(x.free_elements())}, DType::float32),
                 pools.scalars.tile(p, {1}, DType::float32)};
  nc.tensor_reduce(e.negative_max, AluOp::maximum, x);
  nc.tensor_scalar(e.negative_max, e.negative_max, {AluOp::multiply, -1.0});
  nc.activation_reduce(e.exponent, e.sum, Function::exp, x, 1.0, e.negative_max);
  return e;
}

template <class Body>
void for_rows(const NodeContext& c, Body&& body) {
  Pools pools(c.nc);
  const int columns = static_cast<int>(c.inputs[0].last());
  const Hbm x = c.inputs[0].matrix(), y = c.outputs[0].matrix();
  for (const Piece& r : pieces(c.inputs[0].rows(), 128)) {
    const int p = static_cast<int>(r.count);
    const Tile in = pools.in.tile(p, {columns}, c.inputs[0].dtype);
    c.nc.dma_load(in, x.rows(r.begin, r.count));
    const Tile out = pools.out.tile(p, {columns}, c.outputs[0].dtype);
    body(pools, r, in, out);
    c.nc.dma_store(y.rows(r.begin, r.count), out);
  }
}

void emit_softmax(const NodeContext& c) {
  for_rows(c, [&](Pools& pools, const Piece&, const Tile& in, const Tile& out) {
    const Exponentials e = exponentials(c.nc, pools, in);
    const Tile inverse = pools.scalars.tile(in.partitions(), {1}, DType::float32);
    c.nc.reciprocal(inverse, e.sum);
    c.nc.tensor_scalar(out, e.exponent, {AluOp::multiply, inverse});
  });
}

void emit_log_softmax(const NodeContext& c) {
  for_rows(c, [&](Pools& pools, const Piece&, const Tile& in, const Tile& out) {
    const Exponentials e = exponentials(c.nc, pools, in);
    const Tile log_sum = pools.scalars.tile(in.partitions(), {1}, DType::float32);
    c.nc.activation(log_sum, Function::log, e.sum);
    c.nc.tensor_scalar(out, in, {AluOp::add, e.negative_max}, {AluOp::subtract, log_sum});
  });
}

void emit_softmax_grad(const NodeContext& c) {
  TilePool gradients = c.nc.sbuf_pool("dy", 2);
  const Hbm dy = c.inputs[1].matrix();
  for_rows(c, [&](Pools& pools, const Piece& r, const Tile& y, const Tile& out) {
    const int p = y.partitions(), columns = static_cast<int>(y.free_elements());
    const Tile g = gradients.tile(p, {columns}, c.inputs[1].dtype);
    c.nc.dma_load(g, dy.rows(r.begin, r.count));
    const Tile product = pools.work.tile(p, {columns}, DType::float32);
    const Tile sum = pools.scalars.tile(p, {1}, DType::float32);
    c.nc.tensor_tensor(product, y, AluOp::multiply, g);
    c.nc.tensor_reduce(sum, AluOp::add, product);
    c.nc.scalar_tensor_tensor(out, g, {AluOp::subtract, sum}, AluOp::multiply, y);
  });
}

backend::Offer offer(const backend::NodeRef& node) {
  if (node.integer("axis") != node.input(0).rank() - 1)
    return backend::no("the engines reduce along the last axis only");
  if (node.input(0).dim(-1) > 4096)
    return backend::no("rows of more than 4096 elements do not fit in SBUF with their work tiles");
  return floats_only(node);
}

static_assert(row_tiles * 4096 * 4 <= 176 * 1024, "the longest row fits");

constexpr Lowering lowerings[] = {{"softmax", offer, emit_softmax},
                                  {"log_softmax", offer, emit_log_softmax},
                                  {"softmax_grad", offer, emit_softmax_grad}};

}  // namespace

std::span<const Lowering> softmax_lowerings() { return lowerings; }

}  // namespace heddle::systolic
