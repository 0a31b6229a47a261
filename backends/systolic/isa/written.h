// Which part of a tile has been written.
#pragma once

#include <cstdint>
#include <vector>

namespace heddle::systolic {

// Partitions [first_partition, end_partition), and of each the bytes [first_byte, end_byte). A view with
// strides counts as all bytes from its first to its last.
struct WrittenBox {
  uint32_t first_partition = 0, end_partition = 0, first_byte = 0, end_byte = 0;

  bool covers(const WrittenBox& o) const {
    return first_partition <= o.first_partition && end_partition >= o.end_partition &&
           first_byte <= o.first_byte && end_byte >= o.end_byte;
  }
  bool meets(const WrittenBox& o) const {
    return first_partition < o.end_partition && end_partition > o.first_partition &&
           first_byte < o.end_byte && end_byte > o.first_byte;
  }
};

// The union of boxes. Most tiles are written by boxes that grow one rectangle: that is one box here, and no
// allocation.
class WrittenBoxes {
 public:
  void add(const WrittenBox& box);
  bool covers(const WrittenBox& box) const {
    return last_.covers(box) || (!others_.empty() && covered_together(box));
  }

 private:
  bool covered_together(const WrittenBox& box) const;
  WrittenBox last_;  // empty at first
  std::vector<WrittenBox> others_;
};

}  // namespace heddle::systolic
