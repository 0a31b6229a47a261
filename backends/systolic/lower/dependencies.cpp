#include "systolic/lower/dependencies.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>

#include "systolic/isa/builder_impl.h"
#include "systolic/isa/large_vector.h"

namespace heddle::systolic {
namespace {

// ---- tiles
// -------------------------------------------------------------------------------------------------------------

struct TileBox {
  uint32_t first_byte, end_byte;
  uint8_t first_partition, end_partition;

  bool meets(const TileBox& o) const {
    return first_byte < o.end_byte && o.first_byte < end_byte && first_partition < o.end_partition &&
           o.first_partition < end_partition;
  }
  bool covers(const TileBox& o) const {
    return first_byte <= o.first_byte && end_byte >= o.end_byte && first_partition <= o.first_partition &&
           end_partition >= o.end_partition;
  }
};

TileBox box_of(const View& v) {
  const ByteRange bytes = byte_range(v);
  return {bytes.first, bytes.end, v.partition_start, static_cast<uint8_t>(v.partition_start + v.partitions)};
}

// Whether a view touches every byte of its box, so that writing it makes older writes irrelevant.
bool is_solid(const View& v) {
  int64_t stride = 1;
  for (size_t a = v.rank; a-- > 0;) {
    if (v.size[a] != 1 && v.stride[a] != stride) return false;
    stride *= v.size[a];
  }
  return true;
}

template <class Box>
struct Access {
  Box box;
  uint32_t instruction;
};

template <class Box>
struct History {
  std::vector<Access<Box>> writers, readers;
};

// Room for lists that have outgrown their own, by powers of two.
class AccessPool {
 public:
  using Item = Access<TileBox>;
  Item* take(uint32_t capacity) {
    auto& free = free_[static_cast<size_t>(std::countr_zero(capacity))];
    if (!free.empty()) {
      Item* const items = free.back();
      free.pop_back();
      return items;
    }
    if (left_ < capacity) {
      left_ = std::max(capacity, block_items);
      blocks_.push_back(std::make_unique_for_overwrite<Item[]>(left_));
      next_ = blocks_.back().get();
    }
    Item* const items = next_;
    next_ += capacity, left_ -= capacity;
    return items;
  }
  void give(Item* items, uint32_t capacity) {
    free_[static_cast<size_t>(std::countr_zero(capacity))].push_back(items);
  }

 private:
  static constexpr uint32_t block_items = 4096;
  std::array<std::vector<Item*>, 32> free_;
  std::vector<std::unique_ptr<Item[]>> blocks_;
  Item* next_ = nullptr;
  uint32_t left_ = 0;
};

// What touched a tile: two accesses most often.
class TileAccesses {
 public:
  using Item = Access<TileBox>;
  const Item* begin() const { return items(); }
  const Item* end() const { return items() + size_; }
  bool empty() const { return size_ == 0; }
  void add(const Item& item, AccessPool& pool) {
    if (size_ == capacity_) {
      Item* const grown = pool.take(2 * capacity_);
      std::copy(begin(), end(), grown);
      if (capacity_ > own) pool.give(room_, capacity_);
      room_ = grown, capacity_ *= 2;
    }
    items()[size_++] = item;
  }
  template <class F>
  void erase_if(const F& f) {
    size_ = static_cast<uint32_t>(std::remove_if(items(), items() + size_, f) - items());
  }

 private:
  static constexpr uint32_t own = 2;
  Item* items() { return capacity_ == own ? own_.data() : room_; }
  const Item* items() const { return capacity_ == own ? own_.data() : room_; }
  std::array<Item, own> own_{};
  Item* room_ = nullptr;
  uint32_t size_ = 0, capacity_ = own;
};

struct TileHistory {
  TileAccesses writers, readers;
};

// ---- HBM
// ---------------------------------------------------------------------------------------------------------------

// Bytes [first, end), and of these only the columns [left, right) of rows of `pitch` bytes; pitch 0: all.
struct RegionBox {
  int64_t first, end;
  int64_t pitch, left, right;
  bool solid;  // every byte of the box belongs to the region

