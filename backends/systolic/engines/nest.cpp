#include "systolic/engines/nest.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

// The free dimensions of one operand, consumed from the innermost.
struct Cursor {
  const HostOperand* operand;
  int next;          // dimension that is cut next
  int64_t left = 1;  // of the dimension being cut
  int64_t stride = 0;

  void refill() {
    while (left == 1 && next >= 1) {
      left = operand->size[static_cast<size_t>(next)];
      stride = operand->stride[static_cast<size_t>(next)];
      --next;
    }
  }
};

}  // namespace

bool make_nest(std::span<const HostOperand> operands, std::span<const bool> per_partition,
               bool keep_partition, Nest& nest) {
  nest = Nest{};
  nest.operands = static_cast<int>(operands.size());
  std::array<Cursor, nest_operands_max> cursor{};
  size_t leader = 0;  // some operand that is not per partition
  for (size_t o = 0; o < operands.size(); ++o) {
    cursor[o] = {&operands[o], operands[o].rank - 1};
    if (!per_partition[o]) leader = o;
  }
  const int64_t partitions = operands[leader].size[0];
  size_t rank = 0;
  for (;;) {
    int64_t cut = 0;
    for (size_t o = 0; o < operands.size(); ++o) {
      if (per_partition[o]) continue;
      cursor[o].refill();
      cut = cut == 0 ? cursor[o].left : std::min(cut, cursor[o].left);
    }
    const bool done = cursor[leader].left == 1;
    if (done) break;
    if (cut == 1 || rank == nest_rank_max - 1) return false;
    nest.size[rank] = cut;
    for (size_t o = 0; o < operands.size(); ++o) {
      if (per_partition[o]) {
        nest.stride[o][rank] = 0;
        continue;
      }
      if (cursor[o].left % cut != 0) return false;
      nest.stride[o][rank] = cursor[o].stride;
      cursor[o].left /= cut;
      cursor[o].stride *= cut;
    }
    ++rank;
  }
  for (size_t o = 0; o < operands.size(); ++o)
    if (!per_partition[o] && (cursor[o].left != 1 || operands[o].size[0] != partitions)) return false;
  nest.size[rank] = partitions;
  for (size_t o = 0; o < operands.size(); ++o) nest.stride[o][rank] = operands[o].stride[0];
  const size_t partition_axis = rank++;

  // Merge outward: a dimension whose stride continues the one inside it, for every operand.
  size_t kept = 0;
  for (size_t d = 1; d < rank; ++d) {
    bool continues = !(keep_partition && d == partition_axis);
    for (size_t o = 0; o < operands.size() && continues; ++o)
      continues = nest.stride[o][d] == nest.stride[o][kept] * nest.size[kept] || nest.size[kept] == 1;
    if (nest.size[d] == 1 && !(keep_partition && d == partition_axis)) continue;
    if (continues) {
      if (nest.size[kept] == 1)
        for (size_t o = 0; o < operands.size(); ++o) nest.stride[o][kept] = nest.stride[o][d];
      nest.size[kept] *= nest.size[d];
    } else {
      ++kept;
      nest.size[kept] = nest.size[d];
      for (size_t o = 0; o < operands.size(); ++o) nest.stride[o][kept] = nest.stride[o][d];
    }
  }
  // Rows of one element per partition, kept apart: give them a row dimension.
  if (keep_partition && partition_axis == 0) {
    nest.size[1] = nest.size[0], nest.size[0] = 1;
    for (size_t o = 0; o < operands.size(); ++o) {
      nest.stride[o][1] = nest.stride[o][0];
      nest.stride[o][0] = static_cast<int64_t>(size_of(operands[o].dtype));
    }
    kept = 1;
  }
  nest.rank = static_cast<int>(kept) + 1;
  return true;
}

}  // namespace heddle::systolic
