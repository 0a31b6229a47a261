// Forward attention of short heads, a panel of sequences at a time (attention_panels.h).
#include <algorithm>
#include <cmath>

#include "systolic/kernels/attention_panels.h"

namespace heddle::systolic {
namespace {

constexpr double smallest_sum = 0x1p-60;  // rows that see no key divide by this
constexpr int64_t statistics_columns = 512;

class Packed {
 public:
  Packed(const NodeContext& c, const AttentionShape& a)
      : nc_(c.nc),
        a_(a),
        bshd_(c.attributes.get<std::string>("layout") == "bshd"),
        out_(head_rows(c.outputs[0], bshd_)),
        lse_(c.outputs[1].hbm),
        panels_(nc_, a_, bshd_),
        q_(nc_.sbuf_pool("q", 2)),
        k_(nc_.sbuf_pool("k", 2)),
        v_(nc_.sbuf_pool("v", 2)),
        results_(nc_.sbuf_pool("out", 2)),
        turned_(nc_.sbuf_pool("turned", 4)),
        scores_(nc_.sbuf_pool("scores", 2)),
        weights_(nc_.sbuf_pool("weights", 2)),
        small_(nc_.sbuf_pool("stats", 16)),
        kept_(nc_.sbuf_pool("statistics", 4)),
        turned_psum_(nc_.psum_pool("turned", 3)),
        scores_psum_(nc_.psum_pool("scores", 2)),
        out_psum_(nc_.psum_pool("out", 2)) {}

  void run() {
    const std::vector<Panel> all = panels_.list();
    // Logarithms come together: the scalar engine changes its table for them.
    for (const Piece& group : pieces(static_cast<int64_t>(all.size()),
                                     std::max<int64_t>(1, statistics_columns / panels_.heads()))) {
      const int rows = panels_.queries(all[static_cast<size_t>(group.begin)]), heads = panels_.heads();
      const Tile sums = kept_.tile(rows, {static_cast<int>(group.count), heads}, DType::float32),
                 negative_maxima = kept_.tile(rows, {static_cast<int>(group.count), heads}, DType::float32);
      const auto each = [&](const auto& body) {
        for (int64_t i = 0; i < group.count; ++i) {
          const Panel& p = all[static_cast<size_t>(group.begin + i)];
          const int n = panels_.queries(p), at = static_cast<int>(i);
          body(p, sums.rows(0, n).at(0, at), negative_maxima.rows(0, n).at(0, at));
        }
      };
      each([&](const Panel& p, const Tile& sum, const Tile& negative_max) { attend(p, sum, negative_max); });
      each([&](const Panel& p, const Tile& sum, const Tile& negative_max) {
        store_lse(p, sum, negative_max);
      });
    }
    panels_.finish_statistics(lse_);
  }

 private:
  void attend(const Panel& p, const Tile& sums, const Tile& negative_maxima) {
    const Tile q = panels_.load(q_, a_.q, p), k = panels_.load(k_, a_.k, p), v = panels_.load(v_, a_.v, p);
    const int value_depth = static_cast<int>(a_.value_depth);
    const Tile out = results_.tile(panels_.queries(p), {panels_.heads() * value_depth}, out_.dtype);
    for (const Piece& slab : panels_.slabs()) {
      const int first = static_cast<int>(slab.begin), heads = static_cast<int>(slab.count);
      attend_heads(p, q, k, v, first, heads, sums.cols(first, heads), negative_maxima.cols(first, heads),
                   out.cols(first * value_depth, heads * value_depth));
    }
    panels_.store(out_, p, out);
  }

