// The profile of one simulated run, with the metric names of Neuron's profiler (neuron-explorer, summary
// schema 7.4.0).
#pragma once

#include <string>

#include "systolic/machine/timeline.h"

namespace heddle::systolic {

// Figures of one run; times in seconds, shares in percent. Ratios with nothing to divide by are 0.
struct Profile {
  double total_time = 0;
  double mfu_estimated_percent = 0;  // 2*MAC of matmuls / (2*rows*columns*f*t)
  double hfu_estimated_percent = 0;  // the same with transposes
  double mbu_estimated_percent = 0;  // HBM bytes / (the domain's bandwidth * t)
  double hardware_flops = 0, model_flops = 0, transpose_flops = 0;
  double mm_arithmetic_intensity = 0, peak_flops_bandwidth_ratio = 0;
  double roofline_bound_percent = 0;  // total_time's share that the larger of PE and HBM time explains
  std::string bottleneck;             // in words
};
Profile profile(const Stream& stream, const Timing& timing);

// Every metric as a JSON object, stamped as simulated.
std::string profile_json(const Stream& stream, const Timing& timing);
// The same for people.
std::string profile_table(const Stream& stream, const Timing& timing);

}  // namespace heddle::systolic
