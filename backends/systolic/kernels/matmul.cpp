// Tiled matmul: the stationary operand's block stays in SBUF while the moving operand streams past it; K adds
// up in PSUM; the epilogue runs on the result as it leaves.
#include <algorithm>
#include <optional>

#include "ir/abi_codec.h"
#include "systolic/kernels/pointwise.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {
namespace {

constexpr int64_t tile_k = 128, tile_m = 128, tile_n = 512;
constexpr int64_t block_m_tiles =
    4;  // PSUM banks of one block; the other four belong to the next one and to transposes

bool uses_gpsimd(const ScalarProgram& program) {
  for (const ScalarStep& s : program.steps) {
    switch (s.op) {
      case ScalarOp::log:
      case ScalarOp::sqrt:
      case ScalarOp::rsqrt:
      case ScalarOp::sin:
      case ScalarOp::cos:
      case ScalarOp::floor:
      case ScalarOp::ceil:
      case ScalarOp::round:
      case ScalarOp::is_nan:
        return true;
      default:
        break;
    }
  }
  return false;
}

// Sizes and strides of one batched product; batch axes as in the result.
struct Product {
  int64_t m, n, k;
  std::vector<int64_t> batch;           // sizes
  std::vector<int64_t> a_step, b_step;  // elements per batch index
  MatrixOperand a, b;                   // (k, m) and (k, n)
};

std::vector<int64_t> batch_steps(const Shape& shape, const Shape& result) {
  const int axes = result.rank() - 2;
  std::vector<int64_t> steps(static_cast<size_t>(axes), 0);
  int64_t step = shape[shape.rank() - 1] * shape[shape.rank() - 2];
  for (int axis = axes - 1, own = shape.rank() - 3; axis >= 0 && own >= 0; --axis, --own) {
    if (shape[own] != 1) steps[static_cast<size_t>(axis)] = step;
    step *= shape[own];
  }
  return steps;
}

Product product_of(const NodeContext& c) {
  const bool ta = c.attributes.get_or<bool>("transpose_a", false),
             tb = c.attributes.get_or<bool>("transpose_b", false);
  const Shape &a = c.inputs[0].shape, &b = c.inputs[1].shape, &y = c.outputs[0].shape;
  Product p{};
  p.m = y.at(-2);
  p.n = y.at(-1);
  p.k = ta ? a.at(-2) : a.at(-1);
  for (int i = 0; i + 2 < y.rank(); ++i) p.batch.push_back(y[i]);
  p.a_step = batch_steps(a, y);
  p.b_step = batch_steps(b, y);
  p.a = {c.inputs[0].hbm, 0, ta ? p.m : 1, ta ? 1 : p.k};
  p.b = {c.inputs[1].hbm, 0, tb ? 1 : p.n, tb ? p.k : 1};
  return p;
}

// What is done with a finished tile of the result: stored as it is, or run through a program first.
class Epilogue {
 public:
  Epilogue(const NodeContext& c, bool has_program) : c_(c), staging_(c.nc.sbuf_pool("result", 2)) {
    if (!has_program) return;
    const ScalarProgram& program = *c.attributes.get<ScalarProgramPtr>("body");
    emitter_.emplace(c.nc, program, "epilogue");
    direct_ = !uses_gpsimd(program);
    const Shape& y = c.outputs[0].shape;
    for (size_t i = 2; i < c.inputs.size(); ++i) {
      Extra& e = extra_.emplace_back();
      const Shape& s = c.inputs[i].shape;
      e.stride.assign(static_cast<size_t>(y.rank()), 0);
      int64_t step = 1;
      for (int axis = y.rank() - 1, own = s.rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
        if (s[own] != 1) e.stride[static_cast<size_t>(axis)] = step;
        step *= s[own];
      }
    }
    for (size_t i = 2; i < c.inputs.size(); ++i) pools_.push_back(c.nc.sbuf_pool("epilogue.operand", 2));
    for (const Operand& o : c.outputs) output_dtypes_.push_back(o.dtype);
  }

