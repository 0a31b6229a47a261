// First-fit addresses in one on-chip memory, and who lay there before.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace heddle::systolic {

// Addresses are bytes within a partition: every tile spans the partitions, so one number places it.
class Allocator {
 public:
  Allocator(int64_t bytes, int64_t alignment) : bytes_(bytes), alignment_(alignment) {}

  struct Place {
    int64_t address;
    std::vector<uint32_t> previous;  // the tiles whose memory this place takes over
  };
  // Nothing when no free piece is large enough.
  std::optional<Place> take(int64_t bytes);
  // Gives back [address, address + bytes), whose last tile was `tile`.
  void give(int64_t address, int64_t bytes, uint32_t tile);
  int64_t largest_free() const;
  int64_t capacity() const { return bytes_; }
  int64_t rounded(int64_t bytes) const { return (bytes + alignment_ - 1) / alignment_ * alignment_; }

 private:
  struct Range {
    int64_t begin, end;
    uint32_t tile;
  };
  int64_t bytes_, alignment_;
  std::vector<Range> used_;    // sorted, disjoint
  std::vector<Range> ghosts_;  // memory given back whose last readers may still run, in simulated time
};

}  // namespace heddle::systolic
