#include "systolic/kernels/geometry.h"

#include <algorithm>

namespace heddle::systolic {

IterationSpace iteration_space(const Shape& common, std::span<const Shape> operands) {
  const int rank = common.rank();
  std::vector<std::vector<int64_t>> stride(operands.size(),
                                           std::vector<int64_t>(static_cast<size_t>(rank), 0));
  for (size_t o = 0; o < operands.size(); ++o) {
    int64_t step = 1;
    for (int axis = rank - 1, own = operands[o].rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
      if (operands[o][own] != 1) stride[o][static_cast<size_t>(axis)] = step;
      step *= operands[o][own];
    }
  }
  IterationSpace space;
  space.stride.resize(operands.size());
  for (int axis = 0; axis < rank; ++axis) {
    const size_t a = static_cast<size_t>(axis);
    if (common[axis] == 1) continue;
    bool merge = !space.size.empty();
    for (size_t o = 0; merge && o < operands.size(); ++o) {
      const int64_t outer = space.stride[o].back(), inner = stride[o][a];
      merge = inner == 0 ? outer == 0 : outer == inner * common[axis];
    }
    if (merge) {
      space.size.back() *= common[axis];
      for (size_t o = 0; o < operands.size(); ++o) space.stride[o].back() = stride[o][a];
    } else {
      space.size.push_back(common[axis]);
      for (size_t o = 0; o < operands.size(); ++o) space.stride[o].push_back(stride[o][a]);
    }
  }
  if (space.size.empty()) {
    space.size.push_back(1);
    for (auto& s : space.stride) s.push_back(0);
  }
  return space;
}

std::vector<Piece> pieces(int64_t total, int64_t most) {
  std::vector<Piece> list;
  for (int64_t begin = 0; begin < total; begin += most)
    list.push_back({begin, std::min(most, total - begin)});
  return list;
}

}  // namespace heddle::systolic
