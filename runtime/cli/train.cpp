// heddle train: one graph (forward, backward, optimizer) trained on one device after the other, from the same
// start and on the same batches.
#include <csignal>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report_page.h"
#include "cli/train_report.h"
#include "cli/training.h"
#include "cli/training_checkpoint.h"
#include "cli/training_settings.h"
#include "heddle/error.h"
#include "heddle/trace.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

struct Options {
  DeviceOptions devices;
  SettingOptions settings;
  int64_t steps = 0;
  CLI::Option* steps_option = nullptr;
  std::string save, resume, trace, report;
  int64_t save_every = 0;
  bool json = false;
  std::vector<std::pair<std::string, CLI::Option*>> files;  // options that name one
};

bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return true;
  const auto real_a = std::filesystem::weakly_canonical(a, error);
  return !error && real_a == std::filesystem::weakly_canonical(b, error) && !error;
}

// Files that are written must not be those that are read, nor each other; only a checkpoint may go on in
// place.
void expect_files_apart(const Options& options, const std::string& text) {
  std::vector<std::pair<std::string, std::string>> given;
  for (const auto& [name, option] : options.files)
    if (option->count() > 0) given.emplace_back(name, option->as<std::string>());
  for (const auto& [name, file] : given)
    if (file.empty()) throw UsageError(name + " needs the name of a file");
  if (!text.empty()) given.emplace_back("--text", text);
  for (size_t i = 0; i < given.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto& [a, file_a] = given[j];
      const auto& [b, file_b] = given[i];
      const bool may_be_one = (a == "--save" && b == "--resume") || (a == "--resume" && b == "--text");
      if (!may_be_one && is_same_file(file_a, file_b))
        throw UsageError(a + " and " + b + " name the same file, '" + file_a + "'");
    }
  }
}

// Ctrl-C ends the run between two steps, so that it can be saved; a second one ends the process.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "signal handlers may touch lock-free atomics alone");

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

// "cpu", "trn1", "cpu#2": how each device is called in tables and checkpoints.
std::vector<std::string> labels_of(const std::vector<std::string>& specs) {
  std::vector<std::string> labels;
  std::map<std::string, int> seen;
  for (const std::string& spec : specs) {
    const int nth = ++seen[spec];
    labels.push_back(nth == 1 ? spec : spec + "#" + std::to_string(nth));
  }
  return labels;
}

// What a run starts from: fresh, or a checkpoint.
struct Start {
  TrainingSettings settings;
  std::vector<std::string> specs;   // of the devices, in order
  std::vector<DeviceState> states;  // one per device
};

// The devices of a checkpoint: labels without the number that labels_of() added.
std::vector<std::string> specs_of(const std::vector<DeviceState>& states) {
  std::vector<std::string> specs;
  for (const DeviceState& state : states) {
    const size_t number = state.device.find_last_not_of("0123456789");
    const bool added =
        number != std::string::npos && state.device[number] == '#' && number + 1 < state.device.size();
    specs.push_back(added ? state.device.substr(0, number) : state.device);
  }
  return specs;
}

// The checkpoint's state for a device; a checkpoint of one device serves any.
DeviceState state_for(const std::string& label, const TrainingCheckpoint& checkpoint,
                      const std::string& file) {
  for (const DeviceState& state : checkpoint.states)
    if (state.device == label) return state;
  if (checkpoint.states.size() == 1) {
    DeviceState state = checkpoint.states.front();
    state.device = label;
    return state;
  }
  std::string known;
  for (const DeviceState& state : checkpoint.states) known += (known.empty() ? "" : ", ") + state.device;
  throw UsageError("'" + file + "' holds no state of device '" + label + "'; it holds: " + known);
}

Start prepare(const Options& options) {
  Start start;
  start.specs = options.devices.devices;
  if (options.resume.empty()) {
    start.settings = options.settings.resolve();
    if (start.specs.empty()) start.specs = existing_devices({"cpu", "trn1"});
    if (start.specs.empty()) start.specs = {"reference"};
    for (const std::string& label : labels_of(start.specs)) start.states.push_back({label, 0, {}});
  } else {
    const TrainingCheckpoint checkpoint = load_training(options.resume);
    start.settings = options.settings.resolve(checkpoint.settings);
    if (start.specs.empty()) start.specs = specs_of(checkpoint.states);
    for (const std::string& label : labels_of(start.specs))
      start.states.push_back(state_for(label, checkpoint, options.resume));
  }
  return start;
}

