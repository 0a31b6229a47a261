// Lowering: every node of a concrete graph gets a device that offers it. Composites that a device refuses
// become their parts; compound scalar steps become elementary ones; fused nodes are proposed and taken where
// offered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/open_device.h"
#include "heddle/explain.h"
#include "heddle/graph.h"

namespace heddle::plan {

struct LowerOptions {
  bool fallback = false;  // may nodes leave the first device?
  bool fusion = true;
  bool composites = true;  // offer composites whole
};

// A graph whose nodes run where `device` says.
struct Lowered {
  Graph graph;
  std::vector<uint32_t> device;                              // per node: index into the session's devices
  std::vector<std::vector<Explanation::Declined>> declined;  // per node: who was asked before
};

// Throws unsupported: the refused nodes grouped by op and reasons, and the remedy; invalid_argument and
// not_found for a pin that names several devices, or none.
Lowered lower(const Graph& graph, const std::vector<device::DevicePtr>& devices, const LowerOptions& options);

// Proposes fused pointwise chains and matmul epilogues to the devices; refused ones stay apart.
Lowered fuse(const Lowered& lowered, const std::vector<device::DevicePtr>& devices);

}  // namespace heddle::plan
