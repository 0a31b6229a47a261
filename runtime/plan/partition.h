// Partitions: maximal runs of nodes on one device, in an order in which they can be launched.
#pragma once

#include <cstdint>
#include <vector>

#include "heddle/graph.h"

namespace heddle::plan {

struct Partition {
  uint32_t device;
  std::vector<NodeId> nodes;  // in run order
};

// `device` per node. With one device the graph's own order is kept; with several, nodes of the device at hand
// are taken as long as any is ready, so that the number of switches stays small.
std::vector<Partition> partition(const Graph& graph, const std::vector<uint32_t>& device);

}  // namespace heddle::plan
