// Cross-entropy: a row of logits per partition, in blocks of classes; the target's logit is picked by
// comparing an iota with the target.
#include "systolic/kernels/rows.h"

#include <limits>
#include <optional>

namespace heddle::systolic {
namespace {

constexpr int64_t block = 2560;  // classes of a row that are in SBUF at once, with their work tiles

// Rows of logits, cut into blocks of classes. A row of one block is loaded once, a longer one as often as it
// is read.
struct Rows {
  NeuronCore& nc;
  Hbm logits, targets;
  std::vector<Piece> blocks;
  TilePool logits_pool, target_pool, float_pool, iota_pool, work, stats, small;
  DType dtype;
  Tile classes;               // 0, 1, 2, ... of a block, on every partition
  std::optional<Tile> whole;  // the row at hand, when it is one block

  Rows(const NodeContext& c, const Operand& logits_in, const Operand& targets_in)
      : nc(c.nc),
        logits(logits_in.matrix()),
        targets(targets_in.hbm.reshape({targets_in.elements(), 1})),
        blocks(pieces(logits_in.last(), block)),
        logits_pool(nc.sbuf_pool("logits", 2)),
        target_pool(nc.sbuf_pool("targets", 2)),
        float_pool(nc.sbuf_pool("targets.f32", 2)),
        iota_pool(nc.sbuf_pool("classes", 1)),
        work(nc.sbuf_pool("work", 4)),
        stats(nc.sbuf_pool("stats", 24)),
        small(nc.sbuf_pool("block.stats", 8)),
        dtype(logits_in.dtype) {
    classes = iota_pool.tile(static_cast<int>(std::min<int64_t>(128, logits_in.rows())),
                             {static_cast<int>(blocks.front().count)}, DType::float32);
    nc.iota(classes, AffinePattern{.base = 0, .partition_step = 0, .step = {1}});
  }
  void begin_row() { whole.reset(); }
  Tile load_logits(const Piece& r, const Piece& b) {
    if (blocks.size() == 1 && whole) return *whole;
    whole = logits_pool.tile(static_cast<int>(r.count), {static_cast<int>(b.count)}, dtype);
    nc.dma_load(*whole, logits.rows(r.begin, r.count).cols(b.begin, b.count));
    return *whole;
  }
  // Targets as float32: classes below 2^24 are exact.
  Tile load_targets(const Piece& r) {
    const Tile integers = target_pool.tile(static_cast<int>(r.count), {1}, DType::int32);
    nc.dma_load(integers, targets.rows(r.begin, r.count));
    const Tile floats = float_pool.tile(static_cast<int>(r.count), {1}, DType::float32);
    nc.tensor_copy(floats, integers);
    return floats;
  }
  // The target counted from the first class of a block.
  Tile target_in(const Tile& target, const Piece& r, const Piece& b) {
    if (b.begin == 0) return target;
    const Tile shifted = block_scalar(r);
    nc.tensor_scalar(shifted, target, {AluOp::subtract, static_cast<double>(b.begin)});
    return shifted;
  }
  Tile classes_of(const Piece& r, const Piece& b) const {
    return classes.rows(0, static_cast<int>(r.count)).cols(0, static_cast<int>(b.count));
  }
  // One number per row, for the row at hand and for its block at hand.
  Tile scalar(const Piece& r) { return stats.tile(static_cast<int>(r.count), {1}, DType::float32); }
  Tile block_scalar(const Piece& r) { return small.tile(static_cast<int>(r.count), {1}, DType::float32); }
  Tile row(const Piece& r, const Piece& b) {
    return work.tile(static_cast<int>(r.count), {static_cast<int>(b.count)}, DType::float32);
  }
  // total (op)= the number that `emit` makes of a block.
  template <class Emit>
  void reduce(const Tile& total, AluOp op, const Piece& r, const Piece& b, Emit&& emit) {
    if (b.begin == 0) return emit(total);
    const Tile part = block_scalar(r);
    emit(part);
    nc.tensor_tensor(total, total, op, part);
  }
};

void emit_forward(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  Rows rows(c, c.inputs[0], c.inputs[1]);
  const double ignore = static_cast<double>(c.attributes.get<int64_t>("ignore_index"));
  const int64_t n = c.inputs[0].rows();
  const Hbm loss_out = c.outputs[0].hbm.reshape({n, 1}), lse_out = c.outputs[1].hbm.reshape({n, 1});
  for (const Piece& r : pieces(n, 128)) {
    rows.begin_row();
    const Tile target = rows.load_targets(r);
    const Tile negative_max = rows.scalar(r), sum = rows.scalar(r), lse = rows.scalar(r),
               picked = rows.scalar(r), found = rows.scalar(r), loss = rows.scalar(r);
    for (const Piece& b : rows.blocks)
      rows.reduce(negative_max, AluOp::maximum, r, b,
                  [&](const Tile& part) { nc.tensor_reduce(part, AluOp::maximum, rows.load_logits(r, b)); });
    nc.tensor_scalar(negative_max, negative_max, {AluOp::multiply, -1.0});
    for (const Piece& b : rows.blocks) {
      const Tile x = rows.load_logits(r, b);
      rows.reduce(sum, AluOp::add, r, b, [&](const Tile& part) {
        nc.activation_reduce(rows.row(r, b), part, Function::exp, x, 1.0, negative_max);
      });
      const Tile one_hot = rows.row(r, b), own = rows.target_in(target, r, b);
      rows.reduce(found, AluOp::add, r, b, [&](const Tile& part) {
        nc.tensor_scalar_reduce(one_hot, part, rows.classes_of(r, b), {AluOp::equal, own}, AluOp::add);
      });
      // select keeps infinite logits of other classes out of the sum
      const Tile chosen = rows.row(r, b);
      nc.select(chosen, one_hot, x, 0.0f);
      rows.reduce(picked, AluOp::add, r, b,
                  [&](const Tile& part) { nc.tensor_reduce(part, AluOp::add, chosen); });
    }
    // log(sum) - (picked - max): the difference of large logits is taken first, where it is exact.
    nc.activation(loss, Function::log, sum);
    nc.tensor_scalar(lse, loss, {AluOp::subtract, negative_max});
    nc.tensor_tensor(picked, picked, AluOp::add, negative_max);
    nc.tensor_tensor(loss, loss, AluOp::subtract, picked);
    // found / found is 1 for a class that exists and NaN for one that does not
    nc.tensor_tensor(found, found, AluOp::divide, found);
    nc.tensor_tensor(loss, loss, AluOp::multiply, found);
    const Tile kept = rows.scalar(r), result = rows.scalar(r);
    nc.tensor_scalar(kept, target, {AluOp::not_equal, ignore});
    nc.select(result, kept, loss, 0.0f);
    nc.dma_store(loss_out.rows(r.begin, r.count), result);
    nc.dma_store(lse_out.rows(r.begin, r.count), lse);
  }
}

void emit_grad(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  Rows rows(c, c.inputs[1], c.inputs[2]);
  const double ignore = static_cast<double>(c.attributes.get<int64_t>("ignore_index"));
  const int64_t n = c.inputs[1].rows();
  const Hbm dloss_in = c.inputs[0].hbm.reshape({n, 1}), lse_in = c.inputs[3].hbm.reshape({n, 1}),
            out = c.outputs[0].matrix();
  const auto class_count = static_cast<double>(c.inputs[1].last());
  TilePool dloss_pool = nc.sbuf_pool("dloss", 2), lse_pool = nc.sbuf_pool("lse", 2),
           out_pool = nc.sbuf_pool("dlogits", 2);
  for (const Piece& r : pieces(n, 128)) {
    const int p = static_cast<int>(r.count);
    rows.begin_row();
    const Tile target = rows.load_targets(r);
    const Tile dloss = dloss_pool.tile(p, {1}, DType::float32), lse = lse_pool.tile(p, {1}, DType::float32);
    nc.dma_load(dloss, dloss_in.rows(r.begin, r.count));
    nc.dma_load(lse, lse_in.rows(r.begin, r.count));
    const Tile negative_lse = rows.scalar(r), kept = rows.scalar(r), exists = rows.scalar(r),
               below = rows.scalar(r), scaled = rows.scalar(r), factor = rows.scalar(r);
    nc.tensor_scalar(negative_lse, lse, {AluOp::multiply, -1.0});
    // As in the loss: 1 for a class that exists, NaN for one that does not.
    nc.tensor_scalar(exists, target, {AluOp::greater_equal, 0.0});
    nc.tensor_scalar(below, target, {AluOp::less, class_count});
    nc.tensor_tensor(exists, exists, AluOp::multiply, below);
    nc.tensor_tensor(exists, exists, AluOp::divide, exists);
    nc.tensor_tensor(scaled, exists, AluOp::multiply, dloss);
    nc.tensor_scalar(scaled, scaled, {AluOp::multiply, -1.0});
    nc.tensor_scalar(kept, target, {AluOp::not_equal, ignore});
    nc.select(factor, kept, scaled, 0.0f);
    for (const Piece& b : rows.blocks) {
      const Tile x = rows.load_logits(r, b), probability = rows.row(r, b), difference = rows.row(r, b);
      nc.activation(probability, Function::exp, x, 1.0, negative_lse);
      // (class == target) - p, then times -dloss where kept
      nc.scalar_tensor_tensor(difference, rows.classes_of(r, b), {AluOp::equal, rows.target_in(target, r, b)},
                              AluOp::subtract, probability);
      // A selection and no product with 0: an ignored row may hold infinities and NaN.
      const Tile result = out_pool.tile(p, {static_cast<int>(b.count)}, c.outputs[0].dtype);
      nc.tensor_scalar(difference, difference, {AluOp::multiply, factor});
      nc.select(result, kept.repeat(0, static_cast<int>(b.count)), difference, 0.0f);
      nc.dma_store(out.rows(r.begin, r.count).cols(b.begin, b.count), result);
    }
  }
}

backend::Offer offer_rows(const backend::NodeRef& node, uint32_t logits, uint32_t targets) {
  if (node.input(targets).dtype() != HD_DTYPE_INT32)
    return backend::no("targets must be int32; the engines have no 64-bit integers");
  if (node.input(logits).dim(-1) >= int64_t{1} << 24)
    return backend::no("classes are compared in float32, exact below 2^24");
  return floats_and_indices(node);
}
backend::Offer offer_forward(const backend::NodeRef& node) { return offer_rows(node, 0, 1); }
backend::Offer offer_grad(const backend::NodeRef& node) { return offer_rows(node, 1, 2); }

constexpr Lowering lowerings[] = {{"cross_entropy", offer_forward, emit_forward},
                                  {"cross_entropy_grad", offer_grad, emit_grad}};

}  // namespace

std::span<const Lowering> loss_lowerings() { return lowerings; }

}  // namespace heddle::systolic
