#include "cli/train_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "plan/text_table.h"

namespace heddle::cli {
namespace {

// Two devices agree when their losses differ by no more than this (relative). bfloat16 has a unit roundoff of
// 2^-8, so single losses may be some percent apart.
constexpr double agreed_f32 = 1e-3, agreed_bf16 = 5e-2;

double agreed_of(const TrainingSettings& settings) {
  return settings.dtype == "f32" ? agreed_f32 : agreed_bf16;
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string percent(double share) { return formatted("%.1f %%", 100 * share); }

std::string time_text(double seconds) {
  if (seconds < 1e-3) return formatted("%.0f us", seconds * 1e6);
  return seconds < 1 ? formatted("%.1f ms", seconds * 1e3) : formatted("%.2f s", seconds);
}

// "cpu", "cpu and trn1", "cpu, toy and trn1"
std::string names_of(const std::vector<TrainingRun>& runs) {
  std::string text;
  for (size_t i = 0; i < runs.size(); ++i)
    text += (i == 0 ? "" : i + 1 == runs.size() ? " and " : ", ") + runs[i].device;
  return text;
}

std::string result_of(const TrainingRun& run) {
  if (run.evaluation.accuracy) return percent(*run.evaluation.accuracy);
  if (run.evaluation.held_out_loss) return formatted("%.3f nats per byte", *run.evaluation.held_out_loss);
  return "";
}

// What other devices did for this one; empty when it ran alone.
std::string helped(const TrainingRun& run) {
  std::string others;
  size_t all = 0, own = 0;
  for (const auto& [device, nodes] : run.nodes) {
    all += nodes;
    if (device == run.device_name)
      own = nodes;
    else
      others += (others.empty() ? "" : ", ") + device + " ran " + std::to_string(nodes);
  }
  if (others.empty()) return "";
  return "Of the " + std::to_string(all) + " nodes of a step, " + run.device + " ran " + std::to_string(own) +
         " itself and " + others + ". ";
}

std::string learned(const TrainingSettings& settings, const std::vector<TrainingRun>& runs) {
  std::string text;
  for (const TrainingRun& run : runs) {
    const std::string result = result_of(run);
    if (result.empty()) continue;
    text += (text.empty() ? "" : "; ") + run.device + ": " + result;
  }
  if (settings.is_text()) {
    std::string last;
    for (const TrainingRun& run : runs)
      if (!run.losses.empty())
        last += (last.empty() ? "" : "; ") + run.device + ": " + formatted("%.3f", run.losses.back());
    return "Last training loss in nats per byte: " + last +
           (text.empty() ? ". The text is too short to hold a part out."
                         : ". On the part that was held out: " + text + ".");
  }
  for (const TrainingRun& run : runs)
    if (run.losses.empty())
      text += (text.empty() ? "" : "; ") + run.device + ": nothing, it computes no numbers";
  return text.empty() ? "Nothing was held out."
                      : "Of " + std::to_string(runs.front().evaluation.examples) +
                            " sums that were never trained on, every digit is right for " + text + ".";
}

}  // namespace

std::optional<double> max_relative_loss_difference(const std::vector<TrainingRun>& runs) {
  if (runs.size() < 2) return std::nullopt;
  double largest = 0;
  const std::vector<double>& first = runs.front().losses;
  bool compared = false;
  for (size_t i = 1; i < runs.size(); ++i) {
    if (runs[i].first_step != runs.front().first_step) continue;
    const size_t steps = std::min({first.size(), runs[i].losses.size(), static_cast<size_t>(compared_steps)});
    for (size_t step = 0; step < steps; ++step) {
      const double a = first[step], b = runs[i].losses[step];
      if (a != b) largest = std::max(largest, std::abs(a - b) / std::max(std::abs(a), 1e-30));
      compared = true;
    }
  }
  return compared ? std::optional(largest) : std::nullopt;
}

std::optional<bool> agree(const TrainingSettings& settings, const std::vector<TrainingRun>& runs) {
  const auto difference = max_relative_loss_difference(runs);
  return difference ? std::optional(*difference <= agreed_of(settings)) : std::nullopt;
}

std::string verdict(const TrainingSettings& settings, const std::vector<TrainingRun>& runs) {
  std::string text;
  for (const TrainingRun& run : runs) text += helped(run);
  if (const auto difference = max_relative_loss_difference(runs)) {
    const double agreed = agreed_of(settings);
    const std::string figure = formatted("%.1e", *difference);
    const int64_t steps = std::min<int64_t>(compared_steps, std::ssize(runs.front().losses));
    text += *difference <= agreed
                ? names_of(runs) + " trained the same graph on the same batches and agree: over the first " +
                      std::to_string(steps) + " steps their losses differ by at most " + figure +
                      " (relative). "
                : names_of(runs) + " do not agree: over the first " + std::to_string(steps) +
                      " steps their losses differ by up to " + figure + " (relative), more than " +
                      formatted("%.0e", agreed) + ". ";
  }
  text += learned(settings, runs);
  for (const TrainingRun& run : runs) {
    if (run.losses.empty()) continue;
    text += " A step takes " + time_text(run.wall_s_per_step) + " of wall-clock time on " + run.device;
    if (run.simulated_us_per_step) {
      text += ", whose simulated clock says " + time_text(*run.simulated_us_per_step / 1e6);
      if (run.tensor_engine_percent)
        text += " with the tensor engine busy for " + formatted("%.1f %%", *run.tensor_engine_percent) +
                " of that";
    }
    text += ".";
  }
  return text;
}

nlohmann::ordered_json train_document(const TrainingSettings& settings,
                                      const std::vector<TrainingRun>& runs) {
  using nlohmann::ordered_json;
  const auto optional = [](const std::optional<double>& value) {
    return value ? ordered_json(*value) : ordered_json(nullptr);
  };
  ordered_json devices = ordered_json::array();
  for (const TrainingRun& run : runs) {
    ordered_json memory = ordered_json::array();
    for (const Explanation::MemoryRow& row : run.memory) {
      memory.push_back({{"device", row.device},
                        {"arena_bytes", row.arena_bytes},
                        {"lower_bound_bytes", row.lower_bound_bytes},
                        {"variable_bytes", row.variable_bytes},
                        {"constant_bytes", row.constant_bytes}});
    }
    devices.push_back(
        {{"device", run.device},
         {"nodes", run.nodes},
         {"clock", run.simulated ? "simulated" : "wall"},
         {"accuracy", optional(run.evaluation.accuracy)},
         {"held_out_loss", optional(run.evaluation.held_out_loss)},
         {"final_loss", run.losses.empty() ? ordered_json(nullptr) : ordered_json(run.losses.back())},
         {"losses", run.losses},
         {"first_step", run.first_step},
         {"steps", run.state.step},
         {"compile_s", run.compile_s},
         {"wall_s_per_step", run.wall_s_per_step},
         {"tokens_per_s", run.tokens_per_s},
         {"simulated_us_per_step", optional(run.simulated_us_per_step)},
         {"simulated_tensor_engine_percent", optional(run.tensor_engine_percent)},
         {"memory", memory}});
  }
  ordered_json training = ordered_json::object();
  for (const auto& [name, value] : values_of(settings))
    std::visit([&, &key = name](const auto& held) { training[key] = held; }, value);
  const bool interrupted =
      std::any_of(runs.begin(), runs.end(), [](const TrainingRun& run) { return run.stopped; });
  const std::optional<bool> same = agree(settings, runs);
  return {{"task", settings.is_text() ? "text" : "addition"},
          {"parameters", gpt_parameter_count(settings.model())},
          {"settings", training},
          {"devices", devices},
          {"max_relative_loss_difference", optional(max_relative_loss_difference(runs))},
          {"tolerance", agreed_of(settings)},
          {"agree", same ? ordered_json(*same) : ordered_json(nullptr)},
          {"interrupted", interrupted},
          {"verdict", verdict(settings, runs)}};
}

systolic::Page train_page(const TrainingSettings& settings, const std::vector<TrainingRun>& runs) {
  systolic::Page page;
  page.title = "heddle train on " + names_of(runs);
  page.subtitle = verdict(settings, runs);
  systolic::PageTable devices{
      "Devices",
      {"device", "last loss", "wall s/step", "tokens/s, wall", "simulated us/step", "tensor engine"},
      {}};
  systolic::PageChart losses{"Loss", "step", settings.is_text() ? "nats per byte" : "nats per digit", {}};
  for (const TrainingRun& run : runs) {
    devices.rows.push_back(
        {run.device, run.losses.empty() ? "-" : formatted("%.4f", run.losses.back()),
         formatted("%.4f", run.wall_s_per_step), plan::count_text(run.tokens_per_s),
         run.simulated_us_per_step ? formatted("%.1f", *run.simulated_us_per_step) : "-",
         run.tensor_engine_percent ? formatted("%.1f %%", *run.tensor_engine_percent) : "-"});
    systolic::PageChart::Line& line = losses.lines.emplace_back();
    line.name = run.device;
    for (size_t i = 0; i < run.losses.size(); ++i) {
      line.x.push_back(static_cast<double>(run.first_step) + static_cast<double>(i) + 1);
      line.y.push_back(run.losses[i]);
    }
    for (size_t p = 0; p < run.simulated_reports.size(); ++p) {
      if (run.simulated_reports[p].find("\"activity\"") == std::string::npos) continue;  // a plugin's
      page.runs.push_back({"A step on " + run.device +
                               (run.simulated_reports.size() > 1 ? ", partition " + std::to_string(p) : ""),
                           run.simulated_reports[p]});
    }
  }
  page.tables.push_back(devices);
  page.charts.push_back(losses);
  return page;
}

std::string train_summary(const std::vector<TrainingRun>& runs) {
  using plan::TextTable;
  constexpr TextTable::Align right = TextTable::Align::right;
  TextTable table({{"device"},
                   {"held out", right},
                   {"last loss", right},
                   {"wall s/step", right},
                   {"tokens/s", right},
                   {"simulated us/step", right},
                   {"tensor engine", right}});
  for (const TrainingRun& run : runs) {
    table.row({run.device, result_of(run).empty() ? "-" : result_of(run),
               run.losses.empty() ? "-" : formatted("%.4f", run.losses.back()),
               formatted("%.4f", run.wall_s_per_step), plan::count_text(run.tokens_per_s),
               run.simulated_us_per_step ? formatted("%.1f", *run.simulated_us_per_step) : "-",
               run.tensor_engine_percent ? formatted("%.1f %%", *run.tensor_engine_percent) : "-"});
  }
  return table.text();
}

}  // namespace heddle::cli
