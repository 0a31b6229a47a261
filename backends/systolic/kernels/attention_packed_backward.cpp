// The gradient of attention for short heads, a panel of sequences at a time (attention_panels.h). Names and
// formulas as in attention_backward.cpp.
#include "systolic/kernels/attention_panels.h"

namespace heddle::systolic {
namespace {

class PackedBackward {
 public:
  PackedBackward(const NodeContext& c, const AttentionShape& a)
      : nc_(c.nc),
        a_(a),
        bshd_(c.attributes.get<std::string>("layout") == "bshd"),
        out_(head_rows(c.inputs[4], bshd_)),
        dout_(head_rows(c.inputs[6], bshd_)),
        dq_(head_rows(c.outputs[0], bshd_)),
        dk_(head_rows(c.outputs[1], bshd_)),
        dv_(head_rows(c.outputs[2], bshd_)),
        lse_(c.inputs[5].hbm),
        panels_(nc_, a_, bshd_),
        loaded_(nc_.sbuf_pool("panel", 10)),
        results_(nc_.sbuf_pool("gradients", 6)),
        turned_(nc_.sbuf_pool("turned", 8)),
        work_(nc_.sbuf_pool("work", 2)),
        weights_(nc_.sbuf_pool("p", 2)),
        ds_(nc_.sbuf_pool("ds", 2)),
        small_(nc_.sbuf_pool("stats", 6)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        scores_psum_(nc_.psum_pool("scores", 2)),
        dp_psum_(nc_.psum_pool("dp", 2)),
        results_psum_(nc_.psum_pool("gradients", 2)) {}

  void run() {
    for (const Panel& p : panels_.list()) differentiate(p);
  }

 private:
  // What the slabs of a panel read and write.
  struct Loaded {
    Tile q, k, v, dout, delta, negative_lse;
    Tile dq, dk, dv;
  };

  void differentiate(const Panel& p) {
    const int n = panels_.queries(p), t = panels_.keys(p), heads = panels_.heads(),
              depth = static_cast<int>(a_.depth), value_depth = static_cast<int>(a_.value_depth);
    Loaded x;
    x.q = panels_.load(loaded_, a_.q, p), x.k = panels_.load(loaded_, a_.k, p),
    x.v = panels_.load(loaded_, a_.v, p);
    x.dout = panels_.load(loaded_, dout_, p);
    const Tile out = panels_.load(loaded_, out_, p), lse = panels_.load_statistics(lse_, p);
    x.negative_lse = small_.tile(n, {heads}, DType::float32);
    nc_.tensor_scalar(x.negative_lse, lse, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
    const Tile product = work_.tile(n, {heads, value_depth}, DType::float32);
    nc_.tensor_tensor(product, x.dout.reshape({heads, value_depth}), AluOp::multiply,
                      out.reshape({heads, value_depth}));
    x.delta = small_.tile(n, {heads}, DType::float32);
    nc_.tensor_reduce(x.delta, AluOp::add, product, 1);
    x.dq = results_.tile(n, {heads * depth}, dq_.dtype);
    x.dk = results_.tile(t, {heads * depth}, dk_.dtype);
    x.dv = results_.tile(t, {heads * value_depth}, dv_.dtype);
    for (const Piece& slab : panels_.slabs())
      differentiate_heads(p, x, static_cast<int>(slab.begin), static_cast<int>(slab.count));
    panels_.store(dq_, p, x.dq);
    panels_.store(dk_, p, x.dk);
    panels_.store(dv_, p, x.dv);
  }

  // [rows, heads * depth] of a and b -> a[columns, heads, rows] with one head each, and b[columns, rows]
  // whole.
  void turn(const Tile& a_out, const Tile& b_out, const Tile& a, const Tile& b, int heads, int depth) {
    const int n = a.partitions(), t = b.partitions(), columns = heads * depth;
    const Tile both = turned_psum_.tile(columns, {n + t}, a.dtype());
    nc_.nc_transpose(both.cols(0, n), a);
    nc_.nc_transpose(both.cols(n, t), b);
    panels_.separate(a_out, both.cols(0, n), heads, depth);
    nc_.tensor_copy(b_out, both.cols(n, t), Engine::act);
  }

  void differentiate_heads(const Panel& p, const Loaded& x, int first, int heads) {
    const int n = panels_.queries(p), t = panels_.keys(p), depth = static_cast<int>(a_.depth),
              value_depth = static_cast<int>(a_.value_depth);
    const DType dtype = a_.q.dtype;
    const auto of = [&](const Tile& panel, int columns) {
      return panel.cols(first * columns, heads * columns);
    };
    const Tile q_turned = turned_.tile(heads * depth, {heads, n}, dtype),
               k_turned = turned_.tile(heads * depth, {t}, dtype);
    turn(q_turned, k_turned, of(x.q, depth), of(x.k, depth), heads, depth);
    const Tile dout_turned = turned_.tile(heads * value_depth, {heads, n}, dtype),
               v_turned = turned_.tile(heads * value_depth, {t}, dtype);
    turn(dout_turned, v_turned, of(x.dout, value_depth), of(x.v, value_depth), heads, value_depth);

    const Tile scores = scores_psum_.tile(n, {heads, t}, DType::float32),
               dp = dp_psum_.tile(n, {heads, t}, DType::float32);
    for (int h = 0; h < heads; ++h) nc_.nc_matmul(scores.at(0, h), q_turned.at(0, h), k_turned);
    for (int h = 0; h < heads; ++h) nc_.nc_matmul(dp.at(0, h), dout_turned.at(0, h), v_turned);
    const Tile s = work_.tile(n, {heads, t}, DType::float32);
    nc_.scalar_tensor_tensor(s, scores, {AluOp::multiply, a_.scale}, AluOp::add,
                             panels_.mask(p).repeat(0, heads));
    const Tile weights = weights_.tile(n, {heads, t}, dtype), ds = ds_.tile(n, {heads, t}, dtype);
    for (int h = 0; h < heads; ++h) {
      nc_.activation(weights.at(0, h), Function::exp, s.at(0, h), 1.0, x.negative_lse.cols(first + h, 1));
      nc_.scalar_tensor_tensor(ds.at(0, h), dp.at(0, h), {AluOp::subtract, x.delta.cols(first + h, 1)},
                               AluOp::multiply, weights.at(0, h));
    }
    const Tile turned = turned_psum_.tile(t, {heads, n}, dtype),
               ds_turned = turned_.tile(t, {heads, n}, dtype);
    for (int h = 0; h < heads; ++h) nc_.nc_transpose(turned.at(0, h), ds.at(0, h));
    nc_.tensor_copy(ds_turned, turned, Engine::act);

    // The three gradients share a bank: of queries, keys, values.
    const int widest = std::max(depth, value_depth);
    const Tile sums = results_psum_.tile(std::max(n, t), {3, heads, widest}, DType::float32);
    const auto place = [&](int which, int rows, int columns) {
      return sums.rows(0, rows).at(0, which).cols(0, columns);
    };
    const Tile dq = place(0, n, depth), dk = place(1, t, depth), dv = place(2, t, value_depth);
    for (int h = 0; h < heads; ++h) {
      const int head = first + h;
      nc_.nc_matmul(dv.at(0, h), weights.at(0, h), x.dout.cols(head * value_depth, value_depth));
      nc_.nc_matmul(dk.at(0, h), ds.at(0, h), x.q.cols(head * depth, depth));
      nc_.nc_matmul(dq.at(0, h), ds_turned.at(0, h), x.k.cols(head * depth, depth));
    }
    const auto scaled = [&](const Tile& panel, const Tile& sum, float scale, int columns) {
      nc_.activation(of(panel, columns).reshape({heads, columns}), Function::copy, sum,
                     static_cast<double>(scale));
    };
    scaled(x.dv, dv, 1.0f, value_depth);
    scaled(x.dk, dk, a_.scale, depth);
    scaled(x.dq, dq, a_.scale, depth);
  }

  NeuronCore& nc_;
  const AttentionShape& a_;
  const bool bshd_;
  const HeadRows out_, dout_, dq_, dk_, dv_;
  const Hbm lse_;
  Panels panels_;
  TilePool loaded_, results_, turned_, work_, weights_, ds_, small_;
  TilePool turned_psum_, scores_psum_, dp_psum_, results_psum_;
};

}  // namespace

void emit_attention_packed_grad(const NodeContext& c, const AttentionShape& a) { PackedBackward(c, a).run(); }

}  // namespace heddle::systolic
