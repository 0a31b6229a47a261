// The planner's work in progress: what make_plan builds up, phase by phase.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "plan/encode.h"
#include "plan/plan.h"

namespace heddle::plan {

class Planner {
 public:
  Planner(const std::vector<device::DevicePtr>& devices, VariableSource& variables,
          const PlanOptions& options);

  std::unique_ptr<Plan> make(const Graph& bound);
  // Phases 1 and 2 alone.
  std::unique_ptr<Plan> compiled(const Graph& bound);

 private:
  // A step before memory is placed.
  struct Draft {
    Step::Kind kind;
    uint32_t partition = 0, from = 0, to = 0, index = 0;
    ValueId value = no_value;
  };

  void lower_and_compile(const Graph& bound);
  // What depends on a device that computes nothing.
  void mark_hollow();
  // Phase 1: variables settle on the device that uses them first.
  void settle_variables();
  // Phase 2: partitions are compiled; `drafts_` lists launches, and the transfers and uploads before each.
  void compile_partitions();
  void compile(uint32_t p);
  void bring_operands(uint32_t p);
  hd_value_kind kind_in(uint32_t p, ValueId value) const;
  // Phase 3: which updates happen in place, which outputs are bound to the caller's memory.
  void choose_in_place();
  void choose_host_outputs();
  void draft_downloads_and_commits();
  // Phase 4: memory is placed and allocated, steps get their spans.
  void place_memory();
  void place_constants(uint32_t d);
  void bind_partitions();
  void emit_steps();

  uint32_t device_index(const device::DevicePtr& device);
  Location& location(ValueId value, uint32_t device) { return locations_[{value, device}]; }
  hd_span span(const Location& location, uint32_t device, uint64_t bytes) const;
  uint64_t bytes_of(ValueId value) const;
  bool is_output(ValueId value) const;

  const std::vector<device::DevicePtr>& session_devices_;
  VariableSource& variable_source_;
  const PlanOptions& options_;
  std::unique_ptr<Plan> plan_;

  std::vector<Draft> drafts_;
  std::vector<VariablePlace> variables_;
  std::vector<uint32_t> variable_device_;  // DeviceUse index of each variable's home
  std::map<std::pair<ValueId, uint32_t>, Location>
      locations_;                   // presence: the value is (or will be) on the device
  std::vector<bool> hollow_;        // per value: depends on a device that computes nothing
  std::vector<uint32_t> producer_;  // partition that produces each value, or none
  std::vector<std::vector<uint32_t>> reading_partitions_;  // per value, ascending
  std::vector<uint32_t> last_variable_read_;               // per variable: last draft that reads it at home
  std::vector<uint32_t> launch_draft_;                     // per partition
  std::vector<uint64_t> scratch_offset_;                   // per partition, in its device's arena
};

}  // namespace heddle::plan
