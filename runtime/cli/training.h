// The training loop of `heddle train` on one device.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/task.h"
#include "cli/training_checkpoint.h"
#include "cli/training_settings.h"
#include "heddle/device.h"
#include "heddle/explain.h"
#include "heddle/session.h"
#include "heddle/trace.h"

namespace heddle::cli {

// Figures since the last row, or since the start.
struct TrainingRow {
  std::string device;
  int64_t step = 0;                             // steps done
  double loss = 0;                              // NaN of a device that computes nothing
  double tokens_per_s = 0;                      // wall clock
  std::optional<double> simulated_us_per_step;  // simulated clock
  std::optional<double> tensor_engine_percent;  // of the simulated time
};

// A device's training, done.
struct TrainingRun {
  std::string device;                   // as it was asked for
  std::string device_name;              // as explanations call it
  std::map<std::string, size_t> nodes;  // of a step, by the device that ran them
  bool simulated = false;
  int64_t first_step = 0;  // 0, or where the resumed run goes on
  std::vector<double>
      losses;            // of steps first_step, first_step + 1, ...; none of a device that computes nothing
  double compile_s = 0;  // planning and compiling, wall clock
  double wall_s_per_step = 0;  // mean over the run's steps but its first (when there are others)
  double tokens_per_s = 0;
  std::optional<double> simulated_us_per_step;
  std::optional<double> tensor_engine_percent;
  std::vector<std::string> simulated_reports;  // of a step, one per partition on a simulated device
  std::vector<Explanation::MemoryRow> memory;
  Evaluation evaluation;  // none when the run was stopped
  DeviceState state;      // after the last step
  bool stopped = false;
};

struct TrainingHooks {
  Trace* trace = nullptr;                                   // gets the spans of a few steps
  const std::atomic<bool>* stop = nullptr;                  // ends the run between two steps
  std::function<void(int64_t done, double loss)> progress;  // after every step
  std::function<void(const TrainingRow&)> row;              // a tenth of the run later each
  int64_t save_every = 0;                                   // 0: never
  std::function<void(const DeviceState&)> save;
};

// Trains from `state` (step 0 without variables: from the start) to `steps` steps in all and evaluates.
// `devices`: the one that trains, then those that serve what it refuses. Throws Error: what sessions throw,
// and device when the loss is no longer finite.
TrainingRun train_on(const std::vector<Device>& devices, Fallback fallback, const TrainingSettings& settings,
                     const Task& task, const DeviceState& state, int64_t steps, const TrainingHooks& hooks);

}  // namespace heddle::cli
