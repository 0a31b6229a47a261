// Attention of heads that fill tiles of their own, software pipelined. A work item is a query tile against a
// section of keys, chunk by chunk, in three stages on three sets of engines; while item i is in its third
// stage, i + 1 is in its second and i + 2 in its first:
//   scores   PE: scores into PSUM; DVE: scaled copy to SBUF and its row maximum, one instruction
//   weights  ACT: exp(score - maximum) from SBUF, with its row sum
//   values   PE: weights turned, through PSUM, copied by ACT; PE: product with the values
// A score is so read from PSUM once, and once more when its weight has been turned. DVE and ACT take turns on
// PSUM: in one slot, DVE copies a chunk of scores while ACT computes exponentials, then ACT copies a chunk of
// turned weights; the tensor engine works a slot ahead. The order of each queue is pinned to that rhythm.
// Within a section the maximum is exact; sections are joined by the usual rescaling. Division by the row sum
// comes last.
//
// Causal heads skip hidden blocks of 128 keys; the blocks on the edge get a large negative number from the
// tensor engine, a product of the identity and a mask, added to the scores in PSUM.
#include "systolic/kernels/attention_pipeline.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "systolic/kernels/attention_edges.h"

namespace heddle::systolic {
namespace {

constexpr int64_t query_tile = block_rows, product_columns = 512;
constexpr int64_t chunks_of_section = 4;
constexpr int chunks_in_flight = 2 * chunks_of_section + 2;
constexpr int64_t statistics_columns = 32;
constexpr double smallest_sum = 0x1p-60;  // rows that see no key divide by this

class Pipeline {
 public:
  Pipeline(const NodeContext& c, const AttentionShape& a)
      : nc_(c.nc),
        a_(a),
        dtype_(a.q.dtype),
        width_(static_cast<int64_t>(size_of(a.q.dtype))),
        chunk_keys_(nc_.device().psum.bank_bytes / width_),
        section_keys_(chunks_of_section * chunk_keys_),
        runs_(runs_of(a, chunk_keys_ / block_rows)),
        out_(head_rows(c.outputs[0], c.attributes.get<std::string>("layout") == "bshd")),
        lse_(c.outputs[1].hbm.reshape({a_.batch * a_.heads * a_.queries, 1})),
        query_rows_(nc_.sbuf_pool("queries", 2)),
        query_pool_(nc_.sbuf_pool("queries.turned", 3)),
        scores_(nc_.sbuf_pool("scores", chunks_in_flight)),
        weights_(nc_.sbuf_pool("weights", chunks_in_flight)),
        turned_(nc_.sbuf_pool("weights.turned", 3)),
        accumulators_(nc_.sbuf_pool("accumulator", 3)),
        results_(nc_.sbuf_pool("out", 2)),
        small_(nc_.sbuf_pool("stats", 128)),
        running_(nc_.sbuf_pool("running", 24)),
        edges_(nc_, a_, runs_),
        statistics_tiles_(nc_.sbuf_pool("statistics", 40)),
        wide_(nc_.sbuf_pool("lse", 4)),
        wide_turned_(nc_.sbuf_pool("lse.turned", 2)),
        scores_psum_(nc_.psum_pool("scores", 2)),
        turned_psum_(nc_.psum_pool("turned", 2)),
        out_psum_(nc_.psum_pool("out", 2)),
        sections_(nc_, a_, turned_psum_, runs_.key, chunk_keys_) {
    if (a_.mask != nullptr) masks_.emplace(nc_, a_);
  }

