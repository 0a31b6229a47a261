// Attention of heads that fill tiles of their own, software pipelined. A work item is a query tile against a
// section of up to 4096 keys, in three stages on three sets of engines; while item i is in its third stage,
// i + 1 is in its second and i + 2 in its first:
//   scores   PE: scores into PSUM; DVE: scaled copy to SBUF and its row maximum, one instruction
//   weights  ACT: exp(score - maximum) from SBUF, with its row sum
//   values   PE: weights turned, through PSUM, copied by ACT and DVE; PE: product with the values
// A score is so read from PSUM once, and once more when its weight has been turned. Within a section the
// maximum is exact; sections are joined by the usual rescaling. Division by the row sum comes last.
//
// Causal heads skip hidden blocks of 128 keys; the blocks on the edge get a large negative number from the
// tensor engine, a product of the identity and a mask, added to the scores in PSUM.
#include "systolic/kernels/attention_pipeline.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace heddle::systolic {
namespace {

constexpr int64_t query_tile = 128, block_keys = 128, chunk_keys = 1024, product_columns = 512;
constexpr int score_banks = 2;      // of a chunk
constexpr int fewest_sections = 3;  // in SBUF: one for each item in flight

class Pipeline {
 public:
  Pipeline(const NodeContext& c, const AttentionShape& a)
      : nc_(c.nc),
        a_(a),
        dtype_(a.q.dtype),
        width_(static_cast<int64_t>(size_of(a.q.dtype))),
        section_keys_(width_ <= 2 ? 4 * chunk_keys : 2 * chunk_keys),
        blocks_of_bank_(static_cast<int>(nc_.device().psum.bank_bytes / (block_keys * width_))),
        out_(head_rows(c.outputs[0], c.attributes.get<std::string>("layout") == "bshd")),
        lse_(c.outputs[1].hbm.reshape({a_.batch * a_.heads * a_.queries, 1})),
        rows_(nc_.sbuf_pool("rows", 3)),
        queries_(nc_.sbuf_pool("queries.turned", 4)),
        scores_(nc_.sbuf_pool("scores", chunks_in_flight())),
        weights_(nc_.sbuf_pool("weights", chunks_in_flight())),
        turned_(nc_.sbuf_pool("weights.turned", 3)),
        accumulators_(nc_.sbuf_pool("accumulator", 3)),
        results_(nc_.sbuf_pool("out", 2)),
        small_(nc_.sbuf_pool("stats", 64)),
        running_(nc_.sbuf_pool("running", 12)),
        constants_(nc_.sbuf_pool("edge", 4)),
        scores_psum_(nc_.psum_pool("scores", 2)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        out_psum_(nc_.psum_pool("out", 2)) {
    if (a_.mask != nullptr) masks_.emplace(nc_, a_);
  }

  void run() {
    reserve_sections();
    std::vector<Item> items;
    for (int64_t head = 0; head < a_.batch * a_.heads; ++head)
      for (const Piece& query : pieces(a_.queries, query_tile)) {
        const int64_t visible = visible_keys(query);
        const std::vector<Piece> sections = pieces(visible, section_keys_);
        if (sections.empty()) store_nothing(head, query);
        for (const Piece& s : sections)
          items.push_back({head, query, s, s.begin == 0, s.begin + s.count == visible});
      }
    const size_t n = items.size();
    std::vector<Work> work(n);
    for (size_t t = 0; t < n + 2; ++t) {
      Work* scores = t < n ? &work[t] : nullptr;
      Work* weights = t >= 1 && t - 1 < n ? &work[t - 1] : nullptr;
      Work* values = t >= 2 ? &work[t - 2] : nullptr;
      if (scores != nullptr) begin(items[t], *scores);
      size_t chunks = 0;
      for (const Work* w : {scores, weights, values})
        if (w != nullptr) chunks = std::max(chunks, w->chunks.size());
      for (size_t c2 = 0; c2 < chunks; ++c2) {
        if (values != nullptr && c2 < values->chunks.size()) multiply_values(*values, c2);
        if (scores != nullptr && c2 < scores->chunks.size()) score(*scores, c2);
        if (weights != nullptr && c2 < weights->chunks.size()) weigh(*weights, c2);
      }
      if (values != nullptr) {
        end(*values);
        *values = {};
      }
    }
  }

 private:
  // A query tile against some keys; `first` and `last` of its query tile.
  struct Item {
    int64_t head;
    Piece query, section;
    bool first, last;
  };
  // Keys and values of one section, chunk by chunk: [depth, keys] and [128, blocks * value depth].
  struct Section {
    int64_t kv_head = -1, begin = -1;
    int64_t used = -1;
    std::vector<Tile> keys, values;
  };
  struct Work {
    const Item* item = nullptr;
    Tile q;
    std::vector<Piece> chunks;  // within the section
    const Section* section = nullptr;
    std::vector<Tile> scores, weights;
    Tile maxima, negative_max, sums, decay, out;
    // Turned weights whose product is still to come: of blocks [first, first + count) of the item.
    Tile pending;
    int64_t pending_first = 0, pending_count = 0;
  };

  int chunks_in_flight() const { return static_cast<int>(2 * section_keys_ / chunk_keys + 2); }
  static int64_t blocks(int64_t keys) { return (keys + block_keys - 1) / block_keys; }

  int64_t visible_keys(const Piece& query) const {
    if (!a_.causal) return a_.keys;
    const int64_t seen = query.begin + query.count + a_.keys - a_.queries;
    return std::clamp<int64_t>(blocks(std::max<int64_t>(seen, 0)) * block_keys, 0, a_.keys);
  }
  // How far a key block lies past the first query's last visible key: some key is hidden from some query when
  // positive.
  int64_t overhang(const Piece& query, const Piece& key) const {
    return a_.causal ? key.begin + key.count - 1 - (query.begin + a_.keys - a_.queries) : 0;
  }

  // ---- keys and values

  void reserve_sections() {
    const int64_t longest = std::min(section_keys_, a_.keys), n = (longest + chunk_keys - 1) / chunk_keys;
    const int64_t bytes =
        n * (std::min(chunk_keys, longest) + blocks(std::min(chunk_keys, longest)) * a_.value_depth) * width_;
    const int64_t of_head = (a_.keys + section_keys_ - 1) / section_keys_;
    // What the pools above will take, and the masks.
    const int64_t chunk_bytes =
        std::min(chunk_keys, longest) * (static_cast<int64_t>(sizeof(float)) + width_);
    const int64_t others = chunks_in_flight() * chunk_bytes + 3 * chunk_keys * width_ + 24 * 1024 +
                           (a_.mask != nullptr ? 5 * chunk_keys * static_cast<int64_t>(sizeof(float)) : 0);
    const int64_t count = std::clamp<int64_t>((nc_.sbuf_free() - others) / bytes, fewest_sections,
                                              std::max<int64_t>(fewest_sections, 2 * of_head));
    for (int64_t i = 0; i < count; ++i) {
      key_pools_.push_back(nc_.sbuf_pool("keys.turned", static_cast<int>(n)));
      value_pools_.push_back(nc_.sbuf_pool("values", static_cast<int>(n)));
    }
    sections_.resize(static_cast<size_t>(count));
  }

  // Loaded and turned when they are not there; what was asked for longest ago makes room.
  const Section& section(int64_t head, const Piece& keys) {
    const int64_t kv = head / a_.heads * a_.kv_heads + head % a_.heads / (a_.heads / a_.kv_heads);
    const int64_t wanted = std::min(section_keys_, a_.keys - keys.begin);
    size_t oldest = 0;
    for (size_t i = 0; i < sections_.size(); ++i) {
      Section& s = sections_[i];
      if (s.kv_head == kv && s.begin == keys.begin) {
        s.used = ++clock_;
        return s;
      }
      if (s.used < sections_[oldest].used) oldest = i;
    }
    Section& s = sections_[oldest];
    s = {kv, keys.begin, ++clock_, {}, {}};
    for (const Piece& chunk : pieces(wanted, chunk_keys)) {
      const Piece at{keys.begin + chunk.begin, chunk.count};
      const Tile rows = rows_.tile(rows_of(at), {static_cast<int>(blocks(at.count) * a_.depth)}, dtype_);
      load_blocks(rows, a_.k, kv, at);
      s.keys.push_back(
          key_pools_[oldest].tile(static_cast<int>(a_.depth), {static_cast<int>(at.count)}, dtype_));
      turn_blocks(s.keys.back(), rows, at.count);
      s.values.push_back(value_pools_[oldest].tile(
          rows_of(at), {static_cast<int>(blocks(at.count) * a_.value_depth)}, dtype_));
      load_blocks(s.values.back(), a_.v, kv, at);
    }
    return s;
  }
  static int rows_of(const Piece& keys) { return static_cast<int>(std::min(block_keys, keys.count)); }

  // Keys as blocks of 128 beside each other. Where no mask depends on their order, a partition takes
  // neighbouring keys, which are one run of HBM.
  void load_blocks(const Tile& tile, const HeadRows& x, int64_t kv, const Piece& keys) {
    const int64_t start = x.at(kv / a_.kv_heads, kv % a_.kv_heads, keys.begin),
                  whole = keys.count / block_keys, rest = keys.count % block_keys;
    const bool any_order = !a_.causal && a_.mask == nullptr && rest == 0;
    const int depth = static_cast<int>(x.depth);
    if (whole > 0)
      nc_.dma_load(tile.cols(0, static_cast<int>(whole) * depth).reshape({static_cast<int>(whole), depth}),
                   x.hbm.box(start, {block_keys, whole, depth},
                             {any_order ? whole * x.row_step : x.row_step,
                              any_order ? x.row_step : block_keys * x.row_step, 1}));
    if (rest > 0)
      nc_.dma_load(tile.rows(0, static_cast<int>(rest)).cols(static_cast<int>(whole) * depth, depth),
                   x.hbm.box(start + whole * block_keys * x.row_step, {rest, depth}, {x.row_step, 1}));
  }

  // [128, blocks * depth] -> [depth, keys], a PSUM bank at a time.
  void turn_blocks(const Tile& out, const Tile& rows, int64_t keys) {
    const int depth = static_cast<int>(a_.depth);
    for (const Piece& bank : pieces(blocks(keys), blocks_of_bank_)) {
      const int64_t first = bank.begin * block_keys, count = std::min(bank.count * block_keys, keys - first);
      const Tile turned = turned_psum_.tile(depth, {static_cast<int>(count)}, dtype_);
      for (int64_t b = bank.begin; b < bank.begin + bank.count; ++b) {
        const int n = static_cast<int>(std::min(block_keys, keys - b * block_keys));
        nc_.nc_transpose(turned.cols(static_cast<int>(b * block_keys - first), n),
                         rows.rows(0, n).cols(static_cast<int>(b) * depth, depth));
      }
      nc_.tensor_copy(out.cols(static_cast<int>(first), static_cast<int>(count)), turned, copier());
    }
  }
  // Copies out of PSUM: DVE has the scores to copy besides, so ACT takes three of four.
  Engine copier() { return ++copies_ % 4 == 0 ? Engine::dve : Engine::act; }

  // ---- the stages

  void begin(const Item& item, Work& w) {
    w.item = &item;
    w.section = &section(item.head, item.section);
    w.chunks = pieces(item.section.count, chunk_keys);
    const int p = static_cast<int>(item.query.count), chunks = static_cast<int>(w.chunks.size());
    if (item.first) {
      const Tile rows = rows_.tile(p, {static_cast<int>(a_.depth)}, dtype_);
      nc_.dma_load(rows, a_.q.hbm.box(a_.q.at(item.head / a_.heads, item.head % a_.heads, item.query.begin),
                                      {p, a_.depth}, {a_.q.row_step, 1}));
      const Tile turned = turned_psum_.tile(static_cast<int>(a_.depth), {p}, dtype_);
      nc_.nc_transpose(turned, rows);
      q_ = queries_.tile(static_cast<int>(a_.depth), {p}, dtype_);
      nc_.tensor_copy(q_, turned, Engine::act);
    }
    w.q = q_;
    w.maxima = small_.tile(p, {chunks}, DType::float32);
    w.sums = small_.tile(p, {chunks}, DType::float32);
  }

  void score(Work& w, size_t c) {
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count), n = static_cast<int>(w.chunks[c].count);
    const Piece keys{item.section.begin + w.chunks[c].begin, n};
    const Tile product = scores_psum_.tile(p, {n}, DType::float32), s = scores_.tile(p, {n}, DType::float32);
    const Tile max = w.maxima.cols(static_cast<int>(c), 1);
    w.scores.push_back(s);
    if (masks_) {
      for (const Piece& part : pieces(n, product_columns)) multiply_keys(w, c, product, part);
      if (const std::optional<Tile> mask = masks_->tile({item.head, 1}, item.query, keys)) {
        nc_.scalar_tensor_tensor(s, product, {AluOp::multiply, a_.scale}, AluOp::add, *mask);
        nc_.tensor_reduce(max, AluOp::maximum, s);
        return;
      }
    } else {
      for (int64_t at = 0, count = 0; at < n; at += count) {
        count = std::min<int64_t>(block_keys, n - at);
        const int64_t over = overhang(item.query, {keys.begin + at, count});
        if (over > 0) {
          multiply_keys(w, c, product, {at, count}, false);
          nc_.nc_matmul(product.cols(static_cast<int>(at), static_cast<int>(count)), identity().cols(0, p),
                        edge(over - count + 1).cols(0, static_cast<int>(count)), {false, true});
          continue;
        }
        while (at % product_columns + count < product_columns && at + count < n) {
          const int64_t more = std::min(block_keys, n - at - count);
          if (overhang(item.query, {keys.begin + at + count, more}) > 0) break;
          count += more;
        }
        multiply_keys(w, c, product, {at, count});
      }
    }
    nc_.tensor_scalar_reduce(s, max, product, {AluOp::multiply, a_.scale}, AluOp::maximum);
  }
  void multiply_keys(const Work& w, size_t c, const Tile& product, const Piece& part, bool whole = true) {
    const int at = static_cast<int>(part.begin), n = static_cast<int>(part.count);
    nc_.nc_matmul(product.cols(at, n), w.q, w.section->keys[c].cols(at, n), {true, whole});
  }

