// Optimizer steps: every tensor is streamed once as [128, w] blocks; what depends on lr and step alone is
// worked out once, on [128, 1] tiles, and used as a per-partition operand.
#include "systolic/kernels/rows.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace heddle::systolic {
namespace {

constexpr int partitions = 128;
// Two powers, two divisions in double precision; an assumption.
constexpr double bias_correction_cycles = 1000;
constexpr int64_t block_columns = 1024;  // nine tiles of it, two buffers each, fit in SBUF
constexpr int64_t small_elements =
    int64_t{partitions} * 256;  // rows of a kilobyte: half of a descriptor's time is its own

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

// The tensors of a step. A role is what one tensor has several of: parameter, gradient, moment. Tensors whose
// rows would be short are gathered into one value for each role first, and the results handed back: a copy in
// HBM is spread over all DMA engines, while a tile of short rows costs each of them a descriptor a row.
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

  // For every block of every tensor: body(block, load, store). load(role) gives a tile of operand
  // in[role] + tensor, store(role, tile) writes result out[role] + tensor.
  using Load = std::function<Tile(size_t)>;
  using Store = std::function<void(size_t, const Tile&)>;
  using Body = std::function<void(const Block&, const Load&, const Store&)>;
  void for_blocks(size_t tensors, const std::vector<size_t>& in, const std::vector<size_t>& out,
                  const Body& body) {
    std::vector<size_t> small;
    for (size_t t = 0; t < tensors; ++t) {
      bool is_small = c_.inputs[in[0] + t].elements() < small_elements;
      for (const size_t role : in) is_small = is_small && c_.inputs[role + t].dtype == DType::float32;
      for (const size_t role : out) is_small = is_small && c_.outputs[role + t].dtype == DType::float32;
      if (is_small) small.push_back(t);
    }
    if (small.size() < 2) small.clear();
    gathered(small, in, out, body);
    for (size_t t = 0; t < tensors; ++t) {
      if (std::find(small.begin(), small.end(), t) != small.end()) continue;
      std::vector<Operand> from, to;
      for (const size_t role : in) from.push_back(c_.inputs[role + t]);
      for (const size_t role : out) to.push_back(c_.outputs[role + t]);
      stream(from, to, body);
    }
  }

 private:
  // One dense tensor, or a gathered value, for each role.
  void stream(const std::vector<Operand>& in, const std::vector<Operand>& out, const Body& body) {
    while (pools_.size() < in.size())
      pools_.push_back(nc_.sbuf_pool("operand" + std::to_string(pools_.size()), 2));
    for (const Block& b : blocks(in[0].elements()))
      body(
          b,
          [&](size_t role) {
            const Tile t =
                pools_[role].tile(static_cast<int>(b.rows), {static_cast<int>(b.columns)}, in[role].dtype);
            nc_.dma_load(t, b.of(in[role].hbm));
            return t;
          },
          [&](size_t role, const Tile& t) { nc_.dma_store(b.of(out[role].hbm), t); });
  }

