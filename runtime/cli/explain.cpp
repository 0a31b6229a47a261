// heddle explain: what would run where, why, and in how much memory.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device_options.h"
#include "cli/output.h"
#include "cli/training_settings.h"
#include "heddle/models/gpt.h"
#include "heddle/session.h"

namespace heddle::cli {
namespace {

struct Options {
  DeviceOptions devices;
  SettingOptions settings;
  std::string model = "gpt";
  bool inference = false, no_fusion = false, no_composites = false, graph = false, json = false;
};

void run(const Options& options) {
  load_plugins(options.devices);
  std::vector<std::string> specs = options.devices.devices;
  if (specs.empty()) specs = existing_devices({"cpu"});
  if (specs.empty()) specs = {"reference"};
  TrainingSettings settings = options.settings.resolve();
  if (settings.is_text()) open_task(settings);  // a short text shortens the context
  const Graph graph =
      options.inference ? gpt_inference(settings.model(), settings.batch) : settings.training_step();
  if (options.graph) {
    print(graph.to_string());
    return;
  }
  SessionOptions session_options;
  session_options.fallback = fallback_of(options.devices);
  session_options.fusion = !options.no_fusion;
  session_options.composites = !options.no_composites;
  nlohmann::ordered_json documents = nlohmann::ordered_json::array();
  for (const Device& device : open_devices(specs)) {
    Session session(graph, with_fallback(device, options.devices),
                    Variables(static_cast<uint64_t>(settings.seed)), session_options);
    const Explanation explanation = session.explain();
    if (options.json) {
      nlohmann::ordered_json document = {{"device", device.spec()}};
      document.update(nlohmann::ordered_json::parse(explanation.json()));
      documents.push_back(document);
    } else {
      print((specs.size() > 1 ? device.spec() + ":\n" : "") + explanation.table());
    }
  }
  if (options.json) print_document({{"devices", documents}});
}

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "explain", "Show the plan of a model: node, device, kernel, copies, memory, and who refused what");
  auto options = std::make_shared<Options>();
  add_device_options(*command, options->devices,
                     "Plan for this device (repeatable: a plan each); default: cpu");
  add_fallback_option(*command, options->devices);
  command->add_option("--model", options->model, "Which model (gpt: the training step of heddle train)")
      ->check(CLI::IsMember({"gpt"}))
      ->type_name("gpt");
  command->add_flag("--inference", options->inference,
                    "The model alone, without backward pass and optimizer");
  command->add_flag("--no-fusion", options->no_fusion, "Propose no fused nodes to the devices");
  command->add_flag("--no-composites", options->no_composites, "Core ops alone");
  CLI::Option* graph =
      command->add_flag("--graph", options->graph, "Print the graph before it is planned, and stop");
  options->settings.add_to(*command);
  command->add_flag("--json", options->json, "Print one JSON document")->excludes(graph);
  command->footer("Example: heddle explain --model gpt --device trn1 --fallback cpu");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
