#include "systolic/engines/placement.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <queue>

namespace heddle::systolic {
namespace {

// ---- accesses to HBM

struct Bytes {
  int64_t first, end;
  bool meets(const Bytes& o) const { return first < o.end && o.first < end; }
};
Bytes bytes_of(const Region& r) {
  int64_t last = r.offset;
  for (size_t a = 0; a < r.rank; ++a) last += (r.size[a] - 1) * r.stride[a];
  const auto width = static_cast<int64_t>(size_of(r.dtype));
  return {r.offset * width, (last + 1) * width};
}

struct Access {
  uint32_t begin, end;  // positions
  uint32_t instruction;
  bool writes;
  Bytes bytes;
};

// All accesses to one storage, by the position at which they begin.
class AccessList {
 public:
  void add(const Access& a) { list_.push_back(a); }
  // The access of that instruction, which begins at `position`, lasts longer.
  void extend(uint32_t position, uint32_t instruction, uint32_t end) {
    for (auto a = at(position); a != list_.end() && a->begin == position; ++a)
      if (a->instruction == instruction) {
        a->end = std::max(a->end, end);
        longest_ = std::max(longest_, a->end - a->begin);
      }
  }
  // Whether an access to some of the bytes, other than by `except`, lies within positions [from, to].
  bool touched(const Bytes& bytes, uint32_t from, uint32_t to, uint32_t except, bool writes_only) const {
    for (auto a = at(from > longest_ ? from - longest_ : 0); a != list_.end() && a->begin <= to; ++a)
      if (a->end >= from && a->instruction != except && (a->writes || !writes_only) && a->bytes.meets(bytes))
        return true;
    return false;
  }
  template <class F>
  void each(const F& f) const {
    for (const Access& a : list_) f(a);
  }
  bool ever_written() const {
    return std::any_of(list_.begin(), list_.end(), [](const Access& a) { return a.writes; });
  }

 private:
  std::vector<Access>::const_iterator at(uint32_t position) const {
    return std::lower_bound(list_.begin(), list_.end(), position,
                            [](const Access& a, uint32_t p) { return a.begin < p; });
  }
  std::vector<Access>::iterator at(uint32_t position) {
    return std::lower_bound(list_.begin(), list_.end(), position,
                            [](const Access& a, uint32_t p) { return a.begin < p; });
  }
  std::vector<Access> list_;
  uint32_t longest_ = 0;  // end - begin of any
};

// Whether the box, from axis `begin` on, is one run of elements.
bool is_dense(const auto& box, size_t begin) {
  int64_t stride = 1;
  for (size_t a = box.rank; a-- > begin;) {
    if (box.size[a] != 1 && box.stride[a] != stride) return false;
    stride *= box.size[a];
  }
  return true;
}

// ---- placement

class Placer {
 public:
  Placer(const Stream& stream, std::span<const uint32_t> order) : stream_(stream), order_(order) {
    made_.done.assign(stream.instructions.size(), false);
    group_.resize(stream.tiles.size());
    parent_.resize(stream.tiles.size());
    std::iota(parent_.begin(), parent_.end(), 0u);
    access_.resize(stream.values.size());
  }

  Placement run() {
    collect();
    for (uint32_t position = 0; position < order_.size(); ++position) {
      const Instruction& i = stream_.instructions[order_[position]];
      if (i.opcode == Opcode::dma_load) view_of_load(i, position);
      if (i.opcode == Opcode::tensor_copy || i.opcode == Opcode::dma_copy) join_copy(i, position);
      if (i.opcode == Opcode::dma_store) view_of_store(i, position);
    }
    allocate();
    lives();
    return std::move(made_);
  }

 private:
  // Tiles that share their bytes; found through any of them.
  struct Group {
    uint32_t first = none, last = 0;  // positions of their uses
    uint32_t last_write = 0, writes = 0;
    bool only_multiplied = true;  // read by the tensor engine alone
    bool accumulates = false;     // products add up in it
    bool in_hbm = false;
    TilePlace place;
  };
  uint32_t root(uint32_t tile) {
    while (parent_[tile] != tile) tile = parent_[tile] = parent_[parent_[tile]];
    return tile;
  }
  Group& group(uint32_t tile) { return group_[root(tile)]; }
  AccessList& accesses(const Region& r) { return access_[stream_.values[r.value].storage]; }

