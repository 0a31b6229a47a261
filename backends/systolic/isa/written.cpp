#include "systolic/isa/written.h"

#include <algorithm>
#include <cstddef>

namespace heddle::systolic {
namespace {

// The union where it is a box again: one covers the other, or both are as wide (as high) and touch.
bool merge(const WrittenBox& a, const WrittenBox& b, WrittenBox& both) {
  if (a.covers(b)) return both = a, true;
  if (b.covers(a)) return both = b, true;
  const bool same_bytes = a.first_byte == b.first_byte && a.end_byte == b.end_byte;
  const bool same_rows = a.first_partition == b.first_partition && a.end_partition == b.end_partition;
  const bool rows_touch = a.first_partition <= b.end_partition && b.first_partition <= a.end_partition;
  const bool bytes_touch = a.first_byte <= b.end_byte && b.first_byte <= a.end_byte;
  if (!(same_bytes && rows_touch) && !(same_rows && bytes_touch)) return false;
  both = {std::min(a.first_partition, b.first_partition), std::max(a.end_partition, b.end_partition),
          std::min(a.first_byte, b.first_byte), std::max(a.end_byte, b.end_byte)};
  return true;
}

struct Range {
  uint32_t first, end;
};

// Whether the ranges cover [first, end) together.
bool cover(std::vector<Range>& ranges, uint32_t first, uint32_t end) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const Range& r : ranges) {
    if (r.first > first) break;
    first = std::max(first, r.end);
  }
  return first >= end;
}

}  // namespace

void WrittenBoxes::add(const WrittenBox& box) {
  if (last_.end_partition == 0) {
    last_ = box;
    return;
  }
  if (!merge(last_, box, last_)) {
    others_.push_back(last_);
    last_ = box;
  }
  // A box that has grown may complete a rectangle with others.
  for (size_t i = 0; i < others_.size();) {
    const bool merged = merge(last_, others_[i], last_);
    if (merged) others_.erase(others_.begin() + static_cast<std::ptrdiff_t>(i));
    i = merged ? 0 : i + 1;
  }
}

// Each byte of the box is written on one of its partitions at least, and each partition at one of its bytes:
// a corner that nobody wrote is not noticed, because kernels copy the last, shorter block of several together
// with the others.
bool WrittenBoxes::covered_together(const WrittenBox& box) const {
  std::vector<Range> bytes, partitions;
  const auto note = [&](const WrittenBox& w) {
    if (!w.meets(box)) return;
    bytes.push_back({w.first_byte, w.end_byte});
    partitions.push_back({w.first_partition, w.end_partition});
  };
  note(last_);
  for (const WrittenBox& w : others_) note(w);
  return cover(bytes, box.first_byte, box.end_byte) &&
         cover(partitions, box.first_partition, box.end_partition);
}

}  // namespace heddle::systolic
