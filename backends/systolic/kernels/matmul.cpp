// Tiled matmul: a strip of the stationary operand stays in SBUF, or streams, while the moving operand streams
// past it; K adds up in PSUM; the epilogue runs on the result as it leaves.
#include <array>
#include <utility>

#include "ir/abi_codec.h"
#include "systolic/kernels/matmul_blocking.h"
#include "systolic/kernels/matmul_epilogue.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {
namespace {

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
    Loaded strip, next;  // rows of a strip
    for (size_t s = 0; s < strips_.size(); ++s) {
      strip = std::exchange(next, {});
      int64_t step = 0;
      for (size_t b = 0; b < blocks_.size(); ++b) {
        const std::vector<Sum> sums = sums_of(strips_[s], blocks_[b]);
        std::vector<Tile> psum(sums.size());
        for (const Piece& turn : turns_) {
          if (!blocking_.stationary_stays) strip = {turn.begin, {}};
          Loaded columns{turn.begin, {}};
          for (int64_t k = turn.begin; k < turn.begin + turn.count; k += blocking_.k_run) {
            if (strip.end() == k) load_stationary(s, strip);
            load_moving(strips_[s], b, columns);
          }
          // The next strip arrives evenly while this one is used.
          ++step;
          if (blocking_.stationary_stays && s + 1 < strips_.size())
            while (next.end() < step * k_tiles() / steps()) load_stationary(s + 1, next);
          for (size_t i = 0; i < sums.size(); ++i) {
            const Sum& sum = sums[i];
            if (turn.begin == 0)
              psum[i] = psum_.tile(sum.rows.partitions, {sum.rows.count, static_cast<int>(sum.n.count)},
                                   DType::float32);
            multiply(strips_[s], sum, psum[i], turn, strip, columns);
            if (turn.begin + turn.count == k_tiles())
              epilogue_.store(psum[i], strips_[s].batch, sum.rows,
                              {blocks_[b].begin + sum.n.begin, sum.n.count});
          }
        }
      }
    }
  }

 private:
  // Neighbouring K tiles of an operand that are in SBUF: tile k is [k, rows of a strip or columns of a
  // block].
  struct Loaded {
    int64_t begin = 0;
    std::vector<Tile> tiles;

    int64_t end() const { return begin + static_cast<int64_t>(tiles.size()); }
    const Tile& at(int64_t k) const { return tiles[static_cast<size_t>(k - begin)]; }
  };
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
                const Loaded& stationary, const Loaded& columns) {
    for (int i = 0; i < sum.rows.count; ++i)
      for (int64_t k = turn.begin; k < turn.begin + turn.count; ++k) {
        const Tile& all = stationary.at(k);
        const Tile rows =
            blocking_.rows_dealt
                ? all.slice(-1, sum.rows.first + i, sum.rows.partitions, static_cast<int>(sum.rows.run))
                : all.cols(static_cast<int>(sum.rows.begin - strip.m.begin), sum.rows.partitions);
        nc_.nc_matmul(psum.at(0, i), rows,
                      columns.at(k).cols(static_cast<int>(sum.n.begin), static_cast<int>(sum.n.count)),
                      accumulate(k, k_tiles()));
      }
  }

  static MatrixOperand at_batch(MatrixOperand operand, const std::vector<int64_t>& step,
                                const std::vector<int64_t>& batch) {
    for (size_t i = 0; i < batch.size(); ++i) operand.offset += batch[i] * step[i];
    return operand;
  }
  // The next K tile, or run of them, of a strip. Strips that stay take turns: one is used while another
  // loads.
  void load_stationary(size_t s, Loaded& rows) {
    const Strip& strip = strips_[s];
    load(stationary_[blocking_.stationary_stays ? s % 2 : 0], at_batch(p_.a, p_.a_step, strip.batch),
         rows.end(), strip.m, rows.tiles);
  }
  // The same of a block of columns.
  void load_moving(const Strip& strip, size_t block, Loaded& columns) {
    const MatrixOperand b = at_batch(p_.b, p_.b_step, strip.batch);
    const int64_t k = columns.end();
    if (!blocking_.moving_stays) return load(moving_, b, k, blocks_[block], columns.tiles);
    const size_t at = block * ks_.size() + static_cast<size_t>(k);
    if (at == kept_.size()) load(moving_, b, k, blocks_[block], kept_);
    for (int64_t i = 0; i < blocking_.k_run; ++i) columns.tiles.push_back(kept_[at + static_cast<size_t>(i)]);
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
  std::array<MatrixLoader, 2> stationary_;  // strips in turn; the first alone when they stream
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
