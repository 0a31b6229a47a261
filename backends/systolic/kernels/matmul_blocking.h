// How a product is cut into strips, blocks and turns that fit SBUF and PSUM.
#pragma once

#include <vector>

#include "systolic/kernels/lowering.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {

inline constexpr int64_t tile_k = 128, tile_m = 128, tile_n = 512;  // of one instruction

// Sizes and strides of one batched product; batch axes as in the result.
struct Product {
  int64_t m, n, k;
  std::vector<int64_t> batch;           // sizes
  std::vector<int64_t> a_step, b_step;  // elements per batch index
  MatrixOperand a, b;                   // (k, m) and (k, n)
};

Product product_of(const NodeContext& c);

// A strip of the stationary operand, all of K of some M tiles, stays in SBUF; the moving operand streams past
// it in blocks of columns, and K adds up in PSUM. A bank works through a few K tiles before the next bank's
// turn: banks then finish one after the other, slowly enough that their eviction hides behind the products of
// the others, and a block may use all banks at once.
//
// A contraction so long that no strip fits streams both operands: the rows of a strip are loaded again for
// every block of columns, turn by turn.
//
// Short rows are dealt to partitions in runs, so that a descriptor moves several: rows of K, when both
// operands have them along their columns (the sum does not mind the order), and rows of the result, of which
// a bank then holds several tiles.
struct Blocking {
  int64_t m_tiles, n_tiles;  // of a block
  int64_t turn;              // K tiles of one bank's turn
  int64_t k_run = 1;         // neighbouring rows of K on a partition
  // A partition has neighbouring rows of the result: one of each M tile of the strip.
  bool rows_dealt = false;
  int64_t tiles_of_bank = 1;  // M tiles
  bool stationary_stays = true;
  bool moving_stays = false;  // all of the moving operand fits in SBUF: it is loaded once
  // K tiles of a strip and of a block: all of those that stay, a few turns of those that stream.
  int64_t stationary_buffers = 0, moving_buffers = 0;
};

// `banks`: of PSUM. `reserved`: bytes of SBUF per partition that results and epilogues need.
Blocking blocking(const NodeContext& c, const Product& p, int64_t banks, int64_t reserved);

}  // namespace heddle::systolic