  void run() {
    // What the pools above and the masks will take.
    const int64_t chunk = std::min(chunk_keys_, a_.keys), f32_bytes = static_cast<int64_t>(sizeof(float));
    const int64_t others = chunks_in_flight * chunk * (f32_bytes + width_) + 3 * chunk_keys_ * width_ +
                           8 * blocks_of(chunk_keys_) * a_.depth * width_ + 12 * 1024 +
                           (a_.mask != nullptr ? 5 * chunk_keys_ * f32_bytes : 0);
    sections_.reserve(section_keys_, nc_.sbuf_free() - others);
    std::vector<Item> items;
    for (int64_t head = 0; head < a_.batch * a_.heads; ++head)
      for (const Piece& query : pieces(a_.queries, query_tile)) {
        const int64_t visible = edges_.visible_keys(query);
        const std::vector<Piece> sections = pieces(visible, section_keys_);
        if (sections.empty()) store_nothing(head, query);
        for (const Piece& s : sections)
          items.push_back({head, query, s, s.begin == 0, s.begin + s.count == visible});
      }
    const size_t n = items.size();
    std::vector<Work> work(n);
    for (size_t i = 0; i < n; ++i)
      work[i].item = &items[i], work[i].chunks = chunks_of(items[i].section.count);
    for (size_t i = 0; i + 1 < n; ++i) items[i].next = &items[i + 1];
    const std::vector<Slot> slots = slots_of(work);
    nc_.pin_order(true);
    const auto slot = [&](size_t s, size_t back) {
      return s >= back && s - back < slots.size() ? slots[s - back] : Slot{};
    };
    for (size_t s = 0; s < slots.size() + 5; ++s) {
      const Slot second = slot(s, 0), next = slot(s, 1), now = slot(s, 2), before = slot(s, 3),
                 past = slot(s, 5);
      if (now.weights && now.weights.chunk == 0) take_maximum(*now.weights.work);
      if (now.scores) copy_scores(*now.scores.work, now.scores.chunk);
      if (now.weights) weigh(*now.weights.work, now.weights.chunk);
      if (now.values) copy_weights(*now.values.work, now.values.chunk, !now.scores);
      // The result is taken two slots late, so that DVE does not wait for it.
      if (past.values && past.values.chunk + 1 == past.values.work->chunks.size()) {
        end(*past.values.work);
        *past.values.work = {};
      }
      if (second.scores) get_ready(*second.scores.work, second.scores.chunk);
      if (next.values) turn_weights(*next.values.work, next.values.chunk);
      if (second.scores) multiply_keys(*second.scores.work, second.scores.chunk);
      if (before.values) multiply_values(*before.values.work, before.values.chunk);
    }
    nc_.pin_order(false);
  }

 private:
  // A query tile against some keys; `first` and `last` of its query tile.
  struct Item {
    int64_t head;
    Piece query, section;
    bool first, last;
    const Item* next = nullptr;
  };
  // Row sums and maxima of neighbouring query tiles of one head, a column each, until their logarithms are
  // taken.
  struct Statistics {
    int64_t head, first, last;  // where its first and last query tiles begin
    int rows, count;
    Tile sums, negative_maxima;
  };
  struct Work {
    const Item* item = nullptr;
    Tile q;
    std::vector<Piece> chunks;  // within the section
    Sections::Section* section = nullptr;
    std::vector<Tile> products, scores, weights, turned, copies;  // per chunk
    Tile maxima, negative_max, sums, decay, out;
    std::shared_ptr<const Statistics> statistics;
    Tile total, negative_maximum;  // of the query tile: its columns of them
  };
  // What runs at the same time: a chunk of each stage.
  struct Job {
    Work* work = nullptr;
    size_t chunk = 0;
    explicit operator bool() const { return work != nullptr; }
  };
  struct Slot {
    Job scores, weights, values;
  };

  // A stage follows the one before it at the distance of a section's chunks; so short items of one section go
  // through a stage together.
  static std::vector<Slot> slots_of(std::vector<Work>& work) {
    std::vector<std::vector<Job>> steps;
    const Item* before = nullptr;
    for (Work& w : work) {
      const Item& item = *w.item;
      const bool joins = before != nullptr && before->head == item.head && item.first && item.last &&
                         before->first && before->last &&
                         steps.back().size() + w.chunks.size() <= chunks_of_section;
      if (!joins) steps.emplace_back();
      for (size_t c = 0; c < w.chunks.size(); ++c) steps.back().push_back({&w, c});
      before = &item;
    }
    std::vector<Slot> slots;
    for (size_t t = 0; t < steps.size() + 2; ++t) {
      const auto job = [&](size_t back, size_t at) {
        return t >= back && t - back < steps.size() && at < steps[t - back].size() ? steps[t - back][at]
                                                                                   : Job{};
      };
      for (size_t at = 0; job(0, at) || job(1, at) || job(2, at); ++at)
        slots.push_back({job(0, at), job(1, at), job(2, at)});
    }
    return slots;
  }

  // Chunks of about the same size, which fills the slots of the pipeline evenly.
  std::vector<Piece> chunks_of(int64_t keys) const {
    const int64_t count = (keys + chunk_keys_ - 1) / chunk_keys_, unit = block_rows * 2;
    return pieces(keys, std::min(chunk_keys_, ((keys + count - 1) / count + unit - 1) / unit * unit));
  }
  // ---- the stages

