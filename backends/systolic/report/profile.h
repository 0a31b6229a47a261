// The profile of one simulated run, with the metric names of Neuron's profiler (neuron-explorer, summary
// schema 7.4.0). What that schema leaves open is defined here:
//   mfu_max_achievable_estimated_percent  the roofline: 100 * min(1, mm_arithmetic_intensity /
//   peak_flops_bandwidth_ratio) mbu_min_read_util_percent             inputs_and_weights_size_bytes read once
//   / (the domain's bandwidth * t) adjusted_hardware_flops               hardware_flops times the passes of
//   their dtype (float32 4) total_active_time_percent             some engine or transfer is busy
// Beyond the schema: shares of waiting and idling per engine, the critical path, a table of nodes, the
// roofline and the activity over time.
#pragma once

#include <string>

#include "systolic/machine/timeline.h"

namespace heddle::systolic {

// Figures of one run; times in seconds, shares in percent. Ratios with nothing to divide by are 0.
struct Profile {
  double total_time = 0;
  double mfu_estimated_percent = 0;  // 2*MAC of matmuls / (2*rows*columns*f*t)
  double hfu_estimated_percent = 0;  // the same with transposes
  double mfu_max_achievable_estimated_percent = 0;
  double mbu_estimated_percent = 0;  // HBM bytes / (the domain's bandwidth * t)
  double mbu_min_read_util_percent = 0;
  double hardware_flops = 0, model_flops = 0, transpose_flops = 0, adjusted_hardware_flops = 0;
  double inputs_and_weights_size_bytes = 0;
  double mm_arithmetic_intensity = 0, peak_flops_bandwidth_ratio = 0;
  double roofline_bound_percent = 0;  // total_time's share that the larger of PE and HBM time explains
  std::string bottleneck;             // in words
};
Profile profile(const Stream& stream, const Timing& timing);

// Every metric as a JSON object, stamped as simulated.
std::string profile_json(const Stream& stream, const Timing& timing);
// The scalar metrics of it for people, one a line.
std::string profile_table(const Stream& stream, const Timing& timing);

}  // namespace heddle::systolic
