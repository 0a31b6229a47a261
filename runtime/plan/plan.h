// Plans: a concrete graph made into steps on devices, with every byte placed. One plan per binding of named
// dims.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/open_device.h"
#include "heddle/explain.h"
#include "heddle/graph.h"
#include "heddle/schema.h"
#include "plan/lower.h"
#include "plan/partition.h"

namespace heddle::plan {

// A variable as the plan sees it; exec owns the state behind it.
struct VariablePlace {
  device::DevicePtr home;  // null: not settled yet; the plan settles it on the first device that uses it
  hd_buffer* buffer = nullptr;
  uint64_t uid = 0;
  uint64_t generation = 0;
};

// What the planner needs to know of, and do to, the variables of a session.
class VariableSource {
 public:
  virtual ~VariableSource() = default;
  // Where variable `index` of the graph lives, settling it on `device` when it lives nowhere.
  virtual VariablePlace settle(uint32_t index, const device::DevicePtr& device) = 0;
};

struct PlanOptions {
  LowerOptions lower;
  bool freeze = false;
};

// Where the bytes of a value are on one device.
struct Location {
  enum class Kind : uint8_t {
    none,
    arena,     // offset in the device's arena
    constant,  // offset in the device's constants
    variable,  // the variable's own buffer
    host,      // the caller's tensor, bound at every run: input or output `index`
  };
  Kind kind = Kind::none;
  uint64_t offset = 0;
  uint32_t index = 0;   // variable or host: which
  bool output = false;  // host: an output
};

// A device as the plan uses it. Devices of the session come first, in order; homes of variables may follow.
struct DeviceUse {
  device::DevicePtr device;
  device::Stream stream;
  device::Buffer arena, constants;
  uint64_t arena_bytes = 0, lower_bound = 0, constant_bytes = 0, variable_bytes = 0;
};

struct CompiledPartition {
  uint32_t device = 0;
  std::vector<NodeId> nodes;
  std::vector<ValueId> values;       // per value index of the program
  std::vector<std::string> kernels;  // per node
  device::Program program;
  device::Binding binding;
  uint64_t scratch_bytes = 0, scratch_lower_bound = 0;
  uint64_t simulated_ps = 0;
  std::vector<hd_pair> in_place;  // (output, variable) value indices the program can do in place
};

// A caller's tensor bound straight into a program.
struct HostSlot {
  uint32_t partition;
  uint32_t value;  // value index of the program
  uint32_t index;  // input or output of the graph
};

struct Step {
  enum class Kind : uint8_t { launch, transfer, upload, download, commit };
  Kind kind;
  uint32_t partition = 0;      // launch
  uint32_t from = 0, to = 0;   // transfer, commit: DeviceUse indices; upload: to; download: from
  hd_span source{}, target{};  // upload: target only; download: source only
  uint32_t index = 0;          // upload: input; download: output; commit: variable
  uint64_t bytes = 0;
  ValueId value = no_value;
  bool hollow = false;  // the value depends on a device that computes nothing: there are no bytes to copy
};

struct Plan {
  Graph graph;  // lowered and fused
  std::vector<uint32_t> node_device;
  std::vector<std::vector<Explanation::Declined>> declined;
  std::vector<Shape> input_shapes;  // per graph input
  std::vector<DType> input_dtypes;
  std::vector<ValueType> output_types;
  std::vector<DeviceUse> devices;
  std::vector<CompiledPartition> partitions;
  std::vector<Step> steps;
  std::vector<HostSlot> host_inputs, host_outputs;
  std::vector<std::vector<std::byte>> staging;  // one buffer per transfer, so that no run allocates
  std::vector<std::pair<uint32_t, uint32_t>>
      in_place_updates;  // (partition, variable): written by the launch itself
  std::vector<uint32_t> updated_variables;
  bool computes = true;  // false: a device takes part that computes nothing, so no variable is updated
  std::vector<uint32_t> hollow_outputs;               // outputs that depend on such a device
  std::vector<std::pair<uint32_t, uint64_t>> frozen;  // (variable, generation) the programs were compiled for

  Explanation explain() const;
};

// What to do when `device` has no room, as the end of a message.
std::string memory_remedy(const device::OpenDevice& device);

// What stands for numbers that no device computed: NaN, or 0 in dtypes that have none.
void fill_hollow(std::span<std::byte> bytes, DType dtype);

// `bound`: a graph without named dims. Throws what lowering, compiling and allocating throw.
std::unique_ptr<Plan> make_plan(const Graph& bound, const std::vector<device::DevicePtr>& devices,
                                VariableSource& variables, const PlanOptions& options);
// The first half of it: partitions are compiled and described, but nothing is placed, allocated or bound, so
// that the plan can be asked what it would cost and cannot run.
std::unique_ptr<Plan> compile_plan(const Graph& bound, const std::vector<device::DevicePtr>& devices,
                                   VariableSource& variables, const PlanOptions& options);

}  // namespace heddle::plan
