// Flash attention: scores of a query tile against a key tile in PSUM, online softmax on ACT and DVE,
// probabilities turned by the tensor engine and multiplied with the values. Short heads share a tile under a
// block-diagonal mask.
#include "systolic/kernels/attention_tiles.h"

#include <cmath>

#include "systolic/kernels/attention_backward.h"
#include "systolic/kernels/attention_pipeline.h"

namespace heddle::systolic {
namespace {

constexpr int64_t query_tile = 128, key_tile = 512;

class Forward {
 public:
  explicit Forward(const NodeContext& c)
      : nc_(c.nc),
        a_(attention_shape(c)),
        out_(head_rows(c.outputs[0], c.attributes.get<std::string>("layout") == "bshd")),
        lse_(c.outputs[1].hbm.reshape({a_.batch * a_.heads * a_.queries, 1})),
        rows_(nc_.sbuf_pool("rows", 2)),
        values_(nc_.sbuf_pool("values", 8)),
        keys_(nc_.sbuf_pool("keys.turned", 2)),
        scores_(nc_.sbuf_pool("scores", 2)),
        probabilities_(nc_.sbuf_pool("probabilities", 2)),
        sums_(nc_.sbuf_pool("accumulator", 3)),
        results_(nc_.sbuf_pool("out", 2)),
        small_(nc_.sbuf_pool("stats", 16)),
        running_(nc_.sbuf_pool("running", 6)),
        scores_psum_(nc_.psum_pool("scores", 2)),
        out_psum_(nc_.psum_pool("out", 2)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        query_turner_(nc_, a_.q.dtype, turned_psum_, 2),
        turner_(nc_, a_.q.dtype, turned_psum_, 5),
        masks_(nc_, a_) {}

  void run() {
    const int64_t total = a_.batch * a_.heads;
    for (int64_t first = 0; first < total; first += a_.pack) {
      const Heads heads{first, std::min(a_.pack, total - first)};
      for (const Piece& query : pieces(a_.queries, a_.pack > 1 ? a_.queries : query_tile))
        attend(heads, query);
    }
  }

 private:
  struct Running {
    Tile max, sum, accumulator;  // of a query tile, over the key tiles so far
    bool empty = true;
  };

  void attend(const Heads& heads, const Piece& query) {
    const Tile q = query_turner_.turn(load_heads(nc_, rows_, a_.q, heads, a_.heads, 1, query));
    Running running;
    for (const Piece& key : pieces(a_.keys, a_.pack > 1 ? a_.keys : key_tile))
      if (!masks_.hidden(query, key)) add_keys(heads, query, key, q, running);
    finish(heads, query, q.view().free_elements(), running);
  }

  // k as [depth, keys of the tile], 128 keys at a time.
  Tile turned_keys(const Heads& heads, const Piece& key) {
    const int n = static_cast<int>(heads.count * key.count), depth = static_cast<int>(a_.depth);
    const Tile all = keys_.tile(depth, {n}, a_.k.dtype);
    for (const Piece& part : pieces(key.count, a_.pack > 1 ? key.count : 128)) {
      const Tile k = turner_.turn(load_heads(nc_, rows_, a_.k, heads, a_.heads, a_.heads / a_.kv_heads,
                                             {key.begin + part.begin, part.count}));
      const int at = static_cast<int>(part.begin * heads.count),
                count = static_cast<int>(part.count * heads.count);
      nc_.tensor_copy(all.cols(at, count), k, Engine::act);
    }
    return all;
  }

  void add_keys(const Heads& heads, const Piece& query, const Piece& key, const Tile& q, Running& running) {
    const int p = static_cast<int>(q.free_elements());
    const Tile k = turned_keys(heads, key);
    const int n = static_cast<int>(k.free_elements());
    const Tile product = scores_psum_.tile(p, {n}, DType::float32);
    nc_.nc_matmul(product, q, k);
    const std::optional<Tile> mask = masks_.tile(heads, query, key);
    // s = scale * product [+ mask], its row maximum
    const Tile s = scores_.tile(p, {n}, DType::float32), row_max = small_.tile(p, {1}, DType::float32);
    if (mask) {
      nc_.scalar_tensor_tensor(s, product, {AluOp::multiply, a_.scale}, AluOp::add, *mask);
      nc_.tensor_reduce(row_max, AluOp::maximum, s);
    } else {
      nc_.tensor_scalar_reduce(s, row_max, product, {AluOp::multiply, a_.scale}, AluOp::maximum);
    }
    const Tile max = running_.tile(p, {1}, DType::float32),
               negative_max = small_.tile(p, {1}, DType::float32);
    if (running.empty)
      nc_.tensor_scalar(max, row_max, {AluOp::maximum, lowest_score});
    else
      nc_.tensor_tensor(max, row_max, AluOp::maximum, running.max);
    nc_.tensor_scalar(negative_max, max, {AluOp::multiply, -1.0});
    const Tile probability = probabilities_.tile(p, {n}, a_.q.dtype),
               row_sum = small_.tile(p, {1}, DType::float32);
    nc_.activation_reduce(probability, row_sum, Function::exp, s, 1.0, negative_max);
    const Tile sum = running_.tile(p, {1}, DType::float32);
    Tile decay;
    if (running.empty) {
      nc_.tensor_copy(sum, row_sum);
    } else {
      decay = small_.tile(p, {1}, DType::float32);
      nc_.activation(decay, Function::exp, running.max, 1.0, negative_max);
      nc_.scalar_tensor_tensor(sum, running.sum, {AluOp::multiply, decay}, AluOp::add, row_sum);
    }
    const Tile out = times_values(heads, key, probability);
    const Tile accumulator = sums_.tile(p, {static_cast<int>(a_.value_depth)}, DType::float32);
    if (running.empty)
      nc_.tensor_copy(accumulator, out);
    else
      nc_.scalar_tensor_tensor(accumulator, running.accumulator, {AluOp::multiply, decay}, AluOp::add, out);
    running = {max, sum, accumulator, false};
  }

  Tile times_values(const Heads& heads, const Piece& key, const Tile& probability) {
    const Tile out =
        out_psum_.tile(probability.partitions(), {static_cast<int>(a_.value_depth)}, DType::float32);
    const std::vector<Piece> parts = pieces(key.count, a_.pack > 1 ? key.count : 128);
    for (size_t i = 0; i < parts.size(); ++i) {
      const Tile v = load_heads(nc_, values_, a_.v, heads, a_.heads, a_.heads / a_.kv_heads,
                                {key.begin + parts[i].begin, parts[i].count});
      const Tile turned =
          turner_.turn(probability.cols(static_cast<int>(parts[i].begin * heads.count), v.partitions()));
      nc_.nc_matmul(out, turned, v, accumulate(static_cast<int64_t>(i), static_cast<int64_t>(parts.size())));
    }
    return out;
  }

  void finish(const Heads& heads, const Piece& query, int64_t rows, const Running& running) {
    const int p = static_cast<int>(rows);
    const Tile out = results_.tile(p, {static_cast<int>(a_.value_depth)}, out_.dtype),
               lse = small_.tile(p, {1}, DType::float32);
    if (running.empty) {  // causal, and the queries come before every key
      nc_.memset(out, 0.0f);
      nc_.memset(lse, -INFINITY);
    } else {
      const Tile safe = small_.tile(p, {1}, DType::float32), inverse = small_.tile(p, {1}, DType::float32),
                 seen = small_.tile(p, {1}, DType::float32);
      nc_.tensor_scalar(safe, running.sum, {AluOp::maximum, 0x1p-60});
      nc_.reciprocal(inverse, safe);
      nc_.tensor_scalar(out, running.accumulator, {AluOp::multiply, inverse});
      const Tile log_sum = small_.tile(p, {1}, DType::float32);
      nc_.activation(log_sum, Function::log, safe);
      nc_.tensor_tensor(log_sum, log_sum, AluOp::add, running.max);
      nc_.tensor_scalar(seen, running.sum, {AluOp::greater, 0.0});
      nc_.select(lse, seen, log_sum, -INFINITY);
    }
    store_heads(nc_, out_, heads, a_.heads, query, out);
    nc_.dma_store(lse_.rows(heads.first * a_.queries + query.begin, rows), lse);
  }

  NeuronCore& nc_;
  const AttentionShape a_;
  const HeadRows out_;
  const Hbm lse_;
  TilePool rows_, values_, keys_, scores_, probabilities_, sums_, results_, small_, running_, scores_psum_,
      out_psum_;
  TilePool turned_psum_;
  Turner query_turner_, turner_;
  Masks masks_;
};

void emit_forward(const NodeContext& c) {
  const AttentionShape a = attention_shape(c);
  if (a.pack > 1)
    Forward(c).run();
  else
    emit_attention_pipeline(c, a);
}

backend::Offer offer(const backend::NodeRef& node) {
  for (uint32_t i = 0; i < 3; ++i) {
    if (node.input(i).dim(3) > 128) return backend::no("heads deeper than 128 do not fit the partitions");
    if (node.input(i).dtype() != node.input(0).dtype()) return backend::no("q, k and v of different dtypes");
  }
  const backend::ValueRef mask = node.input(3);
  if (mask && mask.dtype() != HD_DTYPE_BOOL && mask.dtype() != HD_DTYPE_FLOAT32 &&
      mask.dtype() != HD_DTYPE_BFLOAT16)
    return backend::no("masks are bool, float32 or bfloat16");
  const uint32_t d = node.input(0).dtype();
  return d == HD_DTYPE_FLOAT32 || d == HD_DTYPE_BFLOAT16
             ? backend::yes()
             : backend::no("the tensor engine takes float32 and bfloat16");
}

backend::Offer offer_backward(const backend::NodeRef& node) {
  const backend::Offer o = offer(node);
  if (!o.accepted) return o;
  const bool bshd = node.text("layout") == "bshd";
  const int64_t queries = node.input(0).dim(bshd ? 1 : 2),
                group = node.input(0).dim(bshd ? 2 : 1) / node.input(1).dim(bshd ? 2 : 1);
  if (queries * group > 4096)
    return backend::no("more than 4096 query rows per key head do not stay in SBUF");
  return o;
}

constexpr Lowering lowerings[] = {{"attention", offer, emit_forward},
                                  {"attention_grad", offer_backward, emit_attention_grad}};

}  // namespace

std::span<const Lowering> attention_lowerings() { return lowerings; }

}  // namespace heddle::systolic
