#include "systolic/report/path.h"

#include <algorithm>
#include <array>

namespace heddle::systolic {

const char* resource_name(Resource resource) {
  constexpr std::array<const char*, resource_count> names = {"tensor", "scalar", "vector",
                                                             "gpsimd", "sync",   "dma"};
  return names[static_cast<size_t>(resource)];
}

Resource resource_of(const Instruction& instruction) {
  if (is_dma(instruction.opcode)) return Resource::dma;
  constexpr std::array<Resource, engine_count> by_engine = {
      Resource::tensor, Resource::scalar, Resource::vector, Resource::gpsimd, Resource::sync};
  return by_engine[static_cast<size_t>(instruction.engine)];
}

std::vector<PathStep> path_steps(const Timing& timing) {
  std::vector<PathStep> steps;
  int64_t reach = 0;
  for (const uint32_t i : critical_path(timing)) {
    const int64_t end = timing.record[i].end;
    steps.push_back({i, std::max<int64_t>(0, end - reach)});
    reach = std::max(reach, end);
  }
  return steps;
}

}  // namespace heddle::systolic
