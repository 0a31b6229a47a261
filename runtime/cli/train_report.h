// What `heddle train` says in the end.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/training.h"
#include "cli/training_settings.h"
#include "heddle/systolic/page.h"

namespace heddle::cli {

// The first steps of two curves are compared: later, rounding errors that training amplifies drive any two
// devices apart.
inline constexpr int64_t compared_steps = 50;

// The largest |a - b| / |a| over the first steps, a being the first run's loss and b each other's; none for
// one run.
std::optional<double> max_relative_loss_difference(const std::vector<TrainingRun>& runs);

// Whether that difference is within what rounding explains: 1e-3, or 5e-2 when products are bfloat16; none
// for one run.
std::optional<bool> agree(const TrainingSettings& settings, const std::vector<TrainingRun>& runs);

// One paragraph: who ran what, whether the devices learned the same, and what they cost.
std::string verdict(const TrainingSettings& settings, const std::vector<TrainingRun>& runs);

// The document of --json (docs/json.md).
nlohmann::ordered_json train_document(const TrainingSettings& settings, const std::vector<TrainingRun>& runs);

// The last table, one line per device.
std::string train_summary(const std::vector<TrainingRun>& runs);

// The page of --report: loss curves, and the profile of a step on each simulated device.
systolic::Page train_page(const TrainingSettings& settings, const std::vector<TrainingRun>& runs);

}  // namespace heddle::cli
