#include "systolic/isa/allocator.h"

#include <algorithm>

namespace heddle::systolic {

std::optional<Allocator::Place> Allocator::take(int64_t bytes) {
  const int64_t size = std::max(rounded(bytes), alignment_);
  int64_t begin = 0;
  auto at = used_.begin();
  for (; at != used_.end() && at->begin - begin < size; ++at) begin = at->end;
  if (begin + size > bytes_) return std::nullopt;
  used_.insert(at, Range{begin, begin + size, 0});
  Place place{begin, {}};
  // Ghosts under the new place hand over to it; what sticks out stays.
  std::vector<Range> left;
  for (const Range& g : ghosts_) {
    if (g.end <= begin || g.begin >= begin + size) {
      left.push_back(g);
      continue;
    }
    place.previous.push_back(g.tile);
    if (g.begin < begin) left.push_back({g.begin, begin, g.tile});
    if (g.end > begin + size) left.push_back({begin + size, g.end, g.tile});
  }
  ghosts_ = std::move(left);
  std::sort(place.previous.begin(), place.previous.end());
  place.previous.erase(std::unique(place.previous.begin(), place.previous.end()), place.previous.end());
  return place;
}

void Allocator::give(int64_t address, int64_t bytes, uint32_t tile) {
  const int64_t size = std::max(rounded(bytes), alignment_);
  std::erase_if(used_, [&](const Range& r) { return r.begin == address; });
  ghosts_.push_back({address, address + size, tile});
}

int64_t Allocator::largest_free() const {
  int64_t begin = 0, best = 0;
  for (const Range& r : used_) best = std::max(best, r.begin - begin), begin = r.end;
  return std::max(best, bytes_ - begin);
}

}  // namespace heddle::systolic