  void store(const Tile& psum, const std::vector<int64_t>& batch, const Piece& m, const Piece& n) {
    NeuronCore& nc = c_.nc;
    const int rows = static_cast<int>(m.count), columns = static_cast<int>(n.count);
    if (!emitter_) {
      const Tile out = staging_.tile(rows, {columns}, c_.outputs[0].dtype);
      nc.tensor_copy(out, psum, evict_engine());
      nc.dma_store(target(c_.outputs[0], batch, m, n), out);
      return;
    }
    std::vector<ProgramInput> operands;
    Tile result = psum;
    if (!direct_ || c_.outputs[0].dtype == DType::bfloat16) {  // the program sees the matmul's own dtype
      result = staging_.tile(rows, {columns}, c_.inputs[0].dtype);
      nc.tensor_copy(result, psum, evict_engine());
    }
    operands.push_back({result, false});
    for (size_t i = 0; i < extra_.size(); ++i) {
      const Operand& operand = c_.inputs[i + 2];
      const auto& stride = extra_[i].stride;
      const size_t axes = stride.size();
      const int64_t rs = stride[axes - 2], cs = stride[axes - 1];
      int64_t start = m.begin * rs + n.begin * cs;
      for (size_t a = 0; a < batch.size(); ++a) start += batch[a] * stride[a];
      const bool narrow = cs == 0;
      const bool cast = narrow && operand.dtype == DType::bfloat16;
      const Tile t = pools_[i].tile(rows, {narrow ? 1 : columns}, cast ? DType::float32 : operand.dtype);
      nc.dma_load(t, operand.hbm.box(start, {rows, narrow ? 1 : columns}, {rs, cs}));
      operands.push_back({t, narrow});
    }
    const std::vector<Tile> results = emitter_->emit(operands, rows, columns, output_dtypes_);
    for (size_t o = 0; o < results.size(); ++o) {
      Tile out = results[o];
      if (out.memory() == Memory::psum) {  // the raw product is kept: DMA leaves from SBUF
        out = staging_.tile(rows, {columns}, c_.outputs[o].dtype);
        nc.tensor_copy(out, results[o], evict_engine());
      }
      nc.dma_store(target(c_.outputs[o], batch, m, n), out);
    }
  }

 private:
  struct Extra {
    std::vector<int64_t> stride;  // per axis of the result
  };
  // Eviction alternates so that neither engine holds the tensor engine up.
  Engine evict_engine() { return (turn_ = !turn_) ? Engine::dve : Engine::act; }
  static Hbm target(const Operand& o, const std::vector<int64_t>& batch, const Piece& m, const Piece& n) {
    const int64_t columns = o.shape.at(-1), rows = o.shape.at(-2);
    int64_t start = 0;
    for (size_t a = 0; a < batch.size(); ++a) start = start * o.shape[static_cast<int>(a)] + batch[a];
    start = start * rows * columns + m.begin * columns + n.begin;
    return o.hbm.box(start, {m.count, n.count}, {columns, 1});
  }