// Prints the rows of every device under one header.
class RowPrinter {
 public:
  void print_row(const TrainingRow& row) {
    char line[256];
    if (!header_) {
      std::snprintf(line, sizeof line, "%-12s %8s %10s %12s %18s %14s\n", "device", "step", "loss",
                    "tokens/s", "simulated us/step", "tensor engine");
      print(line);
      header_ = true;
    }
    char loss[32] = "-", simulated[32] = "-", engine[32] = "-";
    if (std::isfinite(row.loss)) std::snprintf(loss, sizeof loss, "%.4f", row.loss);
    if (row.simulated_us_per_step)
      std::snprintf(simulated, sizeof simulated, "%.1f", *row.simulated_us_per_step);
    if (row.tensor_engine_percent)
      std::snprintf(engine, sizeof engine, "%.1f %%", *row.tensor_engine_percent);
    std::snprintf(line, sizeof line, "%-12s %8lld %10s %12s %18s %14s\n", row.device.c_str(),
                  static_cast<long long>(row.step), loss, plan::count_text(row.tokens_per_s).c_str(),
                  simulated, engine);
    print(line);
  }

 private:
  bool header_ = false;
};

std::string introduction(const Start& start, int64_t steps) {
  const TrainingSettings& s = start.settings;
  std::string text = s.is_text() ? "Learning '" + s.text + "' (" + std::to_string(s.text_bytes) + " bytes)"
                                 : "Learning to add numbers of " + std::to_string(s.digits) + " digits";
  text += ": a transformer of " + plan::count_text(static_cast<double>(gpt_parameter_count(s.model()))) +
          " parameters, " + std::to_string(steps) + " steps of " + std::to_string(s.batch) + " x " +
          std::to_string(s.context) + " tokens, " + s.optimizer + ", " + s.dtype + ", seed " +
          std::to_string(s.seed);
  return text + ".\n\n";
}

