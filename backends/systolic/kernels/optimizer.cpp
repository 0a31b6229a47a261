// Optimizer steps: every tensor is streamed once as [128, w] blocks; what depends on lr and step alone is
// worked out once, on [128, 1] tiles, and used as a per-partition operand.
#include "systolic/kernels/rows.h"

#include <cmath>
#include <functional>

namespace heddle::systolic {
namespace {

constexpr int partitions = 128;
// Two powers, two divisions in double precision; an assumption.
constexpr double bias_correction_cycles = 1000;
constexpr int64_t block_columns = 1024;  // nine tiles of it, two buffers each, fit in SBUF

// One block of a dense tensor: `rows` rows of `columns` elements from `begin`.
struct Block {
  int64_t begin, rows, columns;
  Hbm of(const Hbm& flat) const { return flat.box(begin, {rows, columns}, {columns, 1}); }
};

// Cuts n elements into blocks of 128 rows, and a last row with the rest.
std::vector<Block> blocks(int64_t n) {
  std::vector<Block> list;
  int64_t begin = 0;
  while (n - begin >= partitions) {
    const int64_t columns = std::min(block_columns, (n - begin) / partitions);
    list.push_back({begin, partitions, columns});
    begin += partitions * columns;
  }
  if (begin < n) list.push_back({begin, 1, n - begin});
  return list;
}

class Step {
 public:
  explicit Step(const NodeContext& c)
      : c_(c), nc_(c.nc), coefficient_pool_(c.nc.sbuf_pool("coefficients", 12)) {}

  // A scalar operand on every partition.
  Tile broadcast(const Operand& scalar) {
    const Tile t = coefficient();
    nc_.dma_load(t, scalar.hbm.repeat(0, partitions));
    return t;
  }
  Tile coefficient() { return coefficient_pool_.tile(partitions, {1}, DType::float32); }
  NeuronCore& nc() { return nc_; }

  // body(columns' block, load, store): load(operand index) gives a tile, store(output index, tile) writes
  // one.
  using Load = std::function<Tile(size_t)>;
  using Store = std::function<void(size_t, const Tile&)>;
  void for_blocks(int64_t elements, size_t operands,
                  const std::function<void(const Block&, const Load&, const Store&)>& body) {
    if (pools_.empty())
      for (size_t i = 0; i < operands; ++i) pools_.push_back(nc_.sbuf_pool("operand" + std::to_string(i), 2));
    for (const Block& b : blocks(elements)) {
      size_t next = 0;
      body(
          b,
          [&](size_t i) {
            const Operand& o = c_.inputs[i];
            const Tile t =
                pools_[next++].tile(static_cast<int>(b.rows), {static_cast<int>(b.columns)}, o.dtype);
            nc_.dma_load(t, b.of(o.hbm));
            return t;
          },
          [&](size_t o, const Tile& t) { nc_.dma_store(b.of(c_.outputs[o].hbm), t); });
    }
  }