  void collect() {
    const auto note = [&](uint32_t region, uint32_t position, bool writes) {
      const Region& r = stream_.regions[region];
      const Value& value = stream_.values[r.value];
      const Instruction& i = stream_.instructions[order_[position]];
      const bool anywhere = r.dynamic || i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_scatter;
      accesses(r).add({position, position, order_[position], writes,
                       anywhere ? Bytes{0, static_cast<int64_t>(value.bytes())} : bytes_of(r)});
    };
    for (uint32_t position = 0; position < order_.size(); ++position) {
      const Instruction& i = stream_.instructions[order_[position]];
      for (const View& v : stream_.views_of(i)) {
        Group& g = group_[v.tile];
        g.first = std::min(g.first, position);
        g.last = position;
        if (is_written(v.role))
          g.last_write = position, ++g.writes, g.accumulates |= i.opcode == Opcode::matmul && !i.start;
        else if (i.opcode != Opcode::matmul)
          g.only_multiplied = false;
      }
      const bool stores = i.opcode == Opcode::dma_store || i.opcode == Opcode::dma_scatter;
      if (i.region != none) note(i.region, position, stores);
      if (i.region_out != none) note(i.region_out, position, true);
    }
    for (size_t v = 0; v < stream_.values.size(); ++v)
      if (!stream_.values[v].scratch && stream_.values[v].storage == v && !access_[v].ever_written())
        inputs_[stream_.values[v].bytes()].push_back(static_cast<uint32_t>(v));
  }

  // Whether the view is its whole tile, element by element.
  bool is_whole(const View& v) const {
    const TileInfo& t = stream_.tiles[v.tile];
    return v.dtype == t.dtype && v.partitions == t.partitions && v.partition_start == 0 && v.offset == 0 &&
           v.free_elements() * static_cast<int64_t>(size_of(t.dtype)) == t.bytes && is_dense(v, 0);
  }
  // Whether whole tile and region are the same rows, one after the other; a tile can then lie in the region.
  bool fits(const View& v, const Region& r) const {
    if (!is_whole(v) || r.dtype != v.dtype || r.dynamic || r.size[0] != v.partitions || !is_dense(r, 1))
      return false;
    // One element per partition: the partitions are then what loops walk densely.
    return v.free_elements() > 1 || v.partitions == 1 || r.stride[0] == 1;
  }
  // The same for the rows of the region as columns of the tile. Products read such a tile as fast as any
  // other.
  bool fits_turned(const View& v, const Region& r) const {
    return is_whole(v) && r.dtype == v.dtype && !r.dynamic && r.rank == 2 && r.size[1] == v.partitions &&
           r.size[0] == v.free_elements() && r.stride[1] == 1;
  }
  static TilePlace place_in(const Region& r) {
    const auto width = static_cast<int64_t>(size_of(r.dtype));
    return {{1 + r.value, r.offset * width}, r.stride[0] * width, width};
  }

  void view_of_load(const Instruction& i, uint32_t position) {
    const View& v = *stream_.view_of(i, Role::out);
    const Region& r = stream_.regions[i.region];
    Group& g = group_[v.tile];
    if (g.writes != 1 || i.op0 != AluOp::bypass) return;
    if (i.transposed ? !g.only_multiplied || !fits_turned(v, r) : !fits(v, r)) return;
    if (accesses(r).touched(bytes_of(r), position, g.last, order_[position], true)) return;
    g.in_hbm = true, g.place = place_in(r);
    if (i.transposed)
      g.place.row_stride = g.place.element_stride, g.place.element_stride = place_in(r).row_stride;
    accesses(r).extend(position, order_[position], g.last);
    finish(position);
  }

  void join_copy(const Instruction& i, uint32_t position) {
    const View &to = *stream_.view_of(i, Role::out), &from = *stream_.view_of(i, Role::in0);
    if (i.op0 != AluOp::bypass || to.dtype != from.dtype || !is_whole(to) || !is_whole(from) ||
        to.partitions != from.partitions)
      return;
    const uint32_t a = root(from.tile), b = root(to.tile);
    Group &source = group_[a], &copy = group_[b];
    if (a == b || source.in_hbm || copy.in_hbm || copy.first != position) return;
    const bool constant = source.last_write < position && copy.last_write == position;
    if (!constant && source.last != position) return;
    parent_[b] = a;
    source.last = std::max(source.last, copy.last);
    source.accumulates |= copy.accumulates;
    // The copy itself writes no longer.
    if (copy.writes > 1) source.last_write = std::max(source.last_write, copy.last_write);
    finish(position);
  }

