// heddle conform: proves a device against the double-precision references, op by op.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "heddle/conformance.h"
#include "heddle/error.h"

namespace heddle::cli {
namespace {

struct Options {
  DeviceOptions devices;
  std::string op, id;
  bool json = false, list = false;
};

// The devices named, or else every device of the plugins.
std::vector<std::string> chosen(const Options& options) {
  const std::vector<DeviceListing> before = list_devices();
  load_plugins(options.devices);
  if (!options.devices.devices.empty()) return options.devices.devices;
  std::vector<std::string> names;
  std::string existing;
  for (const DeviceListing& listing : list_devices()) {
    const bool known = std::any_of(before.begin(), before.end(),
                                   [&](const DeviceListing& other) { return other.name == listing.name; });
    if (!known) names.push_back(listing.name);
    existing += (existing.empty() ? "" : ", ") + listing.name;
  }
  if (names.empty())
    throw UsageError("name a device with --device, or a backend library with --plugin; the devices are: " +
                     existing);
  return names;
}

conformance::Report run_on(const Device& device, const Options& options, size_t total) {
  Progress progress(device.spec(), static_cast<int64_t>(total));
  size_t failed = 0;
  conformance::Selection selection{options.op, options.id, {}};
  selection.progress = [&](const conformance::Result& result, size_t done, size_t) {
    if (result.outcome == conformance::Outcome::failed) ++failed;
    progress.update(static_cast<int64_t>(done), failed == 0 ? result.op : std::to_string(failed) + " failed");
  };
  return conformance::run(device, selection);
}

std::vector<conformance::CaseName> selected(const Options& options) {
  try {
    return conformance::list_cases({options.op, options.id, {}});
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

void list(const std::vector<conformance::CaseName>& cases, bool json) {
  std::string text;
  nlohmann::ordered_json ids = nlohmann::ordered_json::array();
  for (const conformance::CaseName& c : cases) {
    text += c.id + "\n";
    ids.push_back(c.id);
  }
  json ? print_document({{"cases", ids}}) : print(text);
}

void run(const Options& options) {
  const std::vector<conformance::CaseName> cases = selected(options);
  if (options.list) return list(cases, options.json);
  nlohmann::ordered_json reports = nlohmann::ordered_json::array();
  std::string wrong;
  for (const Device& device : open_devices(chosen(options))) {
    const conformance::Report report = run_on(device, options, cases.size());
    options.json ? reports.push_back(nlohmann::ordered_json::parse(report.json())) : print(report.text());
    if (report.ok()) continue;
    const size_t failed = report.count(conformance::Outcome::failed);
    wrong += (wrong.empty() ? "" : "; ") + device.spec() +
             (failed != 0 ? " does not conform: " + std::to_string(failed) + " of " +
                                std::to_string(report.results.size()) + " cases failed"
                          : " proves nothing: no case of an op was executed");
  }
  if (options.json) print_document({{"devices", reports}});
  if (!wrong.empty()) throw Error(ErrorCode::device, wrong);
}

}  // namespace

void add_conform(CLI::App& app) {
  CLI::App* command = app.add_subcommand("conform", "Prove a device against the references, op by op");
  auto options = std::make_shared<Options>();
  add_device_options(*command, options->devices,
                     "The device to prove (repeatable); default: every device of the plugins");
  command->add_option("--op", options->op, "Only the cases of this op: matmul, contract, partition, ...")
      ->type_name("OP");
  command->add_option("--case", options->id, "Only this case: softmax/f32/128x129/axis1/random")
      ->type_name("ID");
  command->add_flag("--list", options->list, "Print the ids of the cases and run none");
  command->add_flag("--json", options->json, "Print one JSON document");
  command->footer(
      "Every op has a fixed list of cases; what the device refuses is listed with its reason and not counted "
      "as "
      "passed.\nExamples: heddle conform --plugin libtoy.so\n          heddle conform --device cpu --op "
      "softmax");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
