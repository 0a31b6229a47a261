// The critical path: the chain of instructions that bounds a run, in words.
//
// Walking the chain forward, each instruction adds the time by which it ends later than everything before it.
// The additions telescope, so each breakdown adds up to the time of the whole chain.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "systolic/machine/timeline.h"

namespace heddle::systolic {

// What an instruction on the path spends its time as.
enum class Resource : uint8_t { tensor, scalar, vector, gpsimd, sync, dma };
inline constexpr size_t resource_count = 6;
const char* resource_name(Resource resource);
Resource resource_of(const Instruction& instruction);  // transfers are dma, whoever triggers them

struct PathStep {
  uint32_t instruction;
  int64_t time;  // ps
};

std::vector<PathStep> path_steps(const Timing& timing);

// Time of the path by an index that `key` gives each of its instructions; indices are below `count`.
template <class Key>
std::vector<int64_t> path_time_by(std::span<const PathStep> path, size_t count, Key&& key) {
  std::vector<int64_t> time(count, 0);
  for (const PathStep& step : path) time[static_cast<size_t>(key(step.instruction))] += step.time;
  return time;
}

}  // namespace heddle::systolic
