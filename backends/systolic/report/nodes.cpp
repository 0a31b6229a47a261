#include "systolic/report/nodes.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

double region_bytes(const Stream& stream, uint32_t region) {
  if (region == none) return 0;
  return static_cast<double>(stream.regions[region].elements()) *
         static_cast<double>(size_of(stream.regions[region].dtype));
}

Resource bound_of(const NodeProfile& node, const std::array<int64_t, resource_count>& critical) {
  std::array<int64_t, resource_count> time = critical;
  if (node.critical == 0) {
    for (size_t e = 0; e < engine_count; ++e) time[e] = node.interval[e];
    time[static_cast<size_t>(Resource::dma)] = node.dma;
  }
  return static_cast<Resource>(std::max_element(time.begin(), time.end()) - time.begin());
}

}  // namespace

std::vector<NodeProfile> node_profiles(const Stream& stream, const Timing& timing,
                                       const std::vector<PathStep>& path) {
  std::vector<NodeProfile> all(stream.scopes.size());
  for (uint32_t i = 0; i < timing.record.size(); ++i) {
    const Instruction& instruction = stream.instructions[i];
    const Record& r = timing.record[i];
    NodeProfile& node = all[instruction.scope];
    if (node.instructions++ == 0) node.begin = r.start;
    node.begin = std::min(node.begin, r.start);
    node.end = std::max(node.end, r.end);
    node.interval[static_cast<size_t>(instruction.engine)] += r.issued - r.start;
    if (is_dma(instruction.opcode)) {
      node.hbm_bytes +=
          region_bytes(stream, instruction.region) + region_bytes(stream, instruction.region_out);
    } else if (instruction.opcode == Opcode::matmul) {
      Work work;
      add_work(work, stream, instruction);
      node.flops += work.matmul_flops;
    }
  }
  std::vector<std::array<int64_t, resource_count>> critical(all.size());
  for (const PathStep& step : path) {
    const Instruction& instruction = stream.instructions[step.instruction];
    all[instruction.scope].critical += step.time;
    critical[instruction.scope][static_cast<size_t>(resource_of(instruction))] += step.time;
  }
  // Union of each node's transfers: they are in the order their triggers were timed, so sort by begin.
  std::vector<std::vector<std::pair<int64_t, int64_t>>> transfers(all.size());
  for (const Transfer& t : timing.transfer)
    transfers[stream.instructions[t.instruction].scope].emplace_back(t.begin, t.end);
  std::vector<NodeProfile> nodes;
  for (size_t s = 0; s < all.size(); ++s) {
    if (all[s].instructions == 0) continue;
    std::sort(transfers[s].begin(), transfers[s].end());
    int64_t reach = 0;
    for (const auto& [begin, end] : transfers[s]) {
      all[s].dma += std::max<int64_t>(0, end - std::max(begin, reach));
      reach = std::max(reach, end);
    }
    all[s].scope = stream.scopes[s].empty() ? "(none)" : stream.scopes[s];
    all[s].bound = bound_of(all[s], critical[s]);
    nodes.push_back(std::move(all[s]));
  }
  return nodes;
}

}  // namespace heddle::systolic