  bool meets(const RegionBox& o) const {
    if (first >= o.end || o.first >= end) return false;
    return pitch == 0 || pitch != o.pitch || (left < o.right && o.left < right);
  }
  bool covers(const RegionBox& o) const {
    if (!solid || first > o.first || end < o.end) return false;
    return pitch == 0 || (pitch == o.pitch && left <= o.left && right >= o.right);
  }
};

RegionBox box_of(const Region& r, const Value& value) {
  const auto width = static_cast<int64_t>(size_of(r.dtype));
  if (r.dynamic) return {0, static_cast<int64_t>(value.bytes()), 0, 0, 0, false};
  // Dimensions that step, innermost first.
  std::array<std::pair<int64_t, int64_t>, region_rank_max> dims;  // stride, size
  size_t n = 0;
  int64_t last = r.offset;
  for (size_t a = 0; a < r.rank; ++a) {
    last += (r.size[a] - 1) * r.stride[a];
    if (r.size[a] == 1 || r.stride[a] == 0) continue;
    size_t at = n++;
    for (; at > 0 && dims[at - 1].first > r.stride[a]; --at) dims[at] = dims[at - 1];
    dims[at] = {r.stride[a], r.size[a]};
  }
  RegionBox box{r.offset * width, (last + 1) * width, 0, 0, 0, false};
  int64_t run = 1;
  size_t d = 0;
  while (d < n && dims[d].first == run) run *= dims[d++].second;
  if (d == n) {  // one contiguous run
    box.solid = true;
    return box;
  }
  const int64_t pitch = dims[d].first;
  int64_t rows = dims[d].second;
  const int64_t left = r.offset % pitch;
  size_t e = d + 1;
  while (e < n && dims[e].first == pitch * rows) rows *= dims[e++].second;
  if (left + run <= pitch) {
    box.pitch = pitch * width, box.left = left * width, box.right = (left + run) * width;
    box.solid = e == n;
  }
  return box;
}

struct ValueHistory {
  int64_t bucket_bytes = 1;
  std::vector<History<RegionBox>> bucket;
  bool written = false;  // somewhere in the stream
};

constexpr int64_t buckets_max = 256, bucket_bytes_min = 65536;

// ---- the walk
// ----------------------------------------------------------------------------------------------------------

class Walk {
 public:
  explicit Walk(const Stream& stream)
      : stream_(stream),
        tile_(stream.tiles.size()),
        value_(stream.values.size()),
        edge_to_(stream.instructions.size(), none) {
    for (const Instruction& i : stream.instructions) {
      const uint32_t target = written_region(i);
      if (target != none) value_[storage(target)].written = true;
    }
    for (size_t v = 0; v < value_.size(); ++v) {
      if (!value_[v].written) continue;
      const auto bytes = static_cast<int64_t>(stream.values[v].bytes());
      const int64_t buckets = std::clamp(bytes / bucket_bytes_min, int64_t{1}, buckets_max);
      value_[v].bucket_bytes = (bytes + buckets - 1) / buckets;
      value_[v].bucket.resize(static_cast<size_t>(buckets));
    }
  }

  Dependencies run() {
    const auto n = static_cast<uint32_t>(stream_.instructions.size());
    reserve_large(made_.first, size_t{n} + 1);
    reserve_large(made_.edge, size_t{n} * 5);
    std::array<uint32_t, engine_count> last_pinned;
    last_pinned.fill(none);
    for (current_ = 0; current_ < n; ++current_) {
      begin_ = static_cast<uint32_t>(made_.edge.size());
      made_.first.push_back(begin_);
      const Instruction& i = stream_.instructions[current_];
      // Reads first: an instruction that reads what it overwrites does not wait for itself.
      for (const View& v : stream_.views_of(i))
        if (!is_written(v.role)) read(i, v);
      const uint32_t target = written_region(i);
      if (i.region != none && i.region != target) read_region(i.region);
      for (const View& v : stream_.views_of(i))
        if (is_written(v.role)) write(i, v);
      if (target != none) write_region(target, i.opcode == Opcode::dma_scatter);
      if (i.pinned) {
        uint32_t& last = last_pinned[static_cast<size_t>(i.engine)];
        if (last != none) add(last, Dependence::pinned);
        last = current_;
      }
    }
    made_.first.push_back(static_cast<uint32_t>(made_.edge.size()));
    return std::move(made_);
  }

 private:
  static uint32_t written_region(const Instruction& i) {
    return i.opcode == Opcode::dma_store || i.opcode == Opcode::dma_scatter ? i.region : i.region_out;
  }
  uint32_t storage(uint32_t region) const { return stream_.values[stream_.regions[region].value].storage; }

  // One edge per producer, of the strongest kind (data before order).
  void add(uint32_t producer, Dependence kind) {
    const uint32_t known = edge_to_[producer];
    if (known < made_.edge.size() && known >= begin_ && made_.edge[known].producer == producer) {
      made_.edge[known].kind = std::min(Dependence{made_.edge[known].kind}, kind);
      return;
    }
    edge_to_[producer] = static_cast<uint32_t>(made_.edge.size());
    Edge edge;
    edge.producer = producer, edge.kind = kind;
    append(made_.edge, edge);
  }

