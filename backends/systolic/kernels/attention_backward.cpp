// The gradient of attention. Chunks of 512 keys outside, query tiles of 128 inside: dk and dv of a chunk add
// up in PSUM over all query tiles, dq of every query tile adds up in SBUF over the chunks. All that a query
// tile needs stays in SBUF.
//
//   p = exp(scale q k' + mask - lse)   dp = dout v'   ds = p (dp - delta), delta = rowsum(dout out)
//   dv' = dout' p      dk' = scale q' ds      dq = scale ds k
//
// Four stages follow each other at a distance of a step: scores and dp (PE); p and ds (ACT reads PSUM, DVE
// multiplies); ds turned, dv and dk (PE); dq (PE, DVE adds). dv' and dk' have the keys along the free
// dimension, where a product moves 512 of them at once; they are turned when a chunk is done.
#include "systolic/kernels/attention_backward.h"

#include <algorithm>
#include <cmath>

#include "systolic/kernels/attention_edges.h"

namespace heddle::systolic {
namespace {

constexpr int64_t chunk_keys = 512, chunk_blocks = chunk_keys / block_rows;
constexpr int square = 32;  // what the vector engine turns at once

class Backward {
 public:
  explicit Backward(const NodeContext& c)
      : nc_(c.nc),
        a_(attention_shape(c)),
        dtype_(a_.q.dtype),
        tiles_together_(nc_.device().psum.bank_bytes / static_cast<int64_t>(size_of(dtype_)) / block_rows),
        runs_(runs_of(a_, std::min(tiles_together_, chunk_blocks))),
        bshd_(c.attributes.get<std::string>("layout") == "bshd"),
        out_(head_rows(c.inputs[4], bshd_)),
        dout_(head_rows(c.inputs[6], bshd_)),
        dq_(head_rows(c.outputs[0], bshd_)),
        dk_(head_rows(c.outputs[1], bshd_)),
        dv_(head_rows(c.outputs[2], bshd_)),
        lse_(c.inputs[5].hbm),
        heads_of_key_(a_.heads / a_.kv_heads),
        groups_(static_cast<int>((a_.queries + tiles_together_ * block_rows - 1) /
                                 (tiles_together_ * block_rows) * heads_of_key_)),
        q_rows_(nc_.sbuf_pool("q", groups_ + 1)),
        dout_rows_(nc_.sbuf_pool("dout", groups_ + 1)),
        q_turned_(nc_.sbuf_pool("q.turned", groups_ + 1)),
        dout_turned_(nc_.sbuf_pool("dout.turned", groups_ + 1)),
        dq_sums_(nc_.sbuf_pool("dq", groups_ + 1)),
        stats_(nc_.sbuf_pool("stats", 3 * (groups_ + 1))),
        lse_rows_(nc_.sbuf_pool("lse", 2)),
        out_rows_(nc_.sbuf_pool("out", 2)),
        products_(nc_.sbuf_pool("dout*out", 1)),
        keys_(nc_.sbuf_pool("keys", 12)),
        rounded_(nc_.sbuf_pool("sums", 2)),
        weights_(nc_.sbuf_pool("p", 3)),
        differences_(nc_.sbuf_pool("dp-delta", 2)),
        ds_(nc_.sbuf_pool("ds", 3)),
        ds_turned_(nc_.sbuf_pool("ds.turned", 3)),
        results_(nc_.sbuf_pool("results", 4)),
        edges_(nc_, a_, runs_),
        scores_psum_(nc_.psum_pool("scores", 3)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        dq_psum_(nc_.psum_pool("dq", 1)),
        sums_psum_(nc_.psum_pool("sums", 2)) {
    if (a_.mask != nullptr) masks_.emplace(nc_, a_);
  }

  void run() {
    for (int64_t kv = 0; kv < a_.batch * a_.kv_heads; ++kv) run_keys(kv);
  }

 private:
  // Query tiles that are loaded together.
  struct Group {
    int64_t head;
    Piece rows;
    bool loaded = false;
    Tile q, dout;                       // [128, tiles * depth]
    Tile q_turned, dout_turned;         // [depth, rows]
    Tile negative_lse, negative_delta;  // [128, tiles]
    Tile dq;                            // [128, tiles, depth], float32
    std::vector<bool> touched;          // per tile
  };
  struct Chunk {
    Piece keys;
    Tile k, k_turned, v_turned;     // [128, blocks * depth]; [depth, keys]
    Tile dv, dk;                    // turned, in PSUM
    int64_t queries = 0, done = 0;  // tiles that see a key
  };
  struct Step {
    Chunk* chunk;
    Group* group;
    int tile;     // of the group
    Piece query;  // its rows
    int visible;  // keys of the chunk
    Tile scores, dp, weights, ds, ds_turned;
  };

  void run_keys(int64_t kv) {
    const int64_t first = kv / a_.kv_heads * a_.heads + kv % a_.kv_heads * heads_of_key_;
    std::vector<Group> groups;
    for (int64_t h = 0; h < heads_of_key_; ++h)
      for (const Piece& rows : pieces(a_.queries, tiles_together_ * block_rows)) {
        Group& g = groups.emplace_back();
        g.head = first + h, g.rows = rows;
        g.touched.assign(static_cast<size_t>(blocks_of(rows.count)), false);
      }
    std::vector<Chunk> chunks;
    for (const Piece& keys : pieces(a_.keys, chunk_keys)) chunks.emplace_back().keys = keys;
    std::vector<Step> steps;
    for (Chunk& chunk : chunks) {
      for (Group& g : groups)
        for (const Piece& tile : pieces(g.rows.count, block_rows)) {
          const Piece query{g.rows.begin + tile.begin, tile.count};
          const int64_t visible = std::min(edges_.visible_keys(query) - chunk.keys.begin, chunk.keys.count);
          if (visible <= 0) continue;
          ++chunk.queries;
          steps.push_back({&chunk,
                           &g,
                           static_cast<int>(tile.begin / block_rows),
                           query,
                           static_cast<int>(visible),
                           {},
                           {},
                           {},
                           {},
                           {}});
        }
      if (chunk.queries == 0) store_nothing(kv, chunk);
    }
    const size_t n = steps.size();
    for (size_t i = 0; i < n + 2; ++i) {
      if (i < n) score(kv, steps[i]);
      if (i >= 1 && i - 1 < n) {
        add_keys(steps[i - 1]);
        Chunk& chunk = *steps[i - 1].chunk;
        if (++chunk.done == chunk.queries) store_keys(kv, chunk);
      }
      if (i >= 2) add_queries(steps[i - 2]);
      if (i < n) differentiate(steps[i]);
    }
    for (Group& g : groups) store_queries(g);
  }

  // ---- what is loaded

  void load(Group& g) {
    if (g.loaded) return;
    g.loaded = true;
    const int64_t n = g.rows.count, tiles = blocks_of(n);
    const int p = static_cast<int>(std::min(block_rows, n));
    const auto rows = [&](TilePool& pool, const HeadRows& x) {
      const Tile tile = pool.tile(p, {static_cast<int>(tiles * x.depth)}, x.dtype);
      load_blocks(nc_, tile, x, x.at(g.head / a_.heads, g.head % a_.heads, g.rows.begin), n, runs_.query);
      return tile;
    };
    const auto turned = [&](TilePool& pool, const Tile& tile, int64_t depth) {
      const Tile out = pool.tile(static_cast<int>(depth), {static_cast<int>(n)}, dtype_);
      nc_.tensor_copy(out, turn_blocks(nc_, turned_psum_, tile, n, depth), Engine::act);
      return out;
    };
    g.q = rows(q_rows_, a_.q);
    g.q_turned = turned(q_turned_, g.q, a_.depth);
    g.dout = rows(dout_rows_, dout_);
    g.dout_turned = turned(dout_turned_, g.dout, a_.value_depth);
    g.dq = dq_sums_.tile(p, {static_cast<int>(tiles), static_cast<int>(a_.depth)}, DType::float32);
    load_lse(g, p, static_cast<int>(tiles));
    const Tile out = rows(out_rows_, out_);
    g.negative_delta = stats_.tile(p, {static_cast<int>(tiles)}, DType::float32);
    const int depth = static_cast<int>(a_.value_depth);
    // A last tile of fewer rows by itself: below it nothing was loaded.
    const int whole = static_cast<int>(n / block_rows), rest = static_cast<int>(n % block_rows);
    const auto take_delta = [&](int first, int count, int partitions) {
      const auto part = [&](const Tile& t) {
        return t.rows(0, partitions).cols(first * depth, count * depth).reshape({count, depth});
      };
      const Tile product = products_.tile(partitions, {count, depth}, DType::float32),
                 delta = g.negative_delta.rows(0, partitions).cols(first, count);
      nc_.tensor_tensor(product, part(g.dout), AluOp::multiply, part(out));
      nc_.tensor_reduce(delta, AluOp::add, product, 1);
      nc_.tensor_scalar(delta, delta, {AluOp::multiply, -1.0});
    };
    if (whole > 0) take_delta(0, whole, static_cast<int>(block_rows));
    if (rest > 0) take_delta(whole, 1, rest);
  }

  // Rows of lse are dense in HBM: they come as rows, and the vector engine turns them, which infinities
  // survive.
  void load_lse(Group& g, int p, int tiles) {
    g.negative_lse = stats_.tile(p, {tiles}, DType::float32);
    const int64_t first = g.head * a_.queries + g.rows.begin;
    const int whole = static_cast<int>(g.rows.count / block_rows),
              rest = static_cast<int>(g.rows.count % block_rows);
    const int run = static_cast<int>(runs_.query), groups = whole / run;
    const auto negate = [&](const Tile& t) {
      nc_.tensor_scalar(t, t, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
    };
    if (whole > 0) {
      const Tile rows = lse_rows_.tile(groups, {static_cast<int>(block_rows), run}, DType::float32);
      nc_.dma_load(rows, lse_.box(first, {groups, block_rows * run}, {block_rows * run, 1})
                             .reshape({groups, block_rows, run}));
      for (int r = 0; r < run; ++r)
        for (int at = 0; at < block_rows; at += square)
          nc_.nc_transpose(g.negative_lse.rows(at, square).slice(0, r, groups, run),
                           rows.at(1, r).cols(at, square), Engine::dve);
      negate(g.negative_lse.cols(0, whole));
    }
    if (rest > 0) {
      const Tile column = g.negative_lse.rows(0, rest).cols(whole, 1);
      nc_.dma_load(column, lse_.box(first + whole * block_rows, {rest, 1}, {1, 1}));
      negate(column);
    }
  }

  void load(int64_t kv, Chunk& chunk) {
    const int64_t n = chunk.keys.count, b = kv / a_.kv_heads, h = kv % a_.kv_heads;
    const int p = static_cast<int>(std::min(block_rows, n)), count = static_cast<int>(n);
    const auto rows = [&](const HeadRows& x) {
      const Tile tile = keys_.tile(p, {static_cast<int>(blocks_of(n) * x.depth)}, x.dtype);
      load_blocks(nc_, tile, x, x.at(b, h, chunk.keys.begin), n, runs_.key);
      return tile;
    };
    chunk.k = rows(a_.k);
    const Tile v = rows(a_.v);
    chunk.k_turned = keys_.tile(static_cast<int>(a_.depth), {count}, dtype_);
    nc_.tensor_copy(chunk.k_turned, turn_blocks(nc_, turned_psum_, chunk.k, n, a_.depth), Engine::act);
    chunk.v_turned = keys_.tile(static_cast<int>(a_.value_depth), {count}, dtype_);
    nc_.tensor_copy(chunk.v_turned, turn_blocks(nc_, turned_psum_, v, n, a_.value_depth));
  }

  // ---- the stages

  Tile column(const Tile& statistics, const Step& s) const {
    return statistics.rows(0, static_cast<int>(s.query.count)).cols(s.tile, 1);
  }
  // [rows, depth] of the step's tile in a group's [128, tiles * depth].
  Tile tile_of(const Tile& group, const Step& s, int64_t depth) const {
    return group.rows(0, static_cast<int>(s.query.count))
        .cols(s.tile * static_cast<int>(depth), static_cast<int>(depth));
  }
  Tile turned_of(const Tile& group, const Step& s) const {
    return group.cols(s.tile * static_cast<int>(block_rows), static_cast<int>(s.query.count));
  }

  void score(int64_t kv, Step& s) {
    Chunk& chunk = *s.chunk;
    if (chunk.k.partitions() == 0) load(kv, chunk);
    load(*s.group);
    const int p = static_cast<int>(s.query.count), n = s.visible;
    const Tile q = turned_of(s.group->q_turned, s);
    s.scores = scores_psum_.tile(p, {n}, DType::float32);
    for (int64_t at = 0, count = 0; at < n; at += count) {
      const auto edge = [&](int64_t from, int64_t length) {
        return edges_.edge_of(s.query, {chunk.keys.begin + from, length});
      };
      count = std::min<int64_t>(block_rows, n - at);
      const std::optional<int64_t> hidden = edge(at, count);
      while (!hidden && at + count < n) {
        const int64_t more = std::min(block_rows, n - at - count);
        if (edge(at + count, more)) break;
        count += more;
      }
      const Tile part = s.scores.cols(static_cast<int>(at), static_cast<int>(count));
      nc_.nc_matmul(part, q, chunk.k_turned.cols(static_cast<int>(at), static_cast<int>(count)),
                    {true, !hidden});
      if (hidden) edges_.hide(part, *hidden);
    }
    s.dp = scores_psum_.tile(p, {n}, DType::float32);
    nc_.nc_matmul(s.dp, turned_of(s.group->dout_turned, s), chunk.v_turned.cols(0, n));
  }

  void differentiate(Step& s) {
    const int p = static_cast<int>(s.query.count), n = s.visible, all = static_cast<int>(s.chunk->keys.count);
    s.weights = weights_.tile(p, {all}, dtype_);
    s.ds = ds_.tile(p, {all}, dtype_);
    if (n < all) {  // keys that these queries do not see
      nc_.memset(s.weights.cols(n, all - n), 0.0f);
      nc_.memset(s.ds.cols(n, all - n), 0.0f);
    }
    const Tile weights = s.weights.cols(0, n), negative_lse = column(s.group->negative_lse, s);
    std::optional<Tile> mask;
    if (masks_) mask = masks_->tile(s.group->head, s.query, {s.chunk->keys.begin, n});
    const Tile difference = differences_.tile(p, {n}, DType::float32);
    if (mask) {
      nc_.scalar_tensor_tensor(difference, s.scores, {AluOp::multiply, a_.scale}, AluOp::add, *mask);
      nc_.activation(weights, Function::exp, difference, 1.0, negative_lse);
    } else {
      nc_.activation(weights, Function::exp, s.scores, static_cast<double>(a_.scale), negative_lse);
    }
    nc_.activation(difference, Function::copy, s.dp, 1.0, column(s.group->negative_delta, s));
    nc_.tensor_tensor(s.ds.cols(0, n), difference, AluOp::multiply, weights);
  }

  void add_keys(Step& s) {
    Chunk& chunk = *s.chunk;
    const int p = static_cast<int>(s.query.count), all = static_cast<int>(chunk.keys.count);
    // [keys, queries of block after block]
    const int blocks = static_cast<int>(blocks_of(s.visible)),
              rows = static_cast<int>(std::min<int64_t>(block_rows, s.visible));
    const Tile turned = turned_psum_.tile(rows, {blocks * p}, dtype_);
    for (int b = 0; b < blocks; ++b) {
      const int at = b * static_cast<int>(block_rows),
                n = std::min(static_cast<int>(block_rows), s.visible - at);
      nc_.nc_transpose(turned.rows(0, n).cols(b * p, p), s.ds.cols(at, n));
    }
    s.ds_turned = ds_turned_.tile(rows, {blocks * p}, dtype_);
    nc_.tensor_copy(s.ds_turned, turned, Engine::act);
    if (chunk.done == 0) {
      chunk.dv = sums_psum_.tile(static_cast<int>(a_.value_depth), {all}, DType::float32);
      chunk.dk = sums_psum_.tile(static_cast<int>(a_.depth), {all}, DType::float32);
    }
    const Accumulate group = accumulate(chunk.done, chunk.queries);
    nc_.nc_matmul(chunk.dv, tile_of(s.group->dout, s, a_.value_depth), s.weights, group);
    nc_.nc_matmul(chunk.dk, tile_of(s.group->q, s, a_.depth), s.ds, group);
  }

  void add_queries(Step& s) {
    const int p = static_cast<int>(s.query.count), depth = static_cast<int>(a_.depth);
    const Tile part = dq_psum_.tile(p, {depth}, DType::float32);
    const int64_t blocks = blocks_of(s.visible);
    for (int64_t b = 0; b < blocks; ++b) {
      const int n = static_cast<int>(std::min(block_rows, s.visible - b * block_rows)),
                at = static_cast<int>(b);
      nc_.nc_matmul(part, s.ds_turned.rows(0, n).cols(at * p, p),
                    s.chunk->k.rows(0, n).cols(at * depth, depth), accumulate(b, blocks));
    }
    const Tile sum = s.group->dq.rows(0, p).at(0, s.tile);
    if (s.group->touched[static_cast<size_t>(s.tile)])
      nc_.tensor_tensor(sum, sum, AluOp::add, part);
    else
      nc_.tensor_copy(sum, part);
    s.group->touched[static_cast<size_t>(s.tile)] = true;
    s.scores = s.dp = s.weights = s.ds = s.ds_turned = {};
  }

  // ---- what is stored

  // Blocks [128, blocks, depth] as load_blocks() reads them.
  void store_blocks(const HeadRows& x, int64_t start, const Tile& tile, int64_t count, int64_t run) {
    const int64_t groups = count / (block_rows * run), rest = count % (block_rows * run);
    const int whole = static_cast<int>(groups * run), depth = static_cast<int>(x.depth);
    if (whole > 0)
      nc_.dma_store(
          x.hbm.box(start, {block_rows, groups, run, depth},
                    {run * x.row_step, block_rows * run * x.row_step, x.row_step, 1}),
          tile.slice(0, 0, whole).reshape({static_cast<int>(groups), static_cast<int>(run), depth}));
    if (rest > 0)
      nc_.dma_store(x.hbm.box(start + whole * block_rows * x.row_step, {rest, depth}, {x.row_step, 1}),
                    tile.rows(0, static_cast<int>(rest)).at(0, whole));
  }

  void store_keys(int64_t kv, Chunk& chunk) {
    const auto store = [&](const HeadRows& x, const Tile& sum, double scale) {
      const int64_t n = chunk.keys.count;
      const int depth = static_cast<int>(x.depth), blocks = static_cast<int>(blocks_of(n)),
                p = static_cast<int>(std::min(block_rows, n));
      const Tile rounded = rounded_.tile(depth, {static_cast<int>(n)}, x.dtype);
      nc_.activation(rounded, Function::copy, sum, scale);
      const Tile turned = turned_psum_.tile(p, {blocks, depth}, x.dtype),
                 out = results_.tile(p, {blocks, depth}, x.dtype);
      for (const Piece& block : pieces(n, block_rows)) {
        const int b = static_cast<int>(block.begin / block_rows), rows = static_cast<int>(block.count);
        nc_.nc_transpose(turned.rows(0, rows).at(0, b), rounded.cols(static_cast<int>(block.begin), rows));
      }
      nc_.tensor_copy(out, turned);
      store_blocks(x, x.at(kv / a_.kv_heads, kv % a_.kv_heads, chunk.keys.begin), out, n, runs_.key);
    };
    store(dv_, chunk.dv, 1.0);
    store(dk_, chunk.dk, static_cast<double>(a_.scale));
  }

  void store_nothing(int64_t kv, const Chunk& chunk) {
    for (const HeadRows* x : {&dk_, &dv_}) {
      const int blocks = static_cast<int>(blocks_of(chunk.keys.count));
      const Tile zero = results_.tile(static_cast<int>(std::min(block_rows, chunk.keys.count)),
                                      {blocks, static_cast<int>(x->depth)}, x->dtype);
      nc_.memset(zero, 0.0f);
      store_blocks(*x, x->at(kv / a_.kv_heads, kv % a_.kv_heads, chunk.keys.begin), zero, chunk.keys.count,
                   runs_.key);
    }
  }

  void store_queries(const Group& g) {
    const int64_t n = g.rows.count;
    const int depth = static_cast<int>(a_.depth), tiles = static_cast<int>(blocks_of(n));
    const Tile out = results_.tile(static_cast<int>(std::min(block_rows, n)), {tiles, depth}, dq_.dtype);
    for (const Piece& tile : pieces(n, block_rows)) {
      const int t = static_cast<int>(tile.begin / block_rows), p = static_cast<int>(tile.count);
      const Tile to = out.rows(0, p).at(0, t);
      if (g.touched[static_cast<size_t>(t)])
        nc_.activation(to, Function::copy, g.dq.rows(0, p).at(0, t), static_cast<double>(a_.scale));
      else
        nc_.memset(to, 0.0f);
    }
    store_blocks(dq_, dq_.at(g.head / a_.heads, g.head % a_.heads, g.rows.begin), out, n, runs_.query);
  }

  NeuronCore& nc_;
  const AttentionShape a_;
  const DType dtype_;
  const int64_t tiles_together_;
  const Runs runs_;
  const bool bshd_;
  const HeadRows out_, dout_, dq_, dk_, dv_;
  const Hbm lse_;
  const int64_t heads_of_key_;
  const int groups_;
  TilePool q_rows_, dout_rows_, q_turned_, dout_turned_, dq_sums_, stats_, lse_rows_, out_rows_, products_,
      keys_, rounded_, weights_, differences_, ds_, ds_turned_, results_;
  Edges edges_;
  TilePool scores_psum_, turned_psum_, dq_psum_, sums_psum_;
  std::optional<Masks> masks_;
};

}  // namespace

void emit_attention_grad(const NodeContext& c) { Backward(c).run(); }

}  // namespace heddle::systolic
