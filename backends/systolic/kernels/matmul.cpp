// Tiled matmul: the stationary operand's block stays in SBUF while the moving operand streams past it; K adds
// up in PSUM; the epilogue runs on the result as it leaves.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "ir/abi_codec.h"
#include "systolic/kernels/pointwise.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {
namespace {

constexpr int result_buffers = 4;
constexpr int64_t tile_k = 128, tile_m = 128, tile_n = 512;
constexpr int64_t most_m_tiles = 4;  // of a strip
constexpr int64_t least_moving_buffers = 3, enough_moving_buffers = 6;
constexpr int64_t longest_turn = 4;  // K tiles

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
  Epilogue(const NodeContext& c, bool has_program)
      : c_(c), staging_(c.nc.sbuf_pool("result", result_buffers)) {
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

  // SBUF per partition that its tiles take, at most.
  int64_t bytes() const {
    const int64_t registers = emitter_ ? emitter_->slots() : 0,
                  operands = static_cast<int64_t>(pools_.size());
    const int64_t tiles = result_buffers + 2 * (registers + operands) + 2;
    return tiles * tile_n * static_cast<int64_t>(sizeof(float));
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

// How a product is cut. A strip of the stationary operand, all of K of up to four M tiles, stays in SBUF; the
// moving operand streams past it in blocks of columns, and K adds up in PSUM. A bank works through a few K
// tiles before the next bank's turn: banks then finish one after the other, slowly enough that their eviction
// hides behind the products of the others, and a block may use all banks at once. A contraction so long that
// no strip fits streams both operands: the stationary one is loaded again for every block of columns.
struct Blocking {
  int64_t m_tiles, n_tiles;  // of a block; their product is at most the banks of PSUM
  int64_t chunk;             // K tiles of one bank's turn
  bool stationary_stays;     // a strip stays in SBUF
  bool moving_stays;         // all of the moving operand fits in SBUF: it is loaded once
  int stationary_buffers, moving_buffers;
};

// `reserved`: bytes of SBUF per partition that results and epilogues need.
Blocking blocking(const NodeContext& c, const Product& p, int64_t banks, int64_t reserved) {
  const auto width = static_cast<int64_t>(size_of(c.inputs[0].dtype));
  const auto tiles = [](int64_t n, int64_t tile) { return (n + tile - 1) / tile; };
  const int64_t k_tiles = tiles(p.k, tile_k), room = c.nc.sbuf_free() - reserved;
  // Two strips: the next one loads while this one is used.
  const int64_t strip_bytes = 2 * k_tiles * tile_m * width;
  Blocking b{};
  int64_t left = 0;
  for (b.m_tiles = std::min(most_m_tiles, tiles(p.m, tile_m)); b.m_tiles > 0; --b.m_tiles) {
    left = room - b.m_tiles * strip_bytes;
    for (b.n_tiles = std::min(banks / b.m_tiles, tiles(p.n, tile_n)); b.n_tiles > 1; --b.n_tiles)
      if (enough_moving_buffers * b.n_tiles * tile_n * width <= left) break;
    if (least_moving_buffers * b.n_tiles * tile_n * width <= left) break;
  }
  b.stationary_stays = b.m_tiles >= 1;
  b.stationary_buffers = static_cast<int>(k_tiles);
  if (!b.stationary_stays) {
    b.m_tiles = std::min(most_m_tiles, tiles(p.m, tile_m));
    b.n_tiles = std::min(banks / b.m_tiles, tiles(p.n, tile_n));
    b.chunk = longest_turn;
    // Three turns of both operands: one is used while two arrive.
    const int64_t turn_bytes = b.chunk * (b.m_tiles * tile_m + b.n_tiles * tile_n) * width;
    b.stationary_buffers = b.moving_buffers =
        static_cast<int>(b.chunk * std::clamp<int64_t>(room / turn_bytes, 2, 3));
    return b;
  }
  const int64_t buffers = left / (std::min(p.n, b.n_tiles * tile_n) * width);
  const int64_t all_tiles = k_tiles * tiles(p.n, b.n_tiles * tile_n);
  const bool shared = std::all_of(p.b_step.begin(), p.b_step.end(), [](int64_t step) { return step == 0; });
  b.moving_stays = shared && all_tiles <= buffers;
  b.chunk = b.moving_stays ? longest_turn : std::clamp<int64_t>(buffers / 3, 1, longest_turn);
  b.moving_buffers = static_cast<int>(b.moving_stays ? all_tiles : std::min(buffers, 4 * b.chunk));
  return b;
}

class Multiplication {
 public:
  Multiplication(const NodeContext& c, bool has_program)
      : nc_(c.nc),
        p_(product_of(c)),
        banks_(c.nc.device().psum.banks),
        epilogue_(c, has_program),
        blocking_(blocking(c, p_, banks_, epilogue_.bytes())),
        ks_(pieces(p_.k, tile_k)),
        stationary_{MatrixLoader(nc_, "stationary", c.inputs[0].dtype, blocking_.stationary_buffers),
                    MatrixLoader(nc_, "stationary.next", c.inputs[0].dtype, blocking_.stationary_buffers)},
        moving_(nc_, "moving", c.inputs[0].dtype, blocking_.moving_buffers),
        psum_(nc_.psum_pool("sums", banks_)) {
    std::vector<int64_t> batch(p_.batch.size(), 0);
    while (true) {
      for (const Piece& m : pieces(p_.m, blocking_.m_tiles * tile_m)) strips_.push_back({batch, m});
      size_t axis = batch.size();
      while (axis > 0 && ++batch[axis - 1] == p_.batch[axis - 1]) batch[--axis] = 0;
      if (axis == 0) break;
    }
  }

  void run() {
    const std::vector<Piece> blocks = pieces(p_.n, blocking_.n_tiles * tile_n);
    const std::vector<Piece> turns = pieces(static_cast<int64_t>(ks_.size()), blocking_.chunk);
    const auto steps = static_cast<int64_t>(blocks.size() * turns.size());
    std::vector<Tile> strip, next;
    for (size_t s = 0; s < strips_.size(); ++s) {
      strip = std::exchange(next, {});
      int64_t step = 0;
      for (size_t b = 0; b < blocks.size(); ++b) {
        const std::vector<Piece> ms = pieces(strips_[s].m.count, tile_m),
                                 ns = pieces(blocks[b].count, tile_n);
        std::vector<Tile> sums;
        for (const Piece& turn : turns) {
          std::vector<Tile> columns;
          if (!blocking_.stationary_stays) strip.clear();
          const int64_t strip_begin = blocking_.stationary_stays ? 0 : turn.begin;
          for (int64_t k = turn.begin; k < turn.begin + turn.count; ++k) {
            if (static_cast<int64_t>(strip.size()) == k - strip_begin) strip.push_back(load_stationary(s, k));
            columns.push_back(load_moving(strips_[s], b, blocks[b], k));
          }
          // The next strip arrives evenly while this one is used.
          ++step;
          if (s + 1 < strips_.size() && blocking_.stationary_stays)
            while (static_cast<int64_t>(next.size()) < step * static_cast<int64_t>(ks_.size()) / steps)
              next.push_back(load_stationary(s + 1, static_cast<int64_t>(next.size())));
          size_t bank = 0;
          for (const Piece& n : ns)
            for (const Piece& m : ms) {
              if (turn.begin == 0)
                sums.push_back(
                    psum_.tile(static_cast<int>(m.count), {static_cast<int>(n.count)}, DType::float32));
              for (int64_t k = turn.begin; k < turn.begin + turn.count; ++k)
                nc_.nc_matmul(sums[bank],
                              strip[static_cast<size_t>(k - strip_begin)].cols(static_cast<int>(m.begin),
                                                                               static_cast<int>(m.count)),
                              columns[static_cast<size_t>(k - turn.begin)].cols(static_cast<int>(n.begin),
                                                                                static_cast<int>(n.count)),
                              accumulate(k, static_cast<int64_t>(ks_.size())));
              if (turn.begin + turn.count == static_cast<int64_t>(ks_.size()))
                epilogue_.store(sums[bank], strips_[s].batch, {strips_[s].m.begin + m.begin, m.count},
                                {blocks[b].begin + n.begin, n.count});
              ++bank;
            }
        }
      }
    }
  }

 private:
  struct Strip {
    std::vector<int64_t> batch;
    Piece m;
  };
  static MatrixOperand at_batch(MatrixOperand operand, const std::vector<int64_t>& step,
                                const std::vector<int64_t>& batch) {
    for (size_t i = 0; i < batch.size(); ++i) operand.offset += batch[i] * step[i];
    return operand;
  }
  Tile load_stationary(size_t s, int64_t k) {
    const Strip& strip = strips_[s];
    return stationary_[blocking_.stationary_stays ? s % 2 : 0].load(at_batch(p_.a, p_.a_step, strip.batch),
                                                                    ks_[static_cast<size_t>(k)], strip.m);
  }
  Tile load_moving(const Strip& strip, size_t block, const Piece& columns, int64_t k) {
    const auto load = [&] {
      return moving_.load(at_batch(p_.b, p_.b_step, strip.batch), ks_[static_cast<size_t>(k)], columns);
    };
    if (!blocking_.moving_stays) return load();
    const size_t at = block * ks_.size() + static_cast<size_t>(k);
    if (at == kept_.size()) kept_.push_back(load());
    return kept_[at];
  }

  NeuronCore& nc_;
  const Product p_;
  const int banks_;
  Epilogue epilogue_;
  const Blocking blocking_;
  const std::vector<Piece> ks_;
  std::array<MatrixLoader, 2> stationary_;  // strips in turn
  MatrixLoader moving_;
  TilePool psum_;
  std::vector<Strip> strips_;
  std::vector<Tile> kept_;  // of the moving operand, block by block, when it stays
};

void emit_matmul(const NodeContext& c) { Multiplication(c, false).run(); }
void emit_matmul_pointwise(const NodeContext& c) { Multiplication(c, true).run(); }

backend::Offer offer_product(const backend::NodeRef& node) {
  if (node.input(0).dtype() != node.input(1).dtype()) return backend::no("operands of two dtypes");
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