  // Everything that touched the tiles that lay where this one lies, back to one that was used at all.
  void inherit(uint32_t tile) {
    const TileInfo& info = stream_.tiles[tile];
    for (uint32_t p = 0; p < info.previous_count; ++p) {
      const uint32_t before = stream_.previous[info.first_previous + p];
      const TileHistory& old = tile_[before];
      if (old.writers.empty() && old.readers.empty()) inherit(before);
      // Another tile in the same bytes may be cut differently: everything of it counts.
      for (const auto& w : old.writers) add(w.instruction, Dependence::order);
      for (const auto& r : old.readers) add(r.instruction, Dependence::order);
    }
  }

  void read(const Instruction& i, const View& v) {
    TileHistory& h = tile_[v.tile];
    const TileBox box = box_of(v);
    const Dependence kind =
        i.opcode == Opcode::matmul && v.role == Role::stationary ? Dependence::weights : Dependence::data;
    for (const auto& w : h.writers)
      if (w.box.meets(box)) add(w.instruction, kind);
    h.readers.add({box, current_}, pool_);
  }

  void write(const Instruction& i, const View& v) {
    TileHistory& h = tile_[v.tile];
    const TileBox box = box_of(v);
    const bool accumulates = i.opcode == Opcode::matmul && !i.start;
    const bool reads_too =
        i.opcode == Opcode::tensor_copy_predicated || i.skip || (is_dma(i.opcode) && i.op0 == AluOp::add);
    bool within = false;  // some earlier write of this tile covers the box: it waited for the tiles before
    for (const auto& w : h.writers) {
      if (!w.box.meets(box)) continue;
      within = within || w.box.covers(box);
      add(w.instruction, accumulates ? Dependence::accumulate
                         : reads_too ? Dependence::data
                                     : Dependence::order);
    }
    for (const auto& r : h.readers)
      if (r.box.meets(box) && r.instruction != current_) add(r.instruction, Dependence::order);
    if (!within) inherit(v.tile);
    if (!accumulates && !reads_too && is_solid(v)) {
      const auto covered = [&](const auto& a) { return box.covers(a.box) && a.instruction != current_; };
      h.writers.erase_if(covered);
      h.readers.erase_if(covered);
    } else if (accumulates) {
      // The last matmul of a group stands for all: they end in order.
      h.writers.erase_if([&](const auto& w) {
        return box.covers(w.box) && stream_.instructions[w.instruction].opcode == Opcode::matmul;
      });
    }
    h.writers.add({box, current_}, pool_);
  }

  template <class F>
  void each_bucket(ValueHistory& value, const RegionBox& box, const F& f) {
    const auto last = static_cast<size_t>(std::max(box.end - 1, box.first) / value.bucket_bytes);
    for (auto b = static_cast<size_t>(box.first / value.bucket_bytes); b <= last && b < value.bucket.size();
         ++b)
      f(value.bucket[b]);
  }

  void read_region(uint32_t region) {
    ValueHistory& value = value_[storage(region)];
    if (!value.written) return;
    const Region& r = stream_.regions[region];
    RegionBox box = box_of(r, stream_.values[r.value]);
    if (stream_.instructions[current_].opcode == Opcode::dma_gather)
      box.end = box_of_all(r), box.first = 0, box.pitch = 0;
    each_bucket(value, box, [&](History<RegionBox>& h) {
      for (const auto& w : h.writers)
        if (w.box.meets(box)) add(w.instruction, Dependence::data);
      h.readers.push_back({box, current_});
    });
  }

  void write_region(uint32_t region, bool scatter) {
    ValueHistory& value = value_[storage(region)];
    const Region& r = stream_.regions[region];
    RegionBox box = box_of(r, stream_.values[r.value]);
    const Instruction& i = stream_.instructions[current_];
    const bool partial = scatter || i.op0 == AluOp::add;
    if (scatter) box.first = 0, box.end = box_of_all(r), box.pitch = 0;
    if (partial || r.dynamic) box.solid = false;
    each_bucket(value, box, [&](History<RegionBox>& h) {
      for (const auto& w : h.writers)
        if (w.box.meets(box)) add(w.instruction, partial ? Dependence::data : Dependence::order);
      for (const auto& reader : h.readers)
        if (reader.box.meets(box) && reader.instruction != current_)
          add(reader.instruction, Dependence::order);
      const auto covered = [&](const auto& a) { return box.covers(a.box); };
      std::erase_if(h.writers, covered);
      std::erase_if(h.readers, covered);
      h.writers.push_back({box, current_});
    });
  }
  int64_t box_of_all(const Region& r) const { return static_cast<int64_t>(stream_.values[r.value].bytes()); }

  const Stream& stream_;
  std::vector<TileHistory> tile_;
  AccessPool pool_;
  std::vector<ValueHistory> value_;
  std::vector<uint32_t> edge_to_;  // per producer: its last edge
  Dependencies made_;
  uint32_t current_ = 0, begin_ = 0;
};

}  // namespace

Dependencies find_dependencies(const Stream& stream) { return Walk(stream).run(); }

}  // namespace heddle::systolic