  void attend_heads(const Panel& p, const Tile& q, const Tile& k, const Tile& v, int first, int heads,
                    const Tile& sums, const Tile& negative_maxima, const Tile& out) {
    const int n = panels_.queries(p), t = panels_.keys(p), depth = static_cast<int>(a_.depth),
              value_depth = static_cast<int>(a_.value_depth), columns = heads * depth;
    const DType dtype = a_.q.dtype;
    const Tile both = turned_psum_.tile(columns, {n + t}, dtype), q_psum = both.cols(0, n),
               k_psum = both.cols(n, t);
    nc_.nc_transpose(q_psum, q.cols(first * depth, columns));
    nc_.nc_transpose(k_psum, k.cols(first * depth, columns));
    const Tile q_turned = turned_.tile(columns, {heads, n}, dtype),
               k_turned = turned_.tile(columns, {t}, dtype);
    panels_.separate(q_turned, q_psum, heads, depth);
    nc_.tensor_copy(k_turned, k_psum, Engine::act);

    const Tile product = scores_psum_.tile(n, {heads, t}, DType::float32),
               s = scores_.tile(n, {heads, t}, DType::float32);
    for (int h = 0; h < heads; ++h) nc_.nc_matmul(product.at(0, h), q_turned.at(0, h), k_turned);
    nc_.scalar_tensor_tensor(s, product, {AluOp::multiply, a_.scale}, AluOp::add,
                             panels_.mask(p).repeat(0, heads));
    const Tile max = small_.tile(n, {heads}, DType::float32);
    nc_.tensor_reduce(max, AluOp::maximum, s, 1);
    nc_.tensor_scalar(negative_maxima, max, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
    const Tile weights = weights_.tile(n, {heads, t}, dtype);
    for (int h = 0; h < heads; ++h)
      nc_.activation_reduce(weights.at(0, h), sums.cols(h, 1), Function::exp, s.at(0, h), 1.0,
                            negative_maxima.cols(h, 1));

    const Tile turned = turned_psum_.tile(t, {heads, n}, dtype), copy = turned_.tile(t, {heads, n}, dtype);
    for (int h = 0; h < heads; ++h) nc_.nc_transpose(turned.at(0, h), weights.at(0, h));
    nc_.tensor_copy(copy, turned, Engine::act);
    const Tile numerator = out_psum_.tile(n, {heads, value_depth}, DType::float32);
    for (int h = 0; h < heads; ++h)
      nc_.nc_matmul(numerator.at(0, h), copy.at(0, h), v.cols((first + h) * value_depth, value_depth));
    const Tile inverse = small_.tile(n, {heads}, DType::float32);
    nc_.tensor_scalar(inverse, sums, {AluOp::maximum, smallest_sum}, reversed(AluOp::divide, 1.0));
    nc_.tensor_tensor(out.reshape({heads, value_depth}), numerator, AluOp::multiply,
                      inverse.repeat(1, value_depth));
  }

  void store_lse(const Panel& p, const Tile& sums, const Tile& negative_maxima) {
    const int n = panels_.queries(p), heads = panels_.heads();
    const auto tile = [&] { return small_.tile(n, {heads}, DType::float32); };
    const Tile safe = tile(), log_sum = tile(), seen = tile(), lse = tile();
    nc_.tensor_scalar(safe, sums, {AluOp::maximum, smallest_sum});
    nc_.activation(log_sum, Function::log, safe);
    nc_.tensor_tensor(log_sum, log_sum, AluOp::subtract, negative_maxima);
    nc_.tensor_scalar(seen, sums, {AluOp::greater, 0.0});
    nc_.select(lse, seen, log_sum, -INFINITY);
    panels_.store_statistics(p, lse);
  }

  NeuronCore& nc_;
  const AttentionShape& a_;
  const bool bshd_;
  const HeadRows out_;
  const Hbm lse_;
  Panels panels_;
  TilePool q_, k_, v_, results_, turned_, scores_, weights_, small_, kept_;
  TilePool turned_psum_, scores_psum_, out_psum_;
};

}  // namespace

void emit_attention_packed(const NodeContext& c, const AttentionShape& a) { Packed(c, a).run(); }

}  // namespace heddle::systolic