void run(const Options& options) {
  if (options.save_every > 0 && options.save.empty()) throw UsageError("--save-every needs --save FILE");
  load_plugins(options.devices);
  Start start = prepare(options);
  const std::vector<Device> devices = open_devices(start.specs);
  open_devices(options.devices.fallback);  // a name that does not exist is told before anything runs
  const std::unique_ptr<Task> task = open_task(start.settings);
  const int64_t steps = options.steps_option->count() > 0 ? options.steps
                        : start.settings.is_text()        ? 300
                                                          : 500;

  for (const Device& device : devices)
    if (!device.computes() && !options.save.empty())
      throw UsageError("'" + device.spec() +
                       "' computes no numbers (numerics=off): leave --save out, or that option");

  expect_files_apart(options, start.settings.text);
  if (!options.save.empty()) {
    try {
      io::format_safetensors_header({{}, to_metadata(start.settings)});
    } catch (const Error&) {
      throw UsageError("the name of --text, '" + start.settings.text +
                       "', is not UTF-8, and --save writes it into the checkpoint: rename the file");
    }
  }
  // Hours of training must not end with a file that cannot be written.
  for (const std::string& file : {options.save, options.trace})
    if (!file.empty()) io::expect_replaceable(file);
  expect_report_file(options.report);
  bool anything_left = false;
  const Graph graph = start.settings.training_step();
  for (const DeviceState& state : start.states) {
    anything_left = anything_left || state.step < steps;
    if (state.step > 0) expect_fits(state, graph, options.resume);
  }
  if (!anything_left) {
    throw UsageError("'" + options.resume + "' is at step " + std::to_string(start.states.front().step) +
                     " already: ask for more with --steps");
  }
  catch_interrupts();
  if (!options.json) print(introduction(start, steps));

  std::vector<TrainingRun> runs;
  Trace trace;
  RowPrinter rows;
  bool stopped = false;
  // Writes what every device has reached, `changed` being the one that trains now.
  const auto save = [&](const DeviceState& changed) {
    TrainingCheckpoint checkpoint{start.settings, start.states};
    for (DeviceState& state : checkpoint.states) {
      if (state.device == changed.device) state = changed;
    }
    save_training(options.save, checkpoint);
  };
  for (size_t i = 0; i < devices.size() && !stopped; ++i) {
    DeviceState& state = start.states[i];
    const int64_t first = state.step;
    Progress progress(state.device, std::max<int64_t>(steps - first, 0));
    TrainingHooks hooks;
    hooks.trace = options.trace.empty() ? nullptr : &trace;
    hooks.stop = &interrupted;
    hooks.progress = [&](int64_t done, double loss) {
      progress.update(done - first, "loss " + std::to_string(loss));
    };
    if (!options.json) {
      hooks.row = [&](const TrainingRow& row) {
        progress.hide();
        rows.print_row(row);
      };
    }
    if (!options.save.empty()) {
      hooks.save_every = options.save_every;
      hooks.save = save;
    }
    runs.push_back(train_on(with_fallback(devices[i], options.devices), fallback_of(options.devices),
                            start.settings, *task, state, steps, hooks));
    state = runs.back().state;
    stopped = runs.back().stopped;
    if (!options.save.empty()) save(state);
  }
  if (!options.trace.empty()) trace.save(options.trace);
  if (stopped) {
    if (options.json) print_document(train_document(start.settings, runs));
    const DeviceState& last = runs.back().state;
    throw Error(ErrorCode::cancelled, "interrupted after step " + std::to_string(last.step) + " on " +
                                          last.device +
                                          (options.save.empty() ? "; nothing was saved, --save FILE would"
                                                                : "; go on with --resume " + options.save));
  }

  if (!options.report.empty()) write_report(options.report, train_page(start.settings, runs));
  if (options.json) {
    print_document(train_document(start.settings, runs));
  } else {
    print("\n" + train_summary(runs) + "\n" + verdict(start.settings, runs) + "\n");
    if (!options.save.empty()) print("Saved to " + options.save + ".\n");
    if (!options.trace.empty())
      print("Trace written to " + options.trace + ": open it at ui.perfetto.dev.\n");
    if (!options.report.empty()) print("Report written to " + options.report + ".\n");
  }
  if (agree(start.settings, runs) == false)
    throw Error(ErrorCode::device,
                "the devices do not agree: the largest relative difference of their losses is " +
                    std::to_string(max_relative_loss_difference(runs).value_or(0)));
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "train",
      "Train a small transformer: to add numbers, or with --text to continue a text. Several devices train "
      "the same graph on the same batches, one after the other.");
  auto options = std::make_shared<Options>();
  add_device_options(
      *command, options->devices,
      "Train on this device (repeatable); default: cpu, then trn1; with --resume those of the file");
  add_fallback_option(*command, options->devices);
  options->steps_option = command->add_option(
      "--steps", options->steps, "Steps in all, those of a resumed run included (500; text: 300)");
  options->steps_option->type_name("N")->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}));
  options->settings.add_to(*command);
  command
      ->add_option("--save", options->save,
                   "Write weights and optimizer state of every device here at the end, and when interrupted")
      ->type_name("FILE.safetensors");
  command->add_option("--save-every", options->save_every, "Also after every so many steps")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}));
  command->add_option("--resume", options->resume, "Go on from a saved run, bit for bit")
      ->type_name("FILE.safetensors");
  command
      ->add_option("--trace", options->trace,
                   "Write a trace of the second to fourth step of each device, for ui.perfetto.dev")
      ->type_name("FILE.json");
  add_report_option(*command, options->report);
  for (const char* name : {"--save", "--resume", "--trace", "--report"})
    options->files.emplace_back(name, command->get_option(name));
  command->add_flag("--json", options->json, "Print one JSON document at the end instead of tables");
  command->footer(
      "Example: heddle train --text /usr/share/common-licenses/GPL-3 --device cpu --device trn1 --steps 300");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
