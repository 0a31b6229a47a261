// How long a published model takes on a simulated device, and whether it fits: what heddle sim model prints.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/simulated_device.h"
#include "heddle/models/transformer.h"

namespace heddle::cli {

struct ModelRequest {
  TransformerConfig config;
  int64_t batch = 1, positions = 0;
  bool train = false;
  bool whole = false;  // as one program, instead of each distinct part once
  int64_t tokens() const { return batch * positions; }
  double flops() const;  // of a step
};

struct PartEstimate {
  std::string name;
  int64_t repeat = 1;
  double seconds = 0;              // of one
  nlohmann::ordered_json profile;  // the device's report of one
  double active_seconds(const std::string& engine) const;
};

// Bytes of one core's HBM.
struct ModelMemory {
  double weights = 0, optimizer = 0, gradients = 0, activations = 0, capacity = 0;
  double needed() const { return weights + optimizer + gradients + activations; }
  bool fits() const { return needed() <= capacity; }
};

struct ModelEstimate {
  std::string device, core;
  std::vector<PartEstimate> parts;
  double seconds = 0;  // of a step, without the launch
  double launch_seconds = 0;
  double tokens_per_second = 0, mfu_percent = 0;
  double usd_per_core_hour = 0, usd_per_million_tokens = 0;
  ModelMemory memory;
  double wall_seconds = 0;  // that estimating took
};

ModelEstimate estimate_model(const ModelRequest& request, const SimulatedDevice& device);

// "fits: 3.4 of 16 GiB", or what is missing and what would help.
std::string fit_text(const ModelRequest& request, const ModelEstimate& estimate);
// The unit that bounds the step: "dma, 61 % of the critical path".
std::string bottleneck_text(const ModelEstimate& estimate);

}  // namespace heddle::cli