 private:
  const NodeContext& c_;
  NeuronCore& nc_;
  TilePool coefficient_pool_;
  std::vector<TilePool> pools_;
};

Scalar rows_of(const Tile& coefficient, const Block& b) {
  return coefficient.rows(0, static_cast<int>(b.rows));
}

void emit_adam_family(const NodeContext& c, bool decoupled) {
  NeuronCore& nc = c.nc;
  const double beta1 = c.attributes.get<double>("beta1"), beta2 = c.attributes.get<double>("beta2");
  const double epsilon = c.attributes.get<double>("epsilon"),
               decay = c.attributes.get<double>("weight_decay");
  const size_t count = static_cast<size_t>(c.attributes.get<int64_t>("count"));
  Step step(c);
  const Tile lr = step.broadcast(c.inputs[0]), t = step.broadcast(c.inputs[1]);
  // lr / (1 - beta1^t) and 1 / (1 - beta2^t), by GpSimd: in float32, 1 - 0.999 alone would lose fourteen
  // bits.
  const Tile rate = step.coefficient(), second = step.coefficient(), keep = step.coefficient();
  const Tile results_of[] = {rate, second}, operands_of[] = {lr, t};
  nc.gpsimd_program("bias_correction", results_of, operands_of, bias_correction_cycles,
                    [beta1, beta2](std::span<const ProgramOperand> out, std::span<const ProgramOperand> in) {
                      for (int p = 0; p < partitions; ++p) {
                        const auto at = [p](const ProgramOperand& o) {
                          return reinterpret_cast<float*>(o.data + p * o.row_bytes);
                        };
                        const double steps = *at(in[1]);
                        *at(out[0]) = static_cast<float>(*at(in[0]) / (1 - std::pow(beta1, steps)));
                        *at(out[1]) = static_cast<float>(1 / (1 - std::pow(beta2, steps)));
                      }
                    });
  nc.tensor_scalar(keep, lr, {AluOp::multiply, -decay}, {AluOp::add, 1.0});
  TilePool work = nc.sbuf_pool("work", 6), results = nc.sbuf_pool("results", 6);
  for (size_t i = 0; i < count; ++i) {
    const size_t p_at = 2 + i, g_at = 2 + count + i, m_at = 2 + 2 * count + i, v_at = 2 + 3 * count + i;
    step.for_blocks(
        c.inputs[p_at].elements(), 4, [&](const Block& b, const Step::Load& load, const Step::Store& store) {
          const int rows = static_cast<int>(b.rows), columns = static_cast<int>(b.columns);
          const auto scratch = [&] { return work.tile(rows, {columns}, DType::float32); };
          const Tile p = load(p_at), m = load(m_at), v = load(v_at);
          Tile g = load(g_at);
          if (!decoupled && decay != 0) {
            const Tile pulled = scratch();
            nc.scalar_tensor_tensor(pulled, p, {AluOp::multiply, decay}, AluOp::add, g);
            g = pulled;
          }
          const Tile m_new = results.tile(rows, {columns}, c.outputs[count + i].dtype),
                     v_new = results.tile(rows, {columns}, c.outputs[2 * count + i].dtype);
          const Tile share = scratch();
          nc.tensor_scalar(share, g, {AluOp::multiply, 1.0 - beta1});
          nc.scalar_tensor_tensor(m_new, m, {AluOp::multiply, beta1}, AluOp::add, share);
          const Tile square = scratch();
          nc.scalar_tensor_tensor(square, g, {AluOp::multiply, 1.0 - beta2}, AluOp::multiply, g);
          nc.scalar_tensor_tensor(v_new, v, {AluOp::multiply, beta2}, AluOp::add, square);
          // sqrt(v / (1 - beta2^t)) + epsilon
          const Tile root = scratch();
          nc.tensor_scalar(root, v_new, {AluOp::multiply, rows_of(second, b)}, {AluOp::power, 0.5});
          nc.tensor_scalar(root, root, {AluOp::add, epsilon});
          const Tile change = scratch();
          nc.scalar_tensor_tensor(change, m_new, {AluOp::multiply, rows_of(rate, b)}, AluOp::divide, root);
          const Tile p_new = results.tile(rows, {columns}, c.outputs[i].dtype);
          if (decoupled && decay != 0)
            nc.scalar_tensor_tensor(p_new, p, {AluOp::multiply, rows_of(keep, b)}, AluOp::subtract, change);
          else
            nc.tensor_tensor(p_new, p, AluOp::subtract, change);
          store(i, p_new);
          store(count + i, m_new);
          store(2 * count + i, v_new);
        });
  }
}
void emit_adam(const NodeContext& c) { emit_adam_family(c, false); }
void emit_adamw(const NodeContext& c) { emit_adam_family(c, true); }

void emit_sgd(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const double momentum = c.attributes.get<double>("momentum"),
               decay = c.attributes.get<double>("weight_decay");
  const bool nesterov = c.attributes.get<bool>("nesterov");
  const size_t count = static_cast<size_t>(c.attributes.get<int64_t>("count"));
  Step step(c);
  const Tile lr = step.broadcast(c.inputs[0]), negative_lr = step.coefficient();
  nc.tensor_scalar(negative_lr, lr, {AluOp::multiply, -1.0});
  TilePool work = nc.sbuf_pool("work", 4), results = nc.sbuf_pool("results", 4);
  for (size_t i = 0; i < count; ++i) {
    step.for_blocks(
        c.inputs[1 + i].elements(), 3, [&](const Block& b, const Step::Load& load, const Step::Store& store) {
          const int rows = static_cast<int>(b.rows), columns = static_cast<int>(b.columns);
          const Tile p = load(1 + i);
          Tile g = load(1 + count + i);
          if (decay != 0) {
            const Tile pulled = work.tile(rows, {columns}, DType::float32);
            nc.scalar_tensor_tensor(pulled, p, {AluOp::multiply, decay}, AluOp::add, g);
            g = pulled;
          }
          Tile direction = g;
          if (momentum != 0) {
            const Tile m = load(1 + 2 * count + i),
                       m_new = results.tile(rows, {columns}, c.outputs[count + i].dtype);
            nc.scalar_tensor_tensor(m_new, m, {AluOp::multiply, momentum}, AluOp::add, g);
            store(count + i, m_new);
            direction = m_new;
            if (nesterov) {
              direction = work.tile(rows, {columns}, DType::float32);
              nc.scalar_tensor_tensor(direction, m_new, {AluOp::multiply, momentum}, AluOp::add, g);
            }
          }
          const Tile p_new = results.tile(rows, {columns}, c.outputs[i].dtype);
          nc.scalar_tensor_tensor(p_new, direction, {AluOp::multiply, rows_of(negative_lr, b)}, AluOp::add,
                                  p);
          store(i, p_new);
        });
  }
}

// sqrt of the sum of squares of all operands, on every partition: per-partition sums, then a product with
// ones.
Tile norm_of(const NodeContext& c, Step& step, TilePool& constants, TilePool& psum) {
  NeuronCore& nc = c.nc;
  const Tile total = step.coefficient();
  nc.memset(total, 0.0f);
  TilePool work = nc.sbuf_pool("squares", 2), sums = nc.sbuf_pool("sums", 2);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    step.for_blocks(c.inputs[i].elements(), 1,
                    [&](const Block& b, const Step::Load& load, const Step::Store&) {
                      const int rows = static_cast<int>(b.rows);
                      const Tile squares = work.tile(rows, {static_cast<int>(b.columns)}, DType::float32),
                                 sum = sums.tile(rows, {1}, DType::float32);
                      nc.activation_reduce(squares, sum, Function::square, load(i));
                      nc.tensor_tensor(total.rows(0, rows), total.rows(0, rows), AluOp::add, sum);
                    });
  }
  const Tile ones = constants.tile(partitions, {partitions}, DType::float32);
  nc.memset(ones, 1.0f);
  const Tile everywhere = psum.tile(partitions, {1}, DType::float32);
  nc.nc_matmul(everywhere, ones, total);
  const Tile norm = constants.tile(partitions, {1}, DType::float32);
  nc.tensor_scalar(norm, everywhere, {AluOp::power, 0.5});
  return norm;
}

void emit_global_norm(const NodeContext& c) {
  Step step(c);
  TilePool constants = c.nc.sbuf_pool("norm", 2), psum = c.nc.psum_pool("norm", 1);
  const Tile norm = norm_of(c, step, constants, psum);
  c.nc.dma_store(c.outputs[0].hbm.reshape({1, 1}), norm.rows(0, 1));
}

void emit_clip(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  Step step(c);
  TilePool constants = nc.sbuf_pool("norm", 4), psum = nc.psum_pool("norm", 1),
           results = nc.sbuf_pool("results", 2);
  const Tile norm = norm_of(c, step, constants, psum);
  const Tile factor = constants.tile(partitions, {1}, DType::float32);
  nc.tensor_scalar(factor, norm, {AluOp::add, 1e-6},
                   reversed(AluOp::divide, c.attributes.get<double>("max_norm")));
  nc.tensor_scalar(factor, factor, {AluOp::minimum, 1.0});
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    step.for_blocks(
        c.inputs[i].elements(), 1, [&](const Block& b, const Step::Load& load, const Step::Store& store) {
          const Tile out =
              results.tile(static_cast<int>(b.rows), {static_cast<int>(b.columns)}, c.outputs[i].dtype);
          nc.tensor_scalar(out, load(i), {AluOp::multiply, rows_of(factor, b)});
          store(i, out);
        });
  }
  nc.dma_store(c.outputs.back().hbm.reshape({1, 1}), norm.rows(0, 1));
}

constexpr Lowering lowerings[] = {{"sgd", floats_only, emit_sgd},
                                  {"adam", floats_only, emit_adam},
                                  {"adamw", floats_only, emit_adamw},
                                  {"global_norm", floats_only, emit_global_norm},
                                  {"clip_by_global_norm", floats_only, emit_clip}};

}  // namespace

std::span<const Lowering> optimizer_lowerings() { return lowerings; }

}  // namespace heddle::systolic
