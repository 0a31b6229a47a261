// Random bits by Philox on GpSimd, and dropout on top of them.
#include <algorithm>
#include <cmath>

#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

constexpr int64_t block_columns = 1024;

// key low, key high, counter low, counter high: [1, 4] uint32.
Tile load_state(NeuronCore& nc, TilePool& pool, const Operand& key, const Operand& counter) {
  const Tile state = pool.tile(1, {4}, DType::uint32);
  nc.dma_load(state.cols(0, 2), key.hbm.reshape({1, 2}));
  nc.dma_load(state.cols(2, 2), counter.hbm.reshape({1, 2}));
  return state;
}

// body(block of rows x columns from element `begin`).
template <class Body>
void for_blocks(int64_t n, Body&& body) {
  for (int64_t begin = 0; begin < n;) {
    const int64_t rest = n - begin;
    const int64_t columns = rest >= 128 ? std::min(block_columns, rest / 128) : rest,
                  rows = rest >= 128 ? 128 : 1;
    body(begin, rows, columns);
    begin += rows * columns;
  }
}

AffinePattern elements_from(int64_t begin, int64_t columns) {
  return {.base = begin, .partition_step = columns, .step = {1}};
}

void emit_bits(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  TilePool states = nc.sbuf_pool("state", 1), pool = nc.sbuf_pool("bits", 2);
  const Tile state = load_state(nc, states, c.inputs[0], c.inputs[1]);
  for_blocks(c.outputs[0].elements(), [&](int64_t begin, int64_t rows, int64_t columns) {
    const Tile bits = pool.tile(static_cast<int>(rows), {static_cast<int>(columns)}, DType::uint32);
    nc.random_bits(bits, state, elements_from(begin, columns));
    nc.dma_store(c.outputs[0].hbm.box(begin, {rows, columns}, {columns, 1}), bits);
  });
}

void emit_dropout(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const double rate = c.attributes.get<double>("rate");
  TilePool states = nc.sbuf_pool("state", 1), bit_pool = nc.sbuf_pool("bits", 2),
           keep_pool = nc.sbuf_pool("keep", 4), in = nc.sbuf_pool("x", 2), out_pool = nc.sbuf_pool("y", 2);
  const Tile state = load_state(nc, states, c.inputs[1], c.inputs[2]);
  for_blocks(c.inputs[0].elements(), [&](int64_t begin, int64_t rows, int64_t columns) {
    const int p = static_cast<int>(rows), n = static_cast<int>(columns);
    const Tile bits = bit_pool.tile(p, {n}, DType::uint32), kept = keep_pool.tile(p, {n}, DType::uint32),
               x = in.tile(p, {n}, c.inputs[0].dtype);
    nc.random_bits(bits, state, elements_from(begin, columns));
    nc.tensor_scalar(kept, bits, {AluOp::greater_equal, std::floor(rate * 4294967296.0)}, {}, Engine::gpsimd);
    nc.dma_load(x, c.inputs[0].hbm.box(begin, {rows, columns}, {columns, 1}));
    const Tile scaled = keep_pool.tile(p, {n}, DType::float32), y = out_pool.tile(p, {n}, c.outputs[0].dtype);
    nc.tensor_scalar(scaled, x, {AluOp::divide, 1.0 - rate});
    nc.select(y, kept, scaled, 0.0f);
    nc.dma_store(c.outputs[0].hbm.box(begin, {rows, columns}, {columns, 1}), y);
  });
}

backend::Offer offer_bits(const backend::NodeRef&) { return backend::yes(); }
backend::Offer offer_dropout(const backend::NodeRef& node) {
  const uint32_t d = node.input(0).dtype();
  return d == HD_DTYPE_FLOAT32 || d == HD_DTYPE_BFLOAT16
             ? backend::yes()
             : backend::no("the engines take float32 and bfloat16");
}

constexpr Lowering lowerings[] = {{"random_bits", offer_bits, emit_bits},
                                  {"dropout", offer_dropout, emit_dropout}};

}  // namespace

std::span<const Lowering> random_lowerings() { return lowerings; }

}  // namespace heddle::systolic
