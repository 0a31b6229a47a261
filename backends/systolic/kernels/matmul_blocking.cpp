#include "systolic/kernels/matmul_blocking.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

constexpr int64_t most_m_tiles = 4;  // of a strip
constexpr int64_t least_buffers = 3, enough_buffers = 6;  // K tiles of what streams
constexpr int64_t longest_turn = 4, longest_k_run = 16;  // K tiles
constexpr int64_t most_turns = 4;                        // in SBUF, of what streams
constexpr int64_t short_row = 2048, long_row = 4096;     // bytes: worth dealing; as long as a descriptor

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

int64_t tiles_of(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

int64_t largest_divisor(int64_t n, int64_t most) {
  int64_t d = std::min(n, most);
  while (n % d != 0) --d;
  return d;
}

// SBUF per partition, and what one K tile of an operand takes of it.
struct Budget {
  int64_t room, width, banks;

  int64_t stationary(int64_t m_tiles) const { return m_tiles * tile_m * width; }
  int64_t moving(int64_t n_tiles) const { return n_tiles * tile_n * width; }
  // N tiles that the banks hold beside each other.
  int64_t side_by_side(const Blocking& b) const {
    return std::max<int64_t>(1, banks / tiles_of(b.m_tiles, b.tiles_of_bank));
  }
};

// Blocks of the most M tiles, up to `most`, of which a strip fits beside the moving operand. Returns how many
// K tiles of the moving operand fit, 0 when no strip does.
int64_t keep_strips(Blocking& b, const Product& p, const Budget& budget, int64_t most) {
  const int64_t k_tiles = tiles_of(p.k, tile_k), all_m = tiles_of(p.m, tile_m);
  for (b.m_tiles = std::min(most, all_m); b.m_tiles > 0; --b.m_tiles) {
    // Two strips: the next one loads while this one is used.
    const int64_t left = budget.room - 2 * k_tiles * budget.stationary(b.m_tiles);
    for (b.n_tiles = std::min(budget.side_by_side(b), tiles_of(p.n, tile_n)); b.n_tiles > 1; --b.n_tiles)
      if (enough_buffers * budget.moving(b.n_tiles) <= left) break;
    if (least_buffers * budget.moving(b.n_tiles) > left) continue;
    b.m_tiles = tiles_of(all_m, tiles_of(all_m, b.m_tiles));  // strips of about the same size
    return left / (std::min(p.n, b.n_tiles * tile_n) * budget.width);
  }
  return 0;
}

// The same of blocks whose operands both stream: how many K tiles of both fit.
int64_t stream_both(Blocking& b, const Product& p, const Budget& budget, int64_t most) {
  const int64_t all_m = tiles_of(p.m, tile_m);
  b.stationary_stays = false;
  const auto fits = [&] {
    return enough_buffers * (budget.stationary(b.m_tiles) + budget.moving(b.n_tiles)) <= budget.room;
  };
  for (b.m_tiles = std::min(most, all_m); b.m_tiles > 0; --b.m_tiles) {
    for (b.n_tiles = std::min(budget.side_by_side(b), tiles_of(p.n, tile_n)); b.n_tiles > 1; --b.n_tiles)
      if (fits()) break;
    if (fits() || b.m_tiles == 1) break;
  }
  b.m_tiles = tiles_of(all_m, tiles_of(all_m, b.m_tiles));
  // When not even one fits, the pools say who takes the room.
  const int64_t columns = std::min(p.m, b.m_tiles * tile_m) + std::min(p.n, b.n_tiles * tile_n);
  return std::max<int64_t>(1, budget.room / (columns * budget.width));
}

}  // namespace

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

Blocking blocking(const NodeContext& c, const Product& p, int64_t banks, int64_t reserved) {
  const auto width = static_cast<int64_t>(size_of(c.inputs[0].dtype));
  const Budget budget{.room = c.nc.sbuf_free() - reserved, .width = width, .banks = banks};
  const int64_t k_tiles = tiles_of(p.k, tile_k), all_m = tiles_of(p.m, tile_m);
  Blocking b{};
  const int64_t result_bytes = p.n * static_cast<int64_t>(size_of(c.outputs[0].dtype));
  b.rows_dealt = p.m % tile_m == 0 && all_m > 1 && p.n <= tile_n && result_bytes < short_row;
  int64_t most = most_m_tiles;
  if (b.rows_dealt) {
    b.tiles_of_bank = tile_n / p.n;
    most = std::clamp(long_row / result_bytes, most_m_tiles, banks * b.tiles_of_bank);
  }
  int64_t buffers = keep_strips(b, p, budget, most);  // K tiles of what streams
  if (buffers == 0) buffers = stream_both(b, p, budget, most);
  const int64_t all_tiles = k_tiles * tiles_of(p.n, b.n_tiles * tile_n);
  const bool shared = std::all_of(p.b_step.begin(), p.b_step.end(), [](int64_t step) { return step == 0; });
  const bool short_rows = (p.m * width < short_row && b.m_tiles == all_m) ||
                          (p.n * width < short_row && b.n_tiles == tiles_of(p.n, tile_n));
  if (p.a.j_stride == 1 && p.b.j_stride == 1 && p.k % tile_k == 0 && short_rows)
    b.k_run = largest_divisor(k_tiles, std::min(longest_k_run, std::max<int64_t>(1, buffers / 2)));
  b.moving_stays = b.stationary_stays && shared && all_tiles <= buffers;
  b.turn = b.moving_stays ? longest_turn : std::clamp<int64_t>(buffers / 3, 1, longest_turn);
  if (b.k_run > 1) b.turn = b.k_run;
  const int64_t streaming = std::min(buffers / b.turn, most_turns) * b.turn;
  b.stationary_buffers = b.stationary_stays ? k_tiles : streaming;
  b.moving_buffers = b.moving_stays ? all_tiles : streaming;
  return b;
}

}  // namespace heddle::systolic