  void begin(Work& w) {
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count), chunks = static_cast<int>(w.chunks.size());
    w.q = query(item);
    w.section = &sections_.at(item.head, item.section.begin);
    if (item.last) {
      if (!statistics_ || statistics_->head != item.head || statistics_->last < item.query.begin)
        statistics_ = new_statistics(item);
      const int column = static_cast<int>((item.query.begin - statistics_->first) / query_tile);
      w.statistics = statistics_;
      w.total = statistics_->sums.cols(column, 1);
      w.negative_maximum = statistics_->negative_maxima.cols(column, 1);
    }
    w.maxima = small_.tile(p, {chunks}, DType::float32);
    w.sums = small_.tile(p, {chunks}, DType::float32);
  }

  // [depth, queries of the tile], of a group of neighbouring tiles that are loaded together.
  Tile query(const Item& item) {
    if (queries_head_ != item.head || item.query.begin < queries_.begin ||
        item.query.begin >= queries_.begin + queries_.count) {
      queries_head_ = item.head;
      queries_ = {item.query.begin, std::min(rows_together(item.query.begin, runs_.query, chunk_keys_),
                                             a_.queries - item.query.begin)};
      const int64_t n = queries_.count;
      const Tile rows = query_rows_.tile(static_cast<int>(std::min(block_rows, n)),
                                         {static_cast<int>(blocks_of(n) * a_.depth)}, dtype_);
      load_blocks(nc_, rows, a_.q, a_.q.at(item.head / a_.heads, item.head % a_.heads, queries_.begin), n,
                  runs_.query);
      turned_queries_ = query_pool_.tile(static_cast<int>(a_.depth), {static_cast<int>(n)}, dtype_);
      nc_.tensor_copy(turned_queries_, turn_blocks(nc_, turned_psum_, rows, n, a_.depth), Engine::act);
    }
    return turned_queries_.cols(static_cast<int>(item.query.begin - queries_.begin),
                                static_cast<int>(item.query.count));
  }

  std::shared_ptr<const Statistics> new_statistics(const Item& item) {
    const int64_t whole = (a_.queries - item.query.begin) / query_tile;  // a shorter tile stands alone
    const int rows = static_cast<int>(item.query.count),
              count = static_cast<int>(std::clamp<int64_t>(whole, 1, statistics_columns));
    return std::make_shared<const Statistics>(
        Statistics{item.head, item.query.begin, item.query.begin + (count - 1) * query_tile, rows, count,
                   statistics_tiles_.tile(rows, {count}, DType::float32),
                   statistics_tiles_.tile(rows, {count}, DType::float32)});
  }

  Piece keys_of(const Work& w, size_t c) const {
    return {w.item->section.begin + w.chunks[c].begin, w.chunks[c].count};
  }

  // Brings the keys of a chunk and, a chunk and an item ahead, what comes after.
  void get_ready(Work& w, size_t c) {
    if (c == 0) begin(w);
    const Item& item = *w.item;
    const int64_t end = w.chunks[c].begin + w.chunks[c].count;
    sections_.need_keys(*w.section, std::min(end + chunk_keys_, item.section.count));
    if (c > 0 || item.next == nullptr) return;
    query(*item.next);
    sections_.need_keys(sections_.at(item.next->head, item.next->section.begin),
                        std::min(chunk_keys_, item.next->section.count));
  }

  void multiply_keys(Work& w, size_t c) {
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count), n = static_cast<int>(w.chunks[c].count);
    const Piece keys = keys_of(w, c);
    const Tile product = scores_psum_.tile(p, {n}, DType::float32);
    const int offset = static_cast<int>(w.chunks[c].begin);
    w.products.push_back(product);
    for (int64_t at = 0, count = 0; at < n; at += count) {
      count = std::min<int64_t>(block_rows, n - at);
      const std::optional<int64_t> begin = edges_.edge_of(item.query, {keys.begin + at, count});
      while (!begin && at % product_columns + count < product_columns && at + count < n) {
        const int64_t more = std::min(block_rows, n - at - count);
        if (edges_.edge_of(item.query, {keys.begin + at + count, more})) break;
        count += more;
      }
      const int first = static_cast<int>(at), columns = static_cast<int>(count);
      const Tile out = product.cols(first, columns);
      nc_.nc_matmul(out, w.q, w.section->keys.cols(offset + first, columns), {true, !begin});
      if (begin) edges_.hide(out, *begin);
    }
  }

