#include "cli/simulated_device.h"

#include <algorithm>
#include <cstdlib>

#include "cli/command.h"
#include "cli/device_options.h"
#include "heddle/error.h"
#include "ir/number_text.h"

namespace heddle::cli {
namespace {

bool is_file(const std::string& name) { return name.ends_with(".toml"); }

}  // namespace

SimulatedDevice::SimulatedDevice(const std::string& spec) : spec_(spec) {
  const size_t colon = spec.find(':');
  const std::string name = spec.substr(0, colon);
  const std::vector<std::string> builtin = systolic::builtin_devices();
  const bool known = std::find(builtin.begin(), builtin.end(), name) != builtin.end();
  if (known) base_ = name;
  std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string item = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    const size_t equals = item.find('=');
    if (equals == std::string::npos && name == "systolic" && base_.empty())
      base_ = item;
    else if (equals == std::string::npos)
      options_.emplace_back(item, "");
    else if (item.substr(0, equals) != "numerics")  // each command chooses for itself
      options_.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  if (base_.empty()) {
    std::string names;
    for (const std::string& b : builtin) names += b + ", ";
    throw UsageError("heddle sim asks a simulated NeuronCore: " + names + "systolic:FILE.toml; not '" + spec +
                     "'");
  }
  open("off");  // refuses what does not exist, with the registry's own words
  std::vector<std::pair<std::string, double>> changes;
  for (const auto& [key, value] : options_)
    if (key.find('.') != std::string::npos) changes.emplace_back(key, std::strtod(value.c_str(), nullptr));
  description_ = changes.empty() ? systolic::load_description(base_) : systolic::with(base_, changes);
}

Device SimulatedDevice::open(const std::string& numerics) const {
  std::string spec = is_file(base_) ? "systolic:" + base_ + "," : base_ + ":";
  for (const auto& [key, value] : options_) spec += key + (value.empty() ? "" : "=" + value) + ",";
  return open_devices({spec + "numerics=" + numerics}).front();
}

Device SimulatedDevice::timing_only() const { return open("off"); }
Device SimulatedDevice::functional() const { return open("on"); }

Estimate SimulatedDevice::estimate(const Graph& graph) const {
  try {
    return heddle::estimate(graph, timing_only());
  } catch (const Error& e) {
    const std::string text = e.what();
    const size_t list = text.find('\n');
    if (e.code() != ErrorCode::unsupported || list == std::string::npos) throw;
    std::string line = spec_ + " has no kernel for a node of this graph:";
    for (size_t at = list + 1; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const size_t begin = std::min(text.find_first_not_of(' ', at), end);
      if (begin < end) line += (line.back() == ':' ? " " : "; ") + text.substr(begin, end - begin);
      at = end + 1;
    }
    throw Error(ErrorCode::unsupported, line);
  }
}

SimulatedDevice SimulatedDevice::with(const std::string& key, double value) const {
  std::string spec = is_file(base_) ? "systolic:" + base_ : base_ + ":";
  bool first = !is_file(base_);
  for (const auto& [name, text] : options_) {
    if (name == key) continue;
    spec += (first ? "" : ",") + name + (text.empty() ? "" : "=" + text);
    first = false;
  }
  return SimulatedDevice(spec + (first ? "" : ",") + key + "=" + number_text(value));
}

}  // namespace heddle::cli