  // [128, 128]: 0 where query p sees key j of a block that begins `begin` keys after the first query's last
  // visible one, else so large a negative number that exp gives 0. Of the sign that the scale will keep
  // negative.
  Tile edge(int64_t begin) {
    const auto it = edges_.find(begin);
    if (it != edges_.end()) return it->second;
    const Tile tile = constants_.tile(query_tile, {block_keys}, dtype_);
    nc_.memset(tile, 0.0f);
    nc_.affine_select(tile, tile, AffinePattern{.base = -begin, .partition_step = 1, .step = {-1}},
                      AluOp::greater_equal, a_.scale < 0 ? 3e38f : -3e38f);
    return edges_.emplace(begin, tile).first->second;
  }
  Tile identity() {
    if (identity_) return *identity_;
    const Tile tile = constants_.tile(query_tile, {query_tile}, dtype_);
    nc_.memset(tile, 1.0f);
    nc_.affine_select(tile, tile, AffinePattern{.base = 0, .partition_step = 1, .step = {-1}}, AluOp::equal,
                      0.0f);
    identity_ = tile;
    return tile;
  }

  void weigh(Work& w, size_t c) {
    const int p = static_cast<int>(w.item->query.count);
    if (c == 0) {
      const Tile max = small_.tile(p, {1}, DType::float32);
      nc_.tensor_reduce(max, AluOp::maximum, w.maxima);
      const Tile negative = running_.tile(p, {1}, DType::float32);
      nc_.tensor_scalar(negative, max, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
      w.negative_max = negative;
      if (!w.item->first) {
        w.negative_max = running_.tile(p, {1}, DType::float32);
        nc_.tensor_tensor(w.negative_max, negative, AluOp::minimum, negative_max_);
        const Tile fall = small_.tile(p, {1}, DType::float32);
        nc_.tensor_tensor(fall, w.negative_max, AluOp::subtract, negative_max_);
        w.decay = small_.tile(p, {1}, DType::float32);
        nc_.activation(w.decay, Function::exp, fall);
      }
      negative_max_ = w.negative_max;
    }
    const Tile weight = weights_.tile(p, {static_cast<int>(w.chunks[c].count)}, dtype_);
    nc_.activation_reduce(weight, w.sums.cols(static_cast<int>(c), 1), Function::exp, w.scores[c], 1.0,
                          w.negative_max);
    w.weights.push_back(weight);
  }

  void multiply_values(Work& w, size_t c) {
    const int p = static_cast<int>(w.item->query.count);
    if (c == 0) w.out = out_psum_.tile(p, {static_cast<int>(a_.value_depth)}, DType::float32);
    const int64_t keys = w.chunks[c].count, before = w.chunks[c].begin / block_keys;
    for (const Piece& bank : pieces(blocks(keys), blocks_of_bank_)) {
      const int64_t first = bank.begin * block_keys, count = std::min(bank.count * block_keys, keys - first);
      const int rows = static_cast<int>(std::min(block_keys, count)),
                columns = static_cast<int>(bank.count) * p;
      const Tile turned = turned_psum_.tile(rows, {columns}, dtype_);
      for (int64_t b = 0; b < bank.count; ++b) {
        const int n = static_cast<int>(std::min(block_keys, count - b * block_keys));
        nc_.nc_transpose(turned.rows(0, n).cols(static_cast<int>(b) * p, p),
                         w.weights[c].cols(static_cast<int>(first + b * block_keys), n));
      }
      const Tile copy = turned_.tile(rows, {columns}, dtype_);
      nc_.tensor_copy(copy, turned, copier());
      multiply_pending(w);
      w.pending = copy, w.pending_first = before + bank.begin, w.pending_count = bank.count;
    }
  }
  void multiply_pending(Work& w) {
    const int p = static_cast<int>(w.item->query.count), depth = static_cast<int>(a_.value_depth);
    const int64_t keys = w.item->section.count, blocks_of_chunk = chunk_keys / block_keys;
    for (int64_t b = 0; b < w.pending_count; ++b) {
      const int64_t block = w.pending_first + b;
      const int n = static_cast<int>(std::min(block_keys, keys - block * block_keys));
      const Tile& values = w.section->values[static_cast<size_t>(block / blocks_of_chunk)];
      nc_.nc_matmul(w.out, w.pending.rows(0, n).cols(static_cast<int>(b) * p, p),
                    values.rows(0, n).cols(static_cast<int>(block % blocks_of_chunk) * depth, depth),
                    accumulate(block, blocks(keys)));
    }
    w.pending_count = 0;
  }

  void end(Work& w) {
    multiply_pending(w);
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count), depth = static_cast<int>(a_.value_depth);
    Tile sum = running_.tile(p, {1}, DType::float32);
    nc_.tensor_reduce(sum, AluOp::add, w.sums);
    if (!item.first) {
      const Tile both = running_.tile(p, {1}, DType::float32);
      nc_.scalar_tensor_tensor(both, sum_, {AluOp::multiply, w.decay}, AluOp::add, sum);
      sum = both;
    }
    sum_ = sum;
    Tile numerator = w.out;
    if (!item.first || !item.last) {
      numerator = accumulators_.tile(p, {depth}, DType::float32);
      if (item.first)
        nc_.tensor_copy(numerator, w.out);
      else
        nc_.scalar_tensor_tensor(numerator, accumulator_, {AluOp::multiply, w.decay}, AluOp::add, w.out);
      accumulator_ = numerator;
    }
    if (!item.last) return;
    const auto scalar = [&] { return small_.tile(p, {1}, DType::float32); };
    const Tile safe = scalar(), inverse = scalar(), log_sum = scalar(), seen = scalar(), lse = scalar();
    nc_.tensor_scalar(safe, sum, {AluOp::maximum, 0x1p-60});
    nc_.reciprocal(inverse, safe);
    const Tile out = results_.tile(p, {depth}, out_.dtype);
    nc_.tensor_scalar(out, numerator, {AluOp::multiply, inverse});
    nc_.activation(log_sum, Function::log, safe);
    nc_.tensor_tensor(log_sum, log_sum, AluOp::subtract, w.negative_max);
    nc_.tensor_scalar(seen, sum, {AluOp::greater, 0.0});
    nc_.select(lse, seen, log_sum, -INFINITY);
    store(item.head, item.query, out, lse);
  }

