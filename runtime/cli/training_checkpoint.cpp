#include "cli/training_checkpoint.h"

#include <nlohmann/json.hpp>
#include <set>

#include "heddle/checkpoint.h"
#include "heddle/error.h"
#include "heddle/variable.h"

namespace heddle::cli {
namespace {

using nlohmann::json;

constexpr const char* format_key = "format";
constexpr const char* format_name = "heddle train 1";
constexpr const char* devices_key = "devices";

// What comes before the names of a state's tensors in a file of `states` states.
std::string prefix_of(const DeviceState& state, size_t states) {
  return states == 1 ? "" : state.device + "/";
}

std::vector<DeviceState> parse_devices(const std::string& text) {
  const json devices = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto fail = [] { throw Error(ErrorCode::corrupt, "its list of devices cannot be read"); };
  if (!devices.is_array() || devices.empty()) fail();
  std::vector<DeviceState> states;
  std::set<std::string> names;
  for (const json& entry : devices) {
    if (!entry.is_object()) fail();
    const auto name = entry.find("device"), step = entry.find("step");
    if (name == entry.end() || !name->is_string() || step == entry.end() || !step->is_number_unsigned() ||
        step->get<uint64_t>() > uint64_t{1} << 62 || !names.insert(name->get<std::string>()).second) {
      fail();
    }
    states.push_back({name->get<std::string>(), step->get<int64_t>(), {}});
  }
  return states;
}

}  // namespace

void save_training(const std::string& file, const TrainingCheckpoint& checkpoint) {
  Checkpoint saved;
  saved.metadata = to_metadata(checkpoint.settings);
  json devices = json::array();
  for (const DeviceState& state : checkpoint.states) {
    devices.push_back({{"device", state.device}, {"step", state.step}});
    const std::string prefix = prefix_of(state, checkpoint.states.size());
    for (const auto& [name, tensor] : state.variables) saved.tensors[prefix + name] = tensor;
  }
  saved.metadata[format_key] = format_name;
  saved.metadata[devices_key] = devices.dump();
  save_checkpoint(file, saved);
}

TrainingCheckpoint load_training(const std::string& file) {
  Checkpoint saved = load_checkpoint(file);
  TrainingCheckpoint checkpoint;
  try {
    if (const auto format = saved.metadata.find(format_key);
        format == saved.metadata.end() || format->second != format_name) {
      throw Error(ErrorCode::corrupt, std::string("its metadata does not say '") + format_name + "'");
    }
    checkpoint.settings = from_metadata(saved.metadata);
    checkpoint.settings.check();
    if (!saved.metadata.contains(devices_key))
      throw Error(ErrorCode::corrupt, "its metadata has no 'devices'");
    checkpoint.states = parse_devices(saved.metadata.at(devices_key));
    for (DeviceState& state : checkpoint.states) {
      const std::string prefix = prefix_of(state, checkpoint.states.size());
      for (auto entry = saved.tensors.begin(); entry != saved.tensors.end();) {
        if (!entry->first.starts_with(prefix)) {
          ++entry;
          continue;
        }
        state.variables.emplace(entry->first.substr(prefix.size()), entry->second);
        entry = saved.tensors.erase(entry);
      }
      if (state.variables.empty() != (state.step == 0)) {
        throw Error(ErrorCode::corrupt, "'" + state.device + "' is at step " + std::to_string(state.step) +
                                            " with " + std::to_string(state.variables.size()) + " variables");
      }
    }
    if (!saved.tensors.empty())
      throw Error(ErrorCode::corrupt,
                  "its tensor '" + saved.tensors.begin()->first + "' belongs to no device");
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, "'" + file + "' is no checkpoint of heddle train: " + e.what());
  }
  return checkpoint;
}

void expect_fits(const DeviceState& state, const Graph& graph, const std::string& file) {
  try {
    expect_variables(graph, state.variables);
  } catch (const Error& e) {
    throw Error(ErrorCode::corrupt, "'" + file + "' does not fit the model of its settings: " + e.what());
  }
}

}  // namespace heddle::cli
