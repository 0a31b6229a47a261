// Explanations: what a session's plan does, as data and as a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heddle {

struct Explanation {
  struct Declined {
    std::string device;
    std::string reason;
    // What was asked for when it was not the node itself: the composite that the node is a part of ("rope
    // 'block0/rope_0' as a whole"), or one of its parts.
    std::string what = {};
  };
  struct NodeRow {
    std::string name;
    std::string op;     // "matmul", "pointwise(add,gelu_erf)"
    std::string types;  // "float32[64,128] <- float32[64,32], float32[32,128]"
    std::string device;
    std::string kernel;  // what the device calls it: "cpu.matmul.onednn"
    uint32_t partition = 0;
    double flops = 0;
    double bytes = 0;
    std::vector<Declined> declined;  // devices asked before, for this node or the composite it is a part of
  };
  struct CopyRow {
    std::string value;
    std::string from, to;  // device names; "host" for inputs, outputs and constants
    uint64_t bytes = 0;
    std::string why;  // "input", "output", "constant", "crosses devices", "commit", ...
  };
  struct MemoryRow {
    std::string device;
    uint64_t arena_bytes = 0;        // what the plan allocates for intermediates: crossing values and scratch
    uint64_t lower_bound_bytes = 0;  // the most bytes alive at once: no plan can use less
    uint64_t variable_bytes = 0;
    uint64_t constant_bytes = 0;
  };
  std::vector<NodeRow> nodes;   // in launch order
  std::vector<CopyRow> copies;  // in step order; a run makes these, see RunReport::copies
  std::vector<MemoryRow> memory;
  std::vector<std::string> partitions;  // device of each

  size_t crossings() const;   // copies from one device to another, see RunReport::crossings
  std::string table() const;  // for people
  std::string json() const;   // one document
};

}  // namespace heddle