  void store_nothing(int64_t head, const Piece& query) {
    const int p = static_cast<int>(query.count);
    const Tile out = results_.tile(p, {static_cast<int>(a_.value_depth)}, out_.dtype),
               lse = small_.tile(p, {1}, DType::float32);
    nc_.memset(out, 0.0f);
    nc_.memset(lse, -INFINITY);
    store(head, query, out, lse);
  }
  void store(int64_t head, const Piece& query, const Tile& out, const Tile& lse) {
    store_heads(nc_, out_, {head, 1}, a_.heads, query, out);
    nc_.dma_store(lse_.rows(head * a_.queries + query.begin, query.count), lse);
  }

  NeuronCore& nc_;
  const AttentionShape& a_;
  const DType dtype_;
  const int64_t width_, section_keys_;
  const int blocks_of_bank_;
  const HeadRows out_;
  const Hbm lse_;
  TilePool rows_, queries_, scores_, weights_, turned_, accumulators_, results_, small_, running_, constants_;
  TilePool scores_psum_, turned_psum_, out_psum_;
  std::optional<Masks> masks_;
  std::vector<TilePool> key_pools_, value_pools_;
  std::vector<Section> sections_;
  std::map<int64_t, Tile> edges_;
  std::optional<Tile> identity_;
  int64_t clock_ = 0;
  unsigned copies_ = 0;
  Tile q_, negative_max_, sum_, accumulator_;  // of the query tile that the stage works on
};

static_assert(chunk_keys * 4 == score_banks * 2048, "a chunk of scores fills its banks of PSUM");

}  // namespace

void emit_attention_pipeline(const NodeContext& c, const AttentionShape& a) { Pipeline(c, a).run(); }

}  // namespace heddle::systolic
