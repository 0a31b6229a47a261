// The gradient of attention. Keys outside, queries inside: dk and dv of a key tile add up in PSUM over all
// query tiles, dq of every query tile adds up in SBUF over the key tiles.
//
//   p = exp(scale q k' + mask - lse)   dp = dout v'   ds = p (dp - delta), delta = rowsum(dout out)
//   dv = p' dout      dk = scale ds' q      dq = scale ds k
#include "systolic/kernels/attention_backward.h"

#include <cmath>

#include "systolic/kernels/attention_tiles.h"

namespace heddle::systolic {
namespace {

constexpr int64_t tile_rows = 128;

class Backward {
 public:
  explicit Backward(const NodeContext& c)
      : nc_(c.nc),
        a_(attention_shape(c)),
        bshd_(c.attributes.get<std::string>("layout") == "bshd"),
        out_(head_rows(c.inputs[4], bshd_)),
        dout_(head_rows(c.inputs[6], bshd_)),
        dq_(head_rows(c.outputs[0], bshd_)),
        dk_(head_rows(c.outputs[1], bshd_)),
        dv_(head_rows(c.outputs[2], bshd_)),
        lse_(c.inputs[5].hbm.reshape({a_.batch * a_.heads * a_.queries, 1})),
        group_(a_.heads / a_.kv_heads),
        query_tiles_(a_.pack > 1 ? 1 : static_cast<int>((a_.queries + tile_rows - 1) / tile_rows * group_)),
        q_rows_(nc_.sbuf_pool("q", query_tiles_ + 1)),
        dout_rows_(nc_.sbuf_pool("dout", query_tiles_ + 1)),
        out_rows_(nc_.sbuf_pool("out", 2)),
        dq_sums_(nc_.sbuf_pool("dq", query_tiles_ + 1)),
        stats_(nc_.sbuf_pool("stats", 4 * (query_tiles_ + 1))),
        k_rows_(nc_.sbuf_pool("k", 2)),
        v_rows_(nc_.sbuf_pool("v", 2)),
        work_(nc_.sbuf_pool("work", 4)),
        probability_(nc_.sbuf_pool("p", 2)),
        ds_(nc_.sbuf_pool("ds", 2)),
        results_(nc_.sbuf_pool("results", 4)),
        scores_(nc_.psum_pool("scores", 1)),
        dp_(nc_.psum_pool("dp", 1)),
        dv_sum_(nc_.psum_pool("dv", 1)),
        dk_sum_(nc_.psum_pool("dk", 1)),
        dq_part_(nc_.psum_pool("dq", 1)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        q_turner_(nc_, a_.q.dtype, turned_psum_, query_tiles_ + 1),
        dout_turner_(nc_, a_.q.dtype, turned_psum_, query_tiles_ + 1),
        key_turner_(nc_, a_.q.dtype, turned_psum_, 4),
        turner_(nc_, a_.q.dtype, turned_psum_, 2),
        masks_(nc_, a_) {}

  void run() {
    if (a_.pack > 1) {
      const int64_t total = a_.batch * a_.heads;
      for (int64_t first = 0; first < total; first += a_.pack)
        run_group({first, std::min(a_.pack, total - first)}, 1);
      return;
    }
    for (int64_t kv = 0; kv < a_.batch * a_.kv_heads; ++kv)
      run_group({kv / a_.kv_heads * a_.heads + kv % a_.kv_heads * group_, 1}, group_);
  }

 private:
  // One query tile of one head: everything that the key tiles need of it.
  struct Query {
    Heads heads;
    Piece rows;
    Tile q, q_turned, dout, dout_turned, delta, negative_lse, dq;
    bool touched = false;
  };

  // `group` heads from heads.first share their keys.
  void run_group(const Heads& heads, int64_t group) {
    std::vector<Query> queries;
    for (int64_t h = 0; h < group; ++h)
      for (const Piece& rows : pieces(a_.queries, a_.pack > 1 ? a_.queries : tile_rows))
        queries.push_back(load_query({heads.first + h, heads.count}, rows));
    for (const Piece& key : pieces(a_.keys, a_.pack > 1 ? a_.keys : tile_rows)) add_key(heads, key, queries);
    for (const Query& query : queries) {
      const Tile dq = results_.tile(query.q.partitions(), {static_cast<int>(a_.depth)}, dq_.dtype);
      if (query.touched)
        nc_.tensor_scalar(dq, query.dq, {AluOp::multiply, a_.scale});
      else
        nc_.memset(dq, 0.0f);
      store_heads(nc_, dq_, query.heads, a_.heads, query.rows, dq);
    }
  }

  Query load_query(const Heads& heads, const Piece& rows) {
    Query query{heads,
                rows,
                load_heads(nc_, q_rows_, a_.q, heads, a_.heads, 1, rows),
                {},
                load_heads(nc_, dout_rows_, dout_, heads, a_.heads, 1, rows),
                {},
                {},
                {},
                {}};
    const int p = query.q.partitions();
    query.q_turned = q_turner_.turn(query.q);
    query.dout_turned = dout_turner_.turn(query.dout);
    const Tile out = load_heads(nc_, out_rows_, out_, heads, a_.heads, 1, rows);
    const Tile product = work_.tile(p, {static_cast<int>(a_.value_depth)}, DType::float32),
               lse = stats_.tile(p, {1}, DType::float32);
    query.delta = stats_.tile(p, {1}, DType::float32);
    query.negative_lse = stats_.tile(p, {1}, DType::float32);
    nc_.tensor_tensor(product, query.dout, AluOp::multiply, out);
    nc_.tensor_reduce(query.delta, AluOp::add, product);
    nc_.dma_load(lse, lse_.rows(heads.first * a_.queries + rows.begin, p));
    nc_.tensor_scalar(query.negative_lse, lse, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
    query.dq = dq_sums_.tile(p, {static_cast<int>(a_.depth)}, DType::float32);
    return query;
  }

  void add_key(const Heads& heads, const Piece& key, std::vector<Query>& queries) {
    const Tile k = load_heads(nc_, k_rows_, a_.k, heads, a_.heads, group_, key),
               v = load_heads(nc_, v_rows_, a_.v, heads, a_.heads, group_, key);
    const Tile k_turned = key_turner_.turn(k), v_turned = key_turner_.turn(v);
    const int n = k.partitions();
    std::vector<Query*> seen;
    for (Query& query : queries)
      if (!masks_.hidden(query.rows, key)) seen.push_back(&query);
    const HeadRows *dk_to = &dk_, *dv_to = &dv_;
    const Heads kv_heads{
        a_.pack > 1 ? heads.first : heads.first / a_.heads * a_.kv_heads + heads.first % a_.heads / group_,
        heads.count};
    const Tile dk = results_.tile(n, {static_cast<int>(a_.depth)}, dk_.dtype),
               dv = results_.tile(n, {static_cast<int>(a_.value_depth)}, dv_.dtype);
    if (seen.empty()) {
      nc_.memset(dk, 0.0f);
      nc_.memset(dv, 0.0f);
    } else {
      const Tile dv_sum = dv_sum_.tile(n, {static_cast<int>(a_.value_depth)}, DType::float32);
      const Tile dk_sum = dk_sum_.tile(n, {static_cast<int>(a_.depth)}, DType::float32);
      for (size_t i = 0; i < seen.size(); ++i)
        add_pair(*seen[i], key, k, k_turned, v_turned, dv_sum, dk_sum,
                 accumulate(static_cast<int64_t>(i), static_cast<int64_t>(seen.size())));
      nc_.tensor_copy(dv, dv_sum);
      nc_.tensor_scalar(dk, dk_sum, {AluOp::multiply, a_.scale});
    }
    store_heads(nc_, *dk_to, kv_heads, a_.kv_heads, key, dk);
    store_heads(nc_, *dv_to, kv_heads, a_.kv_heads, key, dv);
  }

  void add_pair(Query& query, const Piece& key, const Tile& k, const Tile& k_turned, const Tile& v_turned,
                const Tile& dv_sum, const Tile& dk_sum, Accumulate group) {
    const int p = query.q.partitions(), n = k.partitions();
    const Tile scores = scores_.tile(p, {n}, DType::float32);
    nc_.nc_matmul(scores, query.q_turned, k_turned);
    const Tile probability = probability_.tile(p, {n}, a_.q.dtype);
    if (const std::optional<Tile> mask = masks_.tile(query.heads, query.rows, key)) {
      const Tile s = work_.tile(p, {n}, DType::float32);
      nc_.scalar_tensor_tensor(s, scores, {AluOp::multiply, a_.scale}, AluOp::add, *mask);
      nc_.activation(probability, Function::exp, s, 1.0, query.negative_lse);
    } else {
      nc_.activation(probability, Function::exp, scores, static_cast<double>(a_.scale), query.negative_lse);
    }
    nc_.nc_matmul(dv_sum, probability, query.dout, group);
    const Tile dp = dp_.tile(p, {n}, DType::float32);
    nc_.nc_matmul(dp, query.dout_turned, v_turned);
    const Tile ds = ds_.tile(p, {n}, a_.q.dtype);
    nc_.scalar_tensor_tensor(ds, dp, {AluOp::subtract, query.delta}, AluOp::multiply, probability);
    nc_.nc_matmul(dk_sum, ds, query.q, group);
    const Tile ds_turned = turner_.turn(ds);
    const Tile dq = dq_part_.tile(p, {static_cast<int>(a_.depth)}, DType::float32);
    nc_.nc_matmul(dq, ds_turned, k);
    if (query.touched)
      nc_.tensor_tensor(query.dq, query.dq, AluOp::add, dq);
    else
      nc_.tensor_copy(query.dq, dq);
    query.touched = true;
  }

  NeuronCore& nc_;
  const AttentionShape a_;
  const bool bshd_;
  const HeadRows out_, dout_, dq_, dk_, dv_;
  const Hbm lse_;
  const int64_t group_;
  const int query_tiles_;
  TilePool q_rows_, dout_rows_, out_rows_, dq_sums_, stats_, k_rows_, v_rows_, work_, probability_, ds_,
      results_, scores_, dp_, dv_sum_, dk_sum_, dq_part_;
  TilePool turned_psum_;
  Turner q_turner_, dout_turner_, key_turner_, turner_;
  Masks masks_;
};

}  // namespace

void emit_attention_grad(const NodeContext& c) { Backward(c).run(); }

}  // namespace heddle::systolic
