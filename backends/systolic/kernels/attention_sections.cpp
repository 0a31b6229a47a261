#include "systolic/kernels/attention_sections.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

constexpr int64_t fewest_sections = 6;
constexpr int rows_in_flight = 4;  // units of keys that are loaded and not yet turned

}  // namespace

void load_blocks(NeuronCore& nc, const Tile& tile, const HeadRows& x, int64_t start, int64_t count,
                 int64_t run) {
  const int depth = static_cast<int>(x.depth);
  const int64_t groups = count / (block_rows * run), rest = count % (block_rows * run);
  const int whole = static_cast<int>(groups * run);
  if (whole > 0)
    nc.dma_load(tile.cols(0, whole * depth).reshape({static_cast<int>(groups), static_cast<int>(run), depth}),
                x.hbm.box(start, {block_rows, groups, run, depth},
                          {run * x.row_step, block_rows * run * x.row_step, x.row_step, 1}));
  if (rest > 0)
    nc.dma_load(tile.rows(0, static_cast<int>(rest)).cols(whole * depth, depth),
                x.hbm.box(start + whole * block_rows * x.row_step, {rest, depth}, {x.row_step, 1}));
}

int64_t rows_together(int64_t loaded, int64_t run, int64_t most) {
  const int64_t group = block_rows * std::max<int64_t>(run, 2);
  return std::min(std::max(loaded / 4 / group * group, group), std::max(most / group * group, group));
}

Tile turn_blocks(NeuronCore& nc, TilePool& psum, const Tile& rows, int64_t count, int64_t depth) {
  const int d = static_cast<int>(depth);
  const Tile turned = psum.tile(d, {static_cast<int>(count)}, rows.dtype());
  for (const Piece& block : pieces(count, block_rows)) {
    const int at = static_cast<int>(block.begin), n = static_cast<int>(block.count);
    nc.nc_transpose(turned.cols(at, n), rows.rows(0, n).cols(at / static_cast<int>(block_rows) * d, d));
  }
  return turned;
}

Sections::Sections(NeuronCore& nc, const AttentionShape& a, TilePool& turned, int64_t run, int64_t most)
    : nc_(nc), a_(a), turned_(turned), run_(run), most_(most), rows_(nc.sbuf_pool("keys", rows_in_flight)) {}

void Sections::reserve(int64_t section_rows, int64_t bytes) {
  section_rows_ = section_rows;
  const int64_t rows = std::min(section_rows, a_.keys);
  const int64_t section_bytes =
      (rows + blocks_of(rows) * a_.value_depth) * static_cast<int64_t>(size_of(a_.k.dtype));
  const int64_t of_head = (a_.keys + section_rows - 1) / section_rows;
  const int64_t count =
      std::clamp(bytes / section_bytes, fewest_sections, std::max(fewest_sections, 2 * of_head));
  for (int64_t i = 0; i < count; ++i) {
    key_pools_.push_back(nc_.sbuf_pool("keys.turned", 1));
    value_pools_.push_back(nc_.sbuf_pool("values", 1));
  }
  sections_.resize(static_cast<size_t>(count));
}

Sections::Section& Sections::at(int64_t head, int64_t begin) {
  const int64_t kv = head / a_.heads * a_.kv_heads + head % a_.heads / (a_.heads / a_.kv_heads);
  size_t at = 0;
  for (size_t i = 0; i < sections_.size(); ++i) {
    if (sections_[i].kv_head == kv && sections_[i].begin == begin) {
      at = i;
      break;
    }
    if (sections_[i].used < sections_[at].used) at = i;
  }
  Section& s = sections_[at];
  if (s.kv_head != kv || s.begin != begin) s = {kv, begin, 0, 0, 0, at, {}, {}};
  s.used = ++clock_;
  return s;
}

int64_t Sections::rows_of(const Section& s) const { return std::min(section_rows_, a_.keys - s.begin); }

// The next rows to load: whole groups of runs, few at first so that work can begin, then a bank of PSUM full.
Piece Sections::unit(const Section& s, int64_t loaded) const {
  return {loaded, std::min(rows_together(loaded, run_, most_), rows_of(s) - loaded)};
}

void Sections::need_keys(Section& s, int64_t rows) {
  while (s.key_rows < rows) {
    const Piece u = unit(s, s.key_rows);
    if (u.begin == 0)
      s.keys =
          key_pools_[s.pool].tile(static_cast<int>(a_.depth), {static_cast<int>(rows_of(s))}, a_.k.dtype);
    const Tile loaded = rows_.tile(static_cast<int>(std::min(block_rows, u.count)),
                                   {static_cast<int>(blocks_of(u.count) * a_.depth)}, a_.k.dtype);
    load_blocks(nc_, loaded, a_.k,
                a_.k.at(s.kv_head / a_.kv_heads, s.kv_head % a_.kv_heads, s.begin + u.begin), u.count, run_);
    // The scalar engine has nothing else to do while the first keys arrive.
    const Engine engine = clock_ > 1 && ++copies_ % 2 == 0 ? Engine::dve : Engine::act;
    nc_.tensor_copy(s.keys.cols(static_cast<int>(u.begin), static_cast<int>(u.count)),
                    turn_blocks(nc_, turned_, loaded, u.count, a_.depth), engine);
    s.key_rows += u.count;
  }
}

void Sections::need_values(Section& s, int64_t rows) {
  const int depth = static_cast<int>(a_.value_depth);
  while (s.value_rows < rows) {
    const Piece u = unit(s, s.value_rows);
    if (u.begin == 0)
      s.values = value_pools_[s.pool].tile(static_cast<int>(std::min(block_rows, rows_of(s))),
                                           {static_cast<int>(blocks_of(rows_of(s))) * depth}, a_.v.dtype);
    const Tile part = s.values.rows(0, static_cast<int>(std::min(block_rows, u.count)))
                          .cols(static_cast<int>(u.begin / block_rows) * depth,
                                static_cast<int>(blocks_of(u.count)) * depth);
    load_blocks(nc_, part, a_.v, a_.v.at(s.kv_head / a_.kv_heads, s.kv_head % a_.kv_heads, s.begin + u.begin),
                u.count, run_);
    s.value_rows += u.count;
  }
}

}  // namespace heddle::systolic
