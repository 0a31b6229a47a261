// The table of a program's nodes: what each op (one scope of the stream) cost and what bounds it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "systolic/report/path.h"
#include "systolic/report/work.h"

namespace heddle::systolic {

struct NodeProfile {
  std::string scope;
  int64_t instructions = 0;
  int64_t begin = 0, end = 0;                    // ps: first start, last end
  int64_t critical = 0;                          // ps of the critical path; over all nodes they add up to it
  std::array<int64_t, engine_count> interval{};  // ps: issue intervals of its instructions, per engine
  int64_t dma = 0;                               // ps: some transfer of the node moves bytes
  double hbm_bytes = 0;                          // from and to HBM
  double flops = 0;                              // of its matmuls
  // What its part of the critical path waits for most; of a node that is not on the path, what it is busy
  // with.
  Resource bound = Resource::dma;
};

// Nodes with instructions, in order of emission.
std::vector<NodeProfile> node_profiles(const Stream& stream, const Timing& timing,
                                       const std::vector<PathStep>& path);

}  // namespace heddle::systolic