  void view_of_store(const Instruction& i, uint32_t position) {
    const View& v = *stream_.view_of(i, Role::in0);
    const Region& r = stream_.regions[i.region];
    Group& g = group(v.tile);
    if (g.in_hbm || i.op0 != AluOp::bypass || g.last_write > position || !fits(v, r)) return;
    // What is added to again and again stays together: far rows compete for the same sets of the host's
    // caches.
    if (g.accumulates && place_in(r).row_stride >= far_rows) return;
    const Bytes bytes = bytes_of(r);
    const uint32_t self = order_[position];
    AccessList& list = accesses(r);
    if (list.touched(bytes, g.first, position, self, false) ||
        list.touched(bytes, position, g.last, self, true))
      return;
    const Value& value = stream_.values[stream_.values[r.value].storage];
    if (!value.scratch) {
      // The runtime may have given a result the memory of an operand of the same size (an update in place).
      const auto operands = inputs_.find(value.bytes());
      if (operands != inputs_.end())
        for (const uint32_t operand : operands->second)
          if (access_[operand].touched(bytes, g.first, g.last, none, false)) return;
    }
    g.in_hbm = true, g.place = place_in(r);
    list.extend(position, self, g.last);
    early_.push_back({stream_.values[r.value].storage, g.first, std::max(position, g.last)});
    finish(position);
  }

  static constexpr int64_t far_rows = 2048;  // bytes

  void finish(uint32_t position) {
    made_.done[order_[position]] = true;
    ++made_.views;
  }

  // Memory from the first use to the last, of the sizes that are free the one used last: it is in the cache.
  void allocate() {
    std::vector<uint32_t> wanted;
    for (uint32_t t = 0; t < group_.size(); ++t)
      if (parent_[t] == t && !group_[t].in_hbm && group_[t].first != none) wanted.push_back(t);
    std::sort(wanted.begin(), wanted.end(),
              [&](uint32_t a, uint32_t b) { return group_[a].first < group_[b].first; });
    struct Used {
      uint32_t last;
      int64_t bytes, offset;
      bool operator>(const Used& o) const { return last > o.last; }
    };
    std::priority_queue<Used, std::vector<Used>, std::greater<>> used;
    std::map<int64_t, std::vector<int64_t>> free;  // offsets by size
    int64_t end = 0;
    for (const uint32_t t : wanted) {
      Group& g = group_[t];
      const TileInfo& info = stream_.tiles[t];
      for (; !used.empty() && used.top().last < g.first; used.pop())
        free[used.top().bytes].push_back(used.top().offset);
      int64_t bytes = rounded(int64_t{info.bytes} * info.partitions);
      int64_t offset = end;
      auto fit = free.lower_bound(bytes);
      while (fit != free.end() && fit->second.empty()) fit = free.erase(fit);
      if (fit != free.end() && fit->first <= 2 * bytes) {
        bytes = fit->first, offset = fit->second.back();
        fit->second.pop_back();
      } else {
        end += bytes;
      }
      used.push({g.last, bytes, offset});
      g.place = {{0, offset}, info.bytes, static_cast<int64_t>(size_of(info.dtype))};
    }
    made_.on_chip_bytes = static_cast<uint64_t>(end);
    made_.tile.resize(group_.size());
    for (uint32_t t = 0; t < group_.size(); ++t) made_.tile[t] = group(t).place;
  }
  // Whole cache lines, and some more, so that equal places of two tiles do not share the low address bits.
  static int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64 + 5 * 64; }

  void lives() {
    made_.life.resize(stream_.values.size());
    for (size_t v = 0; v < access_.size(); ++v)
      access_[v].each([&](const Access& a) { touch(v, a.begin, a.end); });
    for (const Early& e : early_) touch(e.storage, e.first, e.last);
  }
  void touch(size_t storage, uint32_t first, uint32_t last) {
    ValueLife& life = made_.life[storage];
    life.first = std::min(life.first, first), life.last = std::max(life.last, last);
  }

  const Stream& stream_;
  const std::span<const uint32_t> order_;
  std::vector<Group> group_;
  std::vector<uint32_t> parent_;
  std::vector<AccessList> access_;                    // by storage
  std::map<uint64_t, std::vector<uint32_t>> inputs_;  // operands of the program, by size
  struct Early {
    uint32_t storage, first, last;
  };
  std::vector<Early> early_;  // HBM that a tile lies in before it is stored
  Placement made_;
};

}  // namespace

Placement place_tiles(const Stream& stream, std::span<const uint32_t> order) {
  return Placer(stream, order).run();
}

}  // namespace heddle::systolic
