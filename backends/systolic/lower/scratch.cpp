#include "systolic/lower/scratch.h"

#include <algorithm>
#include <limits>

namespace heddle::systolic {
namespace {

constexpr uint64_t alignment = 64;

struct Life {
  uint32_t value;
  size_t first = std::numeric_limits<size_t>::max(), last = 0;
  uint64_t bytes = 0, offset = 0;
};

}  // namespace

ScratchLayout plan_scratch(const Stream& stream, std::span<const uint32_t> order, bool share) {
  ScratchLayout layout;
  layout.offset.assign(stream.values.size(), 0);
  std::vector<Life> life(stream.values.size());
  for (size_t v = 0; v < life.size(); ++v) life[v] = {static_cast<uint32_t>(v)};
  const auto touch = [&](uint32_t region, size_t position) {
    if (region == none) return;
    Life& l = life[stream.values[stream.regions[region].value].storage];
    l.first = std::min(l.first, position);
    l.last = std::max(l.last, position);
  };
  const auto instruction_at = [&](size_t position) -> const Instruction& {
    return stream.instructions[order.empty() ? position : order[position]];
  };
  std::vector<size_t> last_use(stream.tiles.size(), 0);
  for (size_t position = 0; position < stream.instructions.size(); ++position)
    for (const View& view : stream.views_of(instruction_at(position))) last_use[view.tile] = position;
  for (size_t position = 0; position < stream.instructions.size(); ++position) {
    const Instruction& i = instruction_at(position);
    touch(i.region, position), touch(i.region_out, position);
    // A load may become a view: its tile then reads the value's memory for as long as the tile is used.
    if (i.opcode != Opcode::dma_load) continue;
    for (const View& view : stream.views_of(i))
      if (is_written(view.role)) touch(i.region, last_use[view.tile]);
  }
  std::vector<Life> wanted;
  for (const Value& value : stream.values) {
    Life& l = life[value.storage];
    l.bytes = std::max(l.bytes, (value.bytes() + alignment - 1) / alignment * alignment);
  }
  for (size_t v = 0; v < life.size(); ++v)
    if (stream.values[v].scratch && stream.values[v].storage == v && life[v].first <= life[v].last)
      wanted.push_back(life[v]);

  // Largest first; each at the lowest place that no value alive at the same time holds.
  std::sort(wanted.begin(), wanted.end(), [](const Life& a, const Life& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.value < b.value;
  });
  std::vector<const Life*> placed;  // by offset
  for (Life& l : wanted) {
    uint64_t at = 0;
    for (const Life* other : placed) {
      if (share && (other->last < l.first || l.last < other->first)) continue;
      if (at + l.bytes <= other->offset) break;
      at = std::max(at, other->offset + other->bytes);
    }
    l.offset = at;
    layout.bytes = std::max(layout.bytes, at + l.bytes);
    layout.offset[l.value] = at;
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &l,
                                   [](const Life* a, const Life* b) { return a->offset < b->offset; }),
                  &l);
  }
  for (size_t v = 0; v < stream.values.size(); ++v)
    layout.offset[v] = layout.offset[stream.values[v].storage];
  return layout;
}

}  // namespace heddle::systolic
