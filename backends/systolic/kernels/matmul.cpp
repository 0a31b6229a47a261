// Tiled matmul: the stationary operand's block stays in SBUF while the moving operand streams past it; K adds
// up in PSUM; the epilogue runs on the result as it leaves.
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "ir/abi_codec.h"
#include "systolic/kernels/matmul_epilogue.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {
namespace {

constexpr int64_t tile_k = 128, tile_m = 128, tile_n = 512;
constexpr int64_t most_m_tiles = 4;  // of a strip
constexpr int64_t least_moving_buffers = 3, enough_moving_buffers = 6;
constexpr int64_t longest_turn = 4, longest_k_run = 16;  // K tiles
constexpr int64_t short_row = 2048, long_row = 4096;     // bytes: worth dealing; as long as a descriptor

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

// How a product is cut. A strip of the stationary operand, all of K of some M tiles, stays in SBUF; the
// moving operand streams past it in blocks of columns, and K adds up in PSUM. A bank works through a few K
// tiles before the next bank's turn: banks then finish one after the other, slowly enough that their eviction
// hides behind the products of the others, and a block may use all banks at once. A contraction so long that
// no strip fits streams both operands: the stationary one is loaded again for every block of columns.
//
// Short rows are dealt to partitions in runs, so that a descriptor moves several: rows of K, when both
// operands have them along their columns (the sum does not mind the order), and rows of the result, of which
// a bank then holds several tiles.
struct Blocking {
  int64_t m_tiles, n_tiles;  // of a block
  int64_t turn;              // K tiles of one bank's turn
  int64_t k_run = 1;         // neighbouring rows of K on a partition
  bool rows_dealt =
      false;  // a partition has neighbouring rows of the result: one of each M tile of the strip
  int64_t tiles_of_bank = 1;     // M tiles
  bool stationary_stays = true;  // a strip stays in SBUF
  bool moving_stays = false;     // all of the moving operand fits in SBUF: it is loaded once
  int64_t stationary_buffers = 0, moving_buffers = 0;  // K tiles
};

int64_t tiles_of(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

int64_t largest_divisor(int64_t n, int64_t most) {
  int64_t d = std::min(n, most);
  while (n % d != 0) --d;
  return d;
}

// `reserved`: bytes of SBUF per partition that results and epilogues need.
Blocking blocking(const NodeContext& c, const Product& p, int64_t banks, int64_t reserved) {
  const auto width = static_cast<int64_t>(size_of(c.inputs[0].dtype));
  const int64_t k_tiles = tiles_of(p.k, tile_k), room = c.nc.sbuf_free() - reserved;
  // Two strips: the next one loads while this one is used.
  const int64_t strip_bytes = 2 * k_tiles * tile_m * width, all_m = tiles_of(p.m, tile_m);
  Blocking b{};
  const int64_t result_bytes = p.n * static_cast<int64_t>(size_of(c.outputs[0].dtype));
  b.rows_dealt = p.m % tile_m == 0 && all_m > 1 && p.n <= tile_n && result_bytes < short_row;
  int64_t most = most_m_tiles;
  if (b.rows_dealt) {
    b.tiles_of_bank = tile_n / p.n;
    most = std::clamp(long_row / result_bytes, most_m_tiles, banks * b.tiles_of_bank);
  }
  int64_t left = 0;
  for (b.m_tiles = std::min(most, all_m); b.m_tiles > 0; --b.m_tiles) {
    left = room - b.m_tiles * strip_bytes;
    const int64_t side_by_side = std::max<int64_t>(1, banks / tiles_of(b.m_tiles, b.tiles_of_bank));
    for (b.n_tiles = std::min(side_by_side, tiles_of(p.n, tile_n)); b.n_tiles > 1; --b.n_tiles)
      if (enough_moving_buffers * b.n_tiles * tile_n * width <= left) break;
    if (least_moving_buffers * b.n_tiles * tile_n * width <= left) break;
  }
  b.stationary_stays = b.m_tiles >= 1;
  if (!b.stationary_stays) {
    b.rows_dealt = false, b.tiles_of_bank = 1;
    b.m_tiles = std::min(most_m_tiles, all_m);
    b.n_tiles = std::min(banks / b.m_tiles, tiles_of(p.n, tile_n));
    b.turn = longest_turn;
    // Three turns of both operands: one is used while two arrive.
    const int64_t turn_bytes = b.turn * (b.m_tiles * tile_m + b.n_tiles * tile_n) * width;
    b.stationary_buffers = b.moving_buffers = b.turn * std::clamp<int64_t>(room / turn_bytes, 2, 3);
    return b;
  }
  b.stationary_buffers = k_tiles;
  b.m_tiles = tiles_of(all_m, tiles_of(all_m, b.m_tiles));  // strips of about the same size
  const int64_t buffers = left / (std::min(p.n, b.n_tiles * tile_n) * width);
  const int64_t all_tiles = k_tiles * tiles_of(p.n, b.n_tiles * tile_n);
  const bool shared = std::all_of(p.b_step.begin(), p.b_step.end(), [](int64_t step) { return step == 0; });
  const bool short_rows = (p.m * width < short_row && b.m_tiles == all_m) ||
                          (p.n * width < short_row && b.n_tiles == tiles_of(p.n, tile_n));
  if (p.a.j_stride == 1 && p.b.j_stride == 1 && p.k % tile_k == 0 && short_rows)
    b.k_run = largest_divisor(k_tiles, std::min(longest_k_run, std::max<int64_t>(1, buffers / 2)));
  b.moving_stays = shared && all_tiles <= buffers;
  b.turn = b.moving_stays ? longest_turn : std::clamp<int64_t>(buffers / 3, 1, longest_turn);
  if (b.k_run > 1) b.turn = b.k_run;
  b.moving_buffers = b.moving_stays ? all_tiles : std::min(buffers / b.turn, int64_t{4}) * b.turn;
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
        stationary_{
            MatrixLoader(nc_, "stationary", c.inputs[0].dtype, buffers_of(blocking_.stationary_buffers)),
            MatrixLoader(nc_, "stationary.next", c.inputs[0].dtype,
                         buffers_of(blocking_.stationary_buffers))},
        moving_(nc_, "moving", c.inputs[0].dtype, buffers_of(blocking_.moving_buffers)),
        psum_(nc_.psum_pool("sums", banks_)),
        blocks_(pieces(p_.n, blocking_.n_tiles * tile_n)),
        turns_(pieces(k_tiles(), blocking_.turn)) {
    std::vector<int64_t> batch(p_.batch.size(), 0);
    while (true) {
      for (const Piece& m : pieces(p_.m, blocking_.m_tiles * tile_m)) strips_.push_back({batch, m});
      size_t axis = batch.size();
      while (axis > 0 && ++batch[axis - 1] == p_.batch[axis - 1]) batch[--axis] = 0;
      if (axis == 0) break;
    }
  }

  void run() {
    std::vector<Tile> strip, next;  // per K tile: [k, rows of the strip]
    for (size_t s = 0; s < strips_.size(); ++s) {
      strip = std::exchange(next, {});
      int64_t step = 0;
      for (size_t b = 0; b < blocks_.size(); ++b) {
        const std::vector<Sum> sums = sums_of(strips_[s], blocks_[b]);
        std::vector<Tile> psum(sums.size());
        for (const Piece& turn : turns_) {
          std::vector<Tile> columns;
          if (!blocking_.stationary_stays) strip.clear();
          const int64_t strip_begin = blocking_.stationary_stays ? 0 : turn.begin;
          for (int64_t k = turn.begin; k < turn.begin + turn.count; k += blocking_.k_run) {
            if (static_cast<int64_t>(strip.size()) == k - strip_begin) load_stationary(s, k, strip);
            load_moving(strips_[s], b, k, columns);
          }
          // The next strip arrives evenly while this one is used.
          ++step;
          while (blocking_.stationary_stays && s + 1 < strips_.size() &&
                 static_cast<int64_t>(next.size()) < step * k_tiles() / steps())
            load_stationary(s + 1, static_cast<int64_t>(next.size()), next);
          for (size_t i = 0; i < sums.size(); ++i) {
            const Sum& sum = sums[i];
            if (turn.begin == 0)
              psum[i] = psum_.tile(sum.rows.partitions, {sum.rows.count, static_cast<int>(sum.n.count)},
                                   DType::float32);
            multiply(strips_[s], sum, psum[i], turn,
                     std::span(strip).subspan(static_cast<size_t>(turn.begin - strip_begin)), columns);
            if (turn.begin + turn.count == k_tiles())
              epilogue_.store(psum[i], strips_[s].batch, sum.rows,
                              {blocks_[b].begin + sum.n.begin, sum.n.count});
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
  // What one bank holds: M tiles rows.first.. of a strip, or one of them, against some columns of the block.
  struct Sum {
    ResultRows rows;
    Piece n;
  };

  int64_t k_tiles() const { return static_cast<int64_t>(ks_.size()); }
  int64_t steps() const { return static_cast<int64_t>(blocks_.size() * turns_.size()); }
  int buffers_of(int64_t k_tiles) const { return static_cast<int>(k_tiles / blocking_.k_run); }

  std::vector<Sum> sums_of(const Strip& strip, const Piece& block) const {
    std::vector<Sum> sums;
    for (const Piece& n : pieces(block.count, tile_n)) {
      if (blocking_.rows_dealt) {
        const int64_t run = strip.m.count / tile_m;
        for (const Piece& tiles : pieces(run, blocking_.tiles_of_bank))
          sums.push_back({{strip.m.begin, static_cast<int>(tile_m), run, static_cast<int>(tiles.begin),
                           static_cast<int>(tiles.count)},
                          n});
      } else {
        for (const Piece& m : pieces(strip.m.count, tile_m))
          sums.push_back({{strip.m.begin + m.begin, static_cast<int>(m.count)}, n});
      }
    }
    return sums;
  }

  void multiply(const Strip& strip, const Sum& sum, const Tile& psum, const Piece& turn,
                std::span<const Tile> stationary, std::span<const Tile> columns) {
    for (int i = 0; i < sum.rows.count; ++i)
      for (int64_t k = turn.begin; k < turn.begin + turn.count; ++k) {
        const Tile& all = stationary[static_cast<size_t>(k - turn.begin)];
        const Tile rows =
            blocking_.rows_dealt
                ? all.slice(-1, sum.rows.first + i, sum.rows.partitions, static_cast<int>(sum.rows.run))
                : all.cols(static_cast<int>(sum.rows.begin - strip.m.begin), sum.rows.partitions);
        nc_.nc_matmul(psum.at(0, i), rows,
                      columns[static_cast<size_t>(k - turn.begin)].cols(static_cast<int>(sum.n.begin),
                                                                        static_cast<int>(sum.n.count)),
                      accumulate(k, k_tiles()));
      }
  }

  static MatrixOperand at_batch(MatrixOperand operand, const std::vector<int64_t>& step,
                                const std::vector<int64_t>& batch) {
    for (size_t i = 0; i < batch.size(); ++i) operand.offset += batch[i] * step[i];
    return operand;
  }
  // The next K tile, or run of them, of a strip.
  void load_stationary(size_t s, int64_t k, std::vector<Tile>& tiles) {
    const Strip& strip = strips_[s];
    load(stationary_[blocking_.stationary_stays ? s % 2 : 0], at_batch(p_.a, p_.a_step, strip.batch), k,
         strip.m, tiles);
  }
  void load_moving(const Strip& strip, size_t block, int64_t k, std::vector<Tile>& tiles) {
    const MatrixOperand b = at_batch(p_.b, p_.b_step, strip.batch);
    if (!blocking_.moving_stays) return load(moving_, b, k, blocks_[block], tiles);
    const size_t at = block * ks_.size() + static_cast<size_t>(k);
    if (at == kept_.size()) load(moving_, b, k, blocks_[block], kept_);
    for (int64_t i = 0; i < blocking_.k_run; ++i) tiles.push_back(kept_[at + static_cast<size_t>(i)]);
  }
  void load(MatrixLoader& loader, const MatrixOperand& matrix, int64_t k, const Piece& j,
            std::vector<Tile>& tiles) {
    if (blocking_.k_run == 1) return tiles.push_back(loader.load(matrix, ks_[static_cast<size_t>(k)], j));
    const Tile run = loader.load_run(matrix, {k * tile_k, tile_k}, static_cast<int>(blocking_.k_run), j);
    for (int i = 0; i < blocking_.k_run; ++i) tiles.push_back(run.at(0, i));
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
  const std::vector<Piece> blocks_, turns_;  // of columns; of K tiles
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
