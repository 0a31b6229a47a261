// Checkpoints of `heddle train`: a safetensors file with the settings in its metadata and, for every device,
// the step and all variables (weights, optimizer state, dropout counter). One device's tensors have the
// variables' names, those of several "cpu/" and so on before them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/training_settings.h"
#include "heddle/tensor.h"

namespace heddle::cli {

struct DeviceState {
  std::string device;  // "trn1"; unique in a checkpoint
  int64_t step = 0;    // steps behind it; 0: not begun, without variables
  std::map<std::string, Tensor> variables;
};

struct TrainingCheckpoint {
  TrainingSettings settings;
  std::vector<DeviceState> states;
};

void save_training(const std::string& file, const TrainingCheckpoint& checkpoint);
// Throws what load_checkpoint throws, and corrupt for safetensors files that are no checkpoint of `heddle
// train`.
TrainingCheckpoint load_training(const std::string& file);

// Throws Error (corrupt) naming the first variable that the state lacks, has too many or with another type
// than `graph` declares.
void expect_fits(const DeviceState& state, const Graph& graph, const std::string& file);

}  // namespace heddle::cli