  void gathered(const std::vector<size_t>& tensors, const std::vector<size_t>& in,
                const std::vector<size_t>& out, const Body& body) {
    if (tensors.empty()) return;
    int64_t total = 0;
    for (const size_t t : tensors) total += c_.inputs[in[0] + t].elements();
    const auto value = [&](const char* name) {
      Operand o;
      o.dtype = DType::float32, o.shape = Shape{total}, o.present = true;
      o.hbm = nc_.hbm_scratch(name, o.shape, o.dtype);
      return o;
    };
    std::vector<Operand> from, to;
    for (const size_t role : in) {
      from.push_back(value("gathered"));
      int64_t at = 0;
      for (const size_t t : tensors) {
        const Operand& o = c_.inputs[role + t];
        nc_.dma_copy(from.back().hbm.box(at, {o.elements()}, {1}), o.hbm);
        at += o.elements();
      }
    }
    for (size_t role = 0; role < out.size(); ++role) to.push_back(value("results"));
    stream(from, to, body);
    for (size_t role = 0; role < out.size(); ++role) {
      int64_t at = 0;
      for (const size_t t : tensors) {
        const Operand& o = c_.outputs[out[role] + t];
        nc_.dma_copy(o.hbm, to[role].hbm.box(at, {o.elements()}, {1}));
        at += o.elements();
      }
    }
  }

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
  enum : size_t { parameter, gradient, moment, second_moment };
  step.for_blocks(
      count, {2, 2 + count, 2 + 2 * count, 2 + 3 * count}, {0, count, 2 * count},
      [&](const Block& b, const Step::Load& load, const Step::Store& store) {
        const int rows = static_cast<int>(b.rows), columns = static_cast<int>(b.columns);
        const auto scratch = [&] { return work.tile(rows, {columns}, DType::float32); };
        const Tile p = load(parameter), m = load(moment), v = load(second_moment);
        Tile g = load(gradient);
        if (!decoupled && decay != 0) {
          const Tile pulled = scratch();
          nc.scalar_tensor_tensor(pulled, p, {AluOp::multiply, decay}, AluOp::add, g);
          g = pulled;
        }
        const Tile m_new = results.tile(rows, {columns}, DType::float32),
                   v_new = results.tile(rows, {columns}, DType::float32);
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
        const Tile p_new = results.tile(rows, {columns}, DType::float32);
        if (decoupled && decay != 0)
          nc.scalar_tensor_tensor(p_new, p, {AluOp::multiply, rows_of(keep, b)}, AluOp::subtract, change);
        else
          nc.tensor_tensor(p_new, p, AluOp::subtract, change);
        store(0, p_new);
        store(1, m_new);
        store(2, v_new);
      });
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
  std::vector<size_t> in = {1, 1 + count}, out = {0};
  if (momentum != 0) in.push_back(1 + 2 * count), out.push_back(count);
  step.for_blocks(count, in, out, [&](const Block& b, const Step::Load& load, const Step::Store& store) {
    const int rows = static_cast<int>(b.rows), columns = static_cast<int>(b.columns);
    const Tile p = load(0);
    Tile g = load(1);
    if (decay != 0) {
      const Tile pulled = work.tile(rows, {columns}, DType::float32);
      nc.scalar_tensor_tensor(pulled, p, {AluOp::multiply, decay}, AluOp::add, g);
      g = pulled;
    }
    Tile direction = g;
    if (momentum != 0) {
      const Tile m = load(2), m_new = results.tile(rows, {columns}, DType::float32);
      nc.scalar_tensor_tensor(m_new, m, {AluOp::multiply, momentum}, AluOp::add, g);
      store(1, m_new);
      direction = m_new;
      if (nesterov) {
        direction = work.tile(rows, {columns}, DType::float32);
        nc.scalar_tensor_tensor(direction, m_new, {AluOp::multiply, momentum}, AluOp::add, g);
      }
    }
    const Tile p_new = results.tile(rows, {columns}, DType::float32);
    nc.scalar_tensor_tensor(p_new, direction, {AluOp::multiply, rows_of(negative_lr, b)}, AluOp::add, p);
    store(0, p_new);
  });
}

// sqrt of the sum of squares of all operands, on every partition: per-partition sums, then a product with
// ones.
Tile norm_of(const NodeContext& c, Step& step, TilePool& constants, TilePool& psum) {
  NeuronCore& nc = c.nc;
  const Tile total = step.coefficient();
  nc.memset(total, 0.0f);
  TilePool work = nc.sbuf_pool("squares", 2), sums = nc.sbuf_pool("sums", 2);
  step.for_blocks(c.inputs.size(), {0}, {}, [&](const Block& b, const Step::Load& load, const Step::Store&) {
    const int rows = static_cast<int>(b.rows);
    const Tile squares = work.tile(rows, {static_cast<int>(b.columns)}, DType::float32),
               sum = sums.tile(rows, {1}, DType::float32);
    nc.activation_reduce(squares, sum, Function::square, load(0));
    nc.tensor_tensor(total.rows(0, rows), total.rows(0, rows), AluOp::add, sum);
  });
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
  step.for_blocks(
      c.inputs.size(), {0}, {0}, [&](const Block& b, const Step::Load& load, const Step::Store& store) {
        const Tile in = load(0),
                   out = results.tile(static_cast<int>(b.rows), {static_cast<int>(b.columns)}, in.dtype());
        nc.tensor_scalar(out, in, {AluOp::multiply, rows_of(factor, b)});
        store(0, out);
      });
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