  const NodeContext& c_;
  TilePool staging_;
  std::optional<ProgramEmitter> emitter_;
  bool direct_ = true, turn_ = false;
  std::vector<Extra> extra_;
  std::vector<TilePool> pools_;
  std::vector<DType> output_dtypes_;
};

void multiply(const NodeContext& c, const Product& p, const std::vector<int64_t>& batch, Epilogue& epilogue,
              MatrixLoader& stationary, MatrixLoader& moving, TilePool& psum, int64_t m_tiles) {
  NeuronCore& nc = c.nc;
  MatrixOperand a = p.a, b = p.b;
  for (size_t i = 0; i < batch.size(); ++i) {
    a.offset += batch[i] * p.a_step[i];
    b.offset += batch[i] * p.b_step[i];
  }
  const std::vector<Piece> ks = pieces(p.k, tile_k);
  for (const Piece& block : pieces(p.m, m_tiles * tile_m)) {
    const std::vector<Piece> ms = pieces(block.count, tile_m);
    std::vector<Tile> resident;  // per k: [k, block]
    for (const Piece& k : ks) resident.push_back(stationary.load(a, k, block));
    for (const Piece& n : pieces(p.n, tile_n)) {
      std::vector<Tile> sums;
      for (const Piece& m : ms)
        sums.push_back(psum.tile(static_cast<int>(m.count), {static_cast<int>(n.count)}, DType::float32));
      for (size_t k = 0; k < ks.size(); ++k) {
        const Tile columns = moving.load(b, ks[k], n);
        for (size_t m = 0; m < ms.size(); ++m)
          nc.nc_matmul(sums[m],
                       resident[k].cols(static_cast<int>(ms[m].begin), static_cast<int>(ms[m].count)),
                       columns, accumulate(static_cast<int64_t>(k), static_cast<int64_t>(ks.size())));
      }
      for (size_t m = 0; m < ms.size(); ++m)
        epilogue.store(sums[m], batch, {block.begin + ms[m].begin, ms[m].count}, n);
    }
  }
}

void emit(const NodeContext& c, bool has_program) {
  const Product p = product_of(c);
  NeuronCore& nc = c.nc;
  const DType dtype = c.inputs[0].dtype;
  // The stationary block, all of K of up to four M tiles, twice (the next block loads behind this one).
  const int64_t k_tiles = (p.k + tile_k - 1) / tile_k;
  const int64_t budget = nc.sbuf_free() / 2;
  const int64_t bytes_per_m_tile = 2 * k_tiles * tile_m * static_cast<int64_t>(size_of(dtype));
  const int64_t m_tiles = std::min(block_m_tiles, budget / bytes_per_m_tile);
  if (m_tiles < 1)
    throw Error(ErrorCode::out_of_memory, std::string(c.name) +
                                              ": a stationary block of K = " + std::to_string(p.k) +
                                              " does not fit in SBUF; split the contraction");
  MatrixLoader stationary(nc, "stationary", dtype, static_cast<int>(2 * k_tiles));
  MatrixLoader moving(nc, "moving", dtype, 3);
  TilePool psum =
      nc.psum_pool("sums", static_cast<int>(std::min<int64_t>(m_tiles, (p.m + tile_m - 1) / tile_m)) + 1);
  Epilogue epilogue(c, has_program);
  std::vector<int64_t> batch(p.batch.size(), 0);
  while (true) {
    multiply(c, p, batch, epilogue, stationary, moving, psum, m_tiles);
    size_t axis = batch.size();
    while (axis > 0 && ++batch[axis - 1] == p.batch[axis - 1]) batch[--axis] = 0;
    if (axis == 0) break;
  }
}

void emit_matmul(const NodeContext& c) { emit(c, false); }
void emit_matmul_pointwise(const NodeContext& c) { emit(c, true); }

backend::Offer offer_product(const backend::NodeRef& node) {
  if (node.input(0).dtype() != node.input(1).dtype()) return backend::no("operands of two dtypes");
  const int64_t k = node.integer("transpose_a") ? node.input(0).dim(-2) : node.input(0).dim(-1);
  // Two buffers of all K tiles of one M tile in half of SBUF (176 KiB a partition).
  if (2 * ((k + 127) / 128) * 128 * static_cast<int64_t>(backend::dtype_bytes(node.input(0).dtype())) >
      80 * 1024)
    return backend::no("a contraction of " + std::to_string(k) + " does not fit in SBUF");
  return backend::yes();
}

backend::Offer offer_matmul(const backend::NodeRef& node) {
  const backend::Offer floats = floats_only(node);
  return floats.accepted ? offer_product(node) : floats;
}

backend::Offer offer_matmul_pointwise(const backend::NodeRef& node) {
  for (uint32_t i = 0; i < 2; ++i)
    if (node.input(i).dtype() != HD_DTYPE_FLOAT32 && node.input(i).dtype() != HD_DTYPE_BFLOAT16)
      return backend::no("the tensor engine takes float32 and bfloat16");
  const backend::Offer product = offer_product(node);
  if (!product.accepted) return product;
  return offer_program(decode_program(*node.program()));
}

constexpr Lowering lowerings[] = {{"matmul", offer_matmul, emit_matmul},
                                  {"matmul_pointwise", offer_matmul_pointwise, emit_matmul_pointwise}};

}  // namespace

std::span<const Lowering> matmul_lowerings() { return lowerings; }

}  // namespace heddle::systolic
