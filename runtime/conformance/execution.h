// A graph as one partition of a device: offered, compiled, bound to guarded memory, launched.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conformance/case.h"
#include "conformance/memory.h"
#include "plan/encode.h"

namespace heddle::conformance {

// The partition of a whole graph: every node, nothing lowered or fused. The problem must outlive it.
class Partition {
 public:
  explicit Partition(const Problem& problem);
  const hd_graph& graph() { return encoded_.graph(); }
  // The index of a value of the graph in the partition.
  uint32_t index(ValueId id) const { return index_[id]; }

 private:
  plan::EncodedGraph encoded_;
  std::vector<uint32_t> index_;
};

// Why the device refuses a node of the partition; nullopt when it offers all of them. Throws internal for a
// refusal without a reason.
std::optional<std::string> refusal(const device::OpenDevice& device, const hd_graph& graph);

// A compiled and bound partition. Throws what the device says.
class Execution {
 public:
  Execution(device::DevicePtr device, const Problem& problem);

  // Uploads the inputs, fills results and scratch with `poison`, launches, and downloads the results (in the
  // order of graph.outputs()). Throws internal naming the value when an input, or memory beside any span, was
  // written.
  std::vector<Tensor> run(std::byte poison);
  // "cpu.matmul.onednn", several joined by " + ".
  const std::string& kernels() const { return kernels_; }
  const device::Program& program() const { return program_; }
  const device::Stream& stream() const { return stream_; }

 private:
  struct Operand {
    std::string name;
    uint32_t index;
    Tensor contents;
    std::shared_ptr<GuardedMemory> memory;
    bool overwritten = false;  // by a result that takes its memory
  };
  struct Result {
    std::string name;
    uint32_t index;
    ValueType type;
    std::shared_ptr<GuardedMemory> memory;
  };
  void share(hd_pair pair, std::vector<hd_span>& spans);
  void expect_untouched(const std::string& what, const GuardedMemory& memory) const;

  device::DevicePtr device_;
  Partition partition_;
  device::Stream stream_;
  device::Program program_;
  std::vector<Operand> operands_;  // inputs, variables and constants
  std::vector<Result> results_;
  std::shared_ptr<GuardedMemory> scratch_;
  std::vector<ValueId> outputs_;       // of the graph
  std::vector<size_t> output_result_;  // per graph output: which of results_
  std::string kernels_;
  device::Binding binding_;
};

}  // namespace heddle::conformance
