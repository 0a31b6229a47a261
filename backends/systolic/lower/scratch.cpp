#include "systolic/lower/scratch.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

constexpr uint64_t alignment = 64;

struct Life {
  uint32_t value;
  uint32_t first = none, last = 0;  // positions
  uint64_t bytes = 0, offset = 0;
};

}  // namespace

ScratchLayout plan_scratch(const Stream& stream, std::span<const ValueLife> lives) {
  ScratchLayout layout;
  layout.offset.assign(stream.values.size(), 0);
  std::vector<Life> life(stream.values.size());
  for (size_t v = 0; v < life.size(); ++v)
    life[v] = {static_cast<uint32_t>(v), lives[v].first, lives[v].last};
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
      if (other->last < l.first || l.last < other->first) continue;
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
