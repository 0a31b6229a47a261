#include "plan/partition.h"

#include <map>
#include <set>

namespace heddle::plan {

std::vector<Partition> partition(const Graph& graph, const std::vector<uint32_t>& device) {
  const size_t n = graph.node_count();
  std::vector<uint32_t> missing(n, 0);  // operands not produced yet
  std::vector<std::vector<NodeId>> readers(n);
  std::map<uint32_t, std::set<NodeId>> ready;  // per device, lowest id first: close to the graph's own order
  for (NodeId id = 0; id < n; ++id) {
    for (ValueId v : graph.node(id).inputs) {
      if (v == no_value || graph.info(v).kind != ValueKind::result) continue;
      readers[graph.info(v).producer].push_back(id);
      ++missing[id];
    }
    if (missing[id] == 0) ready[device[id]].insert(id);
  }
  std::vector<Partition> partitions;
  for (size_t done = 0; done < n; ++done) {
    const bool stay = !partitions.empty() && !ready[partitions.back().device].empty();
    if (!stay) {
      uint32_t next = 0;
      NodeId lowest = static_cast<NodeId>(n);
      for (const auto& [d, ids] : ready)
        if (!ids.empty() && *ids.begin() < lowest) lowest = *ids.begin(), next = d;
      partitions.push_back({next, {}});
    }
    Partition& current = partitions.back();
    std::set<NodeId>& candidates = ready[current.device];
    const NodeId id = *candidates.begin();
    candidates.erase(candidates.begin());
    current.nodes.push_back(id);
    for (NodeId reader : readers[id])
      if (--missing[reader] == 0) ready[device[reader]].insert(reader);
  }
  return partitions;
}

}  // namespace heddle::plan