  void copy_scores(Work& w, size_t c) {
    const int p = static_cast<int>(w.item->query.count), n = static_cast<int>(w.chunks[c].count);
    const Tile s = scores_.tile(p, {n}, DType::float32), max = w.maxima.cols(static_cast<int>(c), 1);
    w.scores.push_back(s);
    if (masks_)
      if (const std::optional<Tile> mask = masks_->tile(w.item->head, w.item->query, keys_of(w, c))) {
        nc_.scalar_tensor_tensor(s, w.products[c], {AluOp::multiply, a_.scale}, AluOp::add, *mask);
        nc_.tensor_reduce(max, AluOp::maximum, s);
        return;
      }
    nc_.tensor_scalar_reduce(s, max, w.products[c], {AluOp::multiply, a_.scale}, AluOp::maximum);
  }

  void take_maximum(Work& w) {
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count);
    const Tile max = small_.tile(p, {1}, DType::float32);
    nc_.tensor_reduce(max, AluOp::maximum, w.maxima);
    const Tile negative =
        item.first && item.last ? w.negative_maximum : running_.tile(p, {1}, DType::float32);
    nc_.tensor_scalar(negative, max, {AluOp::maximum, lowest_score}, {AluOp::multiply, -1.0});
    w.negative_max = negative;
    if (!item.first) {
      w.negative_max = item.last ? w.negative_maximum : running_.tile(p, {1}, DType::float32);
      nc_.tensor_tensor(w.negative_max, negative, AluOp::minimum, negative_max_);
      const Tile fall = small_.tile(p, {1}, DType::float32);
      nc_.tensor_tensor(fall, w.negative_max, AluOp::subtract, negative_max_);
      w.decay = small_.tile(p, {1}, DType::float32);
      nc_.activation(w.decay, Function::exp, fall);
    }
    negative_max_ = w.negative_max;
  }

  void weigh(Work& w, size_t c) {
    const Tile weight =
        weights_.tile(static_cast<int>(w.item->query.count), {static_cast<int>(w.chunks[c].count)}, dtype_);
    nc_.activation_reduce(weight, w.sums.cols(static_cast<int>(c), 1), Function::exp, w.scores[c], 1.0,
                          w.negative_max);
    w.weights.push_back(weight);
  }

  // [queries, keys of the chunk] -> [128 keys, queries of block after block].
  void turn_weights(Work& w, size_t c) {
    const int p = static_cast<int>(w.item->query.count);
    const int64_t keys = w.chunks[c].count;
    const Tile turned = turned_psum_.tile(static_cast<int>(std::min(block_rows, keys)),
                                          {static_cast<int>(blocks_of(keys)) * p}, dtype_);
    for (const Piece& block : pieces(keys, block_rows)) {
      const int n = static_cast<int>(block.count);
      nc_.nc_transpose(turned.rows(0, n).cols(static_cast<int>(block.begin / block_rows) * p, p),
                       w.weights[c].cols(static_cast<int>(block.begin), n));
    }
    w.turned.push_back(turned);
  }
  // `idle`: DVE has no scores to copy.
  void copy_weights(Work& w, size_t c, bool idle) {
    const Tile& turned = w.turned[c];
    w.copies.push_back(turned_.tile(turned.partitions(), {static_cast<int>(turned.free_elements())}, dtype_));
    nc_.tensor_copy(w.copies[c], turned, idle && c % 2 == 0 ? Engine::dve : Engine::act);
  }
  void multiply_values(Work& w, size_t c) {
    const int p = static_cast<int>(w.item->query.count), depth = static_cast<int>(a_.value_depth);
    if (c == 0) w.out = out_psum_.tile(p, {depth}, DType::float32);
    sections_.need_values(*w.section, w.chunks[c].begin + w.chunks[c].count);
    const int64_t before = w.chunks[c].begin / block_rows, all = blocks_of(w.item->section.count);
    for (const Piece& block : pieces(w.chunks[c].count, block_rows)) {
      const int b = static_cast<int>(block.begin / block_rows), n = static_cast<int>(block.count);
      nc_.nc_matmul(w.out, w.copies[c].rows(0, n).cols(b * p, p),
                    w.section->values.rows(0, n).cols((static_cast<int>(before) + b) * depth, depth),
                    accumulate(before + b, all));
    }
  }

  void end(Work& w) {
    const Item& item = *w.item;
    const int p = static_cast<int>(item.query.count), depth = static_cast<int>(a_.value_depth);
    Tile sum = item.first && item.last ? w.total : running_.tile(p, {1}, DType::float32);
    nc_.tensor_reduce(sum, AluOp::add, w.sums);
    if (!item.first) {
      const Tile both = item.last ? w.total : running_.tile(p, {1}, DType::float32);
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
    const Tile safe = small_.tile(p, {1}, DType::float32);
    nc_.tensor_scalar(safe, sum, {AluOp::maximum, smallest_sum});
    // The tiles of a group leave together: their rows are neighbours.
    const int64_t group = runs_.query * query_tile, of_group = item.query.begin % group / query_tile;
    if (of_group == 0) group_out_ = results_.tile(p, {static_cast<int>(runs_.query), depth}, out_.dtype);
    nc_.tensor_scalar(group_out_.at(0, static_cast<int>(of_group)), numerator, {AluOp::divide, safe});
    if (of_group + 1 == runs_.query)
      nc_.dma_store(out_.hbm.box(out_.at(item.head / a_.heads, item.head % a_.heads,
                                         item.query.begin - of_group * query_tile),
                                 {p, runs_.query, depth}, {runs_.query * out_.row_step, out_.row_step, 1}),
                    group_out_);
    if (w.statistics->last == item.query.begin) store_statistics(*w.statistics);
  }

  // lse = log(sum) + maximum of up to 32 query tiles at once: the scalar engine changes tables for it.
  void store_statistics(const Statistics& s) {
    const int p = s.rows, n = s.count;
    const auto tile = [&] { return wide_.tile(p, {n}, DType::float32); };
    const Tile safe = tile(), log_sum = tile(), seen = tile(), lse = tile();
    const Tile sums = s.sums.cols(0, n);
    nc_.tensor_scalar(safe, sums, {AluOp::maximum, smallest_sum});
    nc_.activation(log_sum, Function::log, safe);
    nc_.tensor_tensor(log_sum, log_sum, AluOp::subtract, s.negative_maxima.cols(0, n));
    nc_.tensor_scalar(seen, sums, {AluOp::greater, 0.0});
    nc_.select(lse, seen, log_sum, -INFINITY);
    const int64_t first = s.head * a_.queries + s.first;
    if (p < query_tile) {
      nc_.dma_store(lse_.rows(first, p), lse);
      return;
    }
    // A group of query tiles to a partition, in order of their rows. By the vector engine, which turns 32x32
    // and leaves infinities where they are.
    const int run = static_cast<int>(runs_.query), groups = n / run;
    const Tile turned = wide_turned_.tile(groups, {p, run}, DType::float32);
    for (int r = 0; r < run; ++r)
      for (int at = 0; at < p; at += 32)
        nc_.nc_transpose(turned.at(1, r).cols(at, 32), lse.rows(at, 32).slice(0, r, groups, run),
                         Engine::dve);
    nc_.dma_store(lse_.rows(first, static_cast<int64_t>(n) * p).reshape({groups, p, run}), turned);
  }

  void store_nothing(int64_t head, const Piece& query) {
    const int p = static_cast<int>(query.count);
    const Tile out = results_.tile(p, {static_cast<int>(a_.value_depth)}, out_.dtype),
               lse = small_.tile(p, {1}, DType::float32);
    nc_.memset(out, 0.0f);
    nc_.memset(lse, -INFINITY);
    nc_.dma_store(out_.hbm.box(out_.at(head / a_.heads, head % a_.heads, query.begin), {p, a_.value_depth},
                               {out_.row_step, 1}),
                  out);
    nc_.dma_store(lse_.rows(head * a_.queries + query.begin, p), lse);
  }

  NeuronCore& nc_;
  const AttentionShape& a_;
  const DType dtype_;
  const int64_t width_, chunk_keys_, section_keys_;  // a chunk of turned weights fills a bank of PSUM
  const Runs runs_;
  const HeadRows out_;
  const Hbm lse_;
  TilePool query_rows_, query_pool_, scores_, weights_, turned_, accumulators_, results_, small_, running_;
  Edges edges_;
  TilePool statistics_tiles_, wide_, wide_turned_;
  TilePool scores_psum_, turned_psum_, out_psum_;
  std::optional<Masks> masks_;
  std::shared_ptr<const Statistics> statistics_;
  Sections sections_;
  int64_t queries_head_ = -1;
  Piece queries_{0, 0};  // the group that turned_queries_ holds
  Tile turned_queries_, group_out_;
  Tile negative_max_, sum_, accumulator_;  // of the query tile that the stage works on
};

}  // namespace

void emit_attention_pipeline(const NodeContext& c, const AttentionShape& a) { Pipeline(c, a).run(); }

}  // namespace heddle::systolic
