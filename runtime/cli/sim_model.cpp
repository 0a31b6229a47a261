// heddle sim model: a whole published model on one core of simulated devices, side by side.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/model_estimate.h"
#include "cli/output.h"
#include "cli/report_page.h"
#include "cli/simulated_device.h"
#include "heddle/error.h"
#include "ir/number_text.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

using nlohmann::ordered_json;
using plan::TextTable;

constexpr TextTable::Align right = TextTable::Align::right;

struct Options {
  std::string preset, file, dtype = "bf16", sweep, report;
  std::vector<std::string> devices;
  int64_t batch = 1, positions = 0, layers = 0;
  bool train = false, whole = false, json = false;
};

struct Sweep {
  std::string key;
  std::vector<double> values;
};

struct SweepPoint {
  double value;
  ModelEstimate estimate;
};

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string time_text(double seconds) {
  if (seconds < 1e-3) return formatted("%.1f us", seconds * 1e6);
  return seconds < 1 ? formatted("%.2f ms", seconds * 1e3) : formatted("%.3f s", seconds);
}

Sweep parse_sweep(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string hint =
      "--sweep takes KEY=a,b,c, a number of the device file: --sweep dma.gbps=13.6,27.2; not '" + text + "'";
  if (equals == std::string::npos || text.find('.') >= equals) throw UsageError(hint);
  Sweep sweep{text.substr(0, equals), {}};
  std::string rest = text.substr(equals + 1);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string item = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    char* end = nullptr;
    const double value = std::strtod(item.c_str(), &end);
    if (item.empty() || *end != 0 || !std::isfinite(value)) throw UsageError(hint);
    sweep.values.push_back(value);
  }
  if (sweep.values.empty()) throw UsageError(hint);
  return sweep;
}

ModelRequest request_of(const Options& o) {
  ModelRequest request;
  try {
    request.config = transformer_preset(o.preset);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  if (o.layers > 0) request.config.layers = o.layers;
  request.batch = o.batch;
  request.positions = o.positions > 0 ? o.positions : std::min<int64_t>(request.config.context, 2048);
  if (request.positions > request.config.context)
    throw UsageError("--seq " + std::to_string(o.positions) + " is longer than the context of " + o.preset +
                     ", " + std::to_string(request.config.context));
  request.train = o.train;
  request.whole = o.whole;
  request.config.compute = o.dtype == "f32" ? f32 : bf16;
  // Training keeps float32 weights and casts them for the products; inference keeps them as they are used.
  request.config.parameters = o.train ? f32 : request.config.compute;
  return request;
}

std::string method_text(const ModelRequest& r) {
  if (r.whole) return "compiled as one program";
  return "each distinct part is timed once and multiplied by how often it runs (" +
         std::to_string(r.config.layers) + " equal layers); overlap from part to part is not counted";
}

// One op of a part: the profile's row, and what it means for the whole step.
struct OpRow {
  const PartEstimate* part;
  const ordered_json* node;
  double seconds;  // of the critical path of a step
};

std::vector<OpRow> ops_by_time(const ModelEstimate& estimate) {
  std::vector<OpRow> rows;
  for (const PartEstimate& part : estimate.parts)
    for (const ordered_json& node : part.profile.at("nodes"))
      rows.push_back(
          {&part, &node, node.at("critical_time").get<double>() * static_cast<double>(part.repeat)});
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OpRow& a, const OpRow& b) { return a.seconds > b.seconds; });
  return rows;
}

ordered_json document_of(const ModelEstimate& e, const ModelRequest& request) {
  ordered_json parts = ordered_json::array();
  for (const PartEstimate& p : e.parts) {
    ordered_json profile = p.profile;
    profile.erase("activity");
    parts.push_back({{"name", p.name},
                     {"repeat", p.repeat},
                     {"time_us", p.seconds * 1e6},
                     {"share_percent", 100 * p.seconds * static_cast<double>(p.repeat) / e.seconds},
                     {"bottleneck", p.profile.at("bottleneck")},
                     {"profile", std::move(profile)}});
  }
  return {{"device", e.device},
          {"core", e.core},
          {"time_per_step_ms", e.seconds * 1e3},
          {"launch_overhead_ms", e.launch_seconds * 1e3},
          {"tokens_per_s", e.tokens_per_second},
          {"mfu_percent", e.mfu_percent},
          {"usd_per_core_hour", e.usd_per_core_hour},
          {"usd_per_million_tokens", e.usd_per_million_tokens},
          {"bottleneck", bottleneck_text(e)},
          {"memory",
           {{"weights_bytes", e.memory.weights},
            {"optimizer_bytes", e.memory.optimizer},
            {"gradient_bytes", e.memory.gradients},
            {"activation_bytes", e.memory.activations},
            {"needed_bytes", e.memory.needed()},
            {"hbm_bytes", e.memory.capacity},
            {"fits", e.memory.fits()},
            {"verdict", fit_text(request, e)}}},
          {"simulation_wall_ms", e.wall_seconds * 1e3},
          {"parts", parts}};
}

ordered_json document_of(const ModelRequest& r, const std::vector<ModelEstimate>& estimates,
                         const Options& o) {
  ordered_json devices = ordered_json::array();
  for (const ModelEstimate& e : estimates) devices.push_back(document_of(e, r));
  return {{"note", simulated_stamp},
          {"model", r.config.name},
          {"parameters", transformer_parameter_count(r.config)},
          {"batch", r.batch},
          {"seq", r.positions},
          {"train", r.train},
          {"dtype", o.dtype},
          {"flops_per_step", r.flops()},
          {"method", method_text(r)},
          {"devices", devices}};
}

std::string comparison(const ModelRequest& r, const std::vector<ModelEstimate>& estimates) {
  TextTable table({{"device"},
                   {"step", right},
                   {"tokens/s", right},
                   {"MFU", right},
                   {"$/M tokens", right},
                   {"memory"},
                   {"bound by"}});
  for (const ModelEstimate& e : estimates)
    table.row({e.device, time_text(e.seconds), plan::count_text(e.tokens_per_second),
               formatted("%.1f %%", e.mfu_percent), formatted("%.4f", e.usd_per_million_tokens),
               fit_text(r, e), bottleneck_text(e)});
  return table.text();
}

std::string memory_table(const std::vector<ModelEstimate>& estimates) {
  TextTable table({{"device"},
                   {"weights", right},
                   {"optimizer", right},
                   {"gradients", right},
                   {"activations", right},
                   {"needed", right},
                   {"HBM", right}});
  for (const ModelEstimate& e : estimates) {
    const ModelMemory& m = e.memory;
    table.row({e.device, plan::bytes_text(m.weights), plan::bytes_text(m.optimizer),
               plan::bytes_text(m.gradients), plan::bytes_text(m.activations), plan::bytes_text(m.needed()),
               plan::bytes_text(m.capacity)});
  }
  return table.text();
}

std::string parts_table(const ModelEstimate& e) {
  TextTable table({{"part"},
                   {"times", right},
                   {"each", right},
                   {"of step", right},
                   {"tensor", right},
                   {"scalar", right},
                   {"vector", right},
                   {"gpsimd", right},
                   {"dma", right},
                   {"bottleneck"}});
  for (const PartEstimate& p : e.parts) {
    std::vector<std::string> cells = {
        p.name, std::to_string(p.repeat), time_text(p.seconds),
        formatted("%.1f %%", 100 * p.seconds * static_cast<double>(p.repeat) / e.seconds)};
    for (const char* engine : {"tensor", "scalar", "vector", "gpsimd", "dma"})
      cells.push_back(formatted("%.0f %%", 100 * p.active_seconds(engine) / p.seconds));
    cells.push_back(p.profile.at("bottleneck"));
    table.row(cells);
  }
  return table.text();
}

std::string ops_table(const ModelEstimate& e, size_t most) {
  TextTable table({{"op"},
                   {"part"},
                   {"step time", right},
                   {"of step", right},
                   {"bound by"},
                   {"tensor", right},
                   {"scalar", right},
                   {"vector", right},
                   {"dma", right},
                   {"HBM bytes", right}});
  const std::vector<OpRow> rows = ops_by_time(e);
  for (size_t i = 0; i < std::min(most, rows.size()); ++i) {
    const ordered_json& node = *rows[i].node;
    const auto times = static_cast<double>(rows[i].part->repeat);
    const auto of = [&](const char* key) { return time_text(times * node.at(key).get<double>()); };
    std::string scope = node.at("scope");
    if (scope.size() > 48) scope = scope.substr(0, 45) + "...";
    table.row({scope, rows[i].part->name, time_text(rows[i].seconds),
               formatted("%.1f %%", 100 * rows[i].seconds / e.seconds), node.at("bound_by"),
               of("tensor_time"), of("scalar_time"), of("vector_time"), of("dma_time"),
               plan::bytes_text(times * node.at("hbm_bytes").get<double>())});
  }
  return table.text();
}

// The device without what came after the colon, for tables of a sweep.
std::string sweep_table(const Sweep& sweep, const std::vector<SweepPoint>& points,
                        const std::string& device) {
  double longest = 0;
  for (const SweepPoint& p : points) longest = std::max(longest, p.estimate.seconds);
  TextTable table(
      {{sweep.key, right}, {"step", right}, {"tokens/s", right}, {"MFU", right}, {"step time on " + device}});
  for (const SweepPoint& p : points) {
    const auto bar = static_cast<size_t>(std::lround(40 * p.estimate.seconds / longest));
    table.row({number_text(p.value), time_text(p.estimate.seconds),
               plan::count_text(p.estimate.tokens_per_second), formatted("%.1f %%", p.estimate.mfu_percent),
               std::string(std::max<size_t>(bar, 1), '#')});
  }
  return table.text();
}

ordered_json sweep_document(const Sweep& sweep, const std::vector<SweepPoint>& points,
                            const std::string& device) {
  ordered_json list = ordered_json::array();
  for (const SweepPoint& p : points)
    list.push_back({{"value", p.value},
                    {"time_per_step_ms", p.estimate.seconds * 1e3},
                    {"tokens_per_s", p.estimate.tokens_per_second},
                    {"mfu_percent", p.estimate.mfu_percent},
                    {"bottleneck", bottleneck_text(p.estimate)}});
  return {{"device", device}, {"key", sweep.key}, {"points", list}};
}

std::string introduction(const ModelRequest& r, const Options& o) {
  return r.config.name + ", " + plan::count_text(static_cast<double>(transformer_parameter_count(r.config))) +
         " parameters, " + (r.train ? "a training step (AdamW, float32 weights)" : "a forward pass") +
         " of " + std::to_string(r.batch) + " x " + std::to_string(r.positions) + " tokens in " + o.dtype +
         " on one core:\n" + simulated_stamp + ";\n" + method_text(r) + ".\n\n";
}

systolic::Page page_of(const ModelRequest& r, const Options& o, const std::vector<ModelEstimate>& estimates,
                       const std::optional<Sweep>& sweep, const std::vector<std::vector<SweepPoint>>& swept) {
  systolic::Page page;
  page.title = r.config.name + (r.train ? ", a training step" : ", a forward pass");
  page.subtitle = std::to_string(r.batch) + " x " + std::to_string(r.positions) + " tokens in " + o.dtype +
                  " on one core; " + method_text(r) + ".";
  systolic::PageTable devices{
      "Devices", {"device", "step", "tokens/s", "MFU", "$/M tokens", "memory", "bound by"}, {}};
  for (const ModelEstimate& e : estimates)
    devices.rows.push_back({e.device, time_text(e.seconds), plan::count_text(e.tokens_per_second),
                            formatted("%.1f %%", e.mfu_percent), formatted("%.4f", e.usd_per_million_tokens),
                            fit_text(r, e), bottleneck_text(e)});
  page.tables.push_back(devices);
  if (sweep) {
    systolic::PageChart chart{"Time of a step over " + sweep->key, sweep->key, "ms", {}};
    for (size_t d = 0; d < swept.size(); ++d) {
      systolic::PageChart::Line& line = chart.lines.emplace_back();
      line.name = estimates[d].device;
      for (const SweepPoint& p : swept[d]) {
        line.x.push_back(p.value);
        line.y.push_back(p.estimate.seconds * 1e3);
      }
    }
    page.charts.push_back(chart);
  }
  for (const ModelEstimate& e : estimates) {
    systolic::PageTable parts{"Parts on " + e.device, {"part", "times", "each", "of step", "bottleneck"}, {}};
    for (const PartEstimate& p : e.parts)
      parts.rows.push_back({p.name, std::to_string(p.repeat), time_text(p.seconds),
                            formatted("%.1f %%", 100 * p.seconds * static_cast<double>(p.repeat) / e.seconds),
                            p.profile.at("bottleneck")});
    page.tables.push_back(parts);
  }
  for (const ModelEstimate& e : estimates)
    for (const PartEstimate& p : e.parts)
      page.runs.push_back(
          {e.device + ": " + p.name + (p.repeat > 1 ? ", one of " + std::to_string(p.repeat) : std::string()),
           p.profile.dump()});
  return page;
}

void run(const Options& o) {
  if (!o.file.empty())
    throw UsageError("'" + o.file + "': models from ONNX files cannot be estimated yet; use --preset");
  const ModelRequest request = request_of(o);
  expect_report_file(o.report);
  const std::optional<Sweep> sweep = o.sweep.empty() ? std::nullopt : std::optional(parse_sweep(o.sweep));
  std::vector<SimulatedDevice> devices;
  for (const std::string& spec : o.devices.empty() ? std::vector<std::string>{"trn1"} : o.devices)
    devices.emplace_back(spec);
  std::vector<ModelEstimate> estimates;
  for (const SimulatedDevice& device : devices) estimates.push_back(estimate_model(request, device));
  std::vector<std::vector<SweepPoint>> swept;
  for (const SimulatedDevice& device : devices) {
    if (!sweep) break;
    std::vector<SweepPoint>& points = swept.emplace_back();
    for (const double value : sweep->values)
      points.push_back({value, estimate_model(request, device.with(sweep->key, value))});
  }

  if (!o.report.empty()) write_report(o.report, page_of(request, o, estimates, sweep, swept));
  if (o.json) {
    ordered_json document = document_of(request, estimates, o);
    for (size_t d = 0; d < swept.size(); ++d)
      document["sweep"].push_back(sweep_document(*sweep, swept[d], devices[d].spec()));
    print_document(document);
    return;
  }
  std::string text =
      introduction(request, o) + comparison(request, estimates) + "\n" + memory_table(estimates);
  for (const ModelEstimate& e : estimates)
    text += "\n" + e.device + " by part, shares of the part's time in which a unit is active:\n" +
            parts_table(e) + "\n" + e.device +
            " by op, the longest on the critical path first; units: issue time of the op's instructions:\n" +
            ops_table(e, 12);
  for (size_t d = 0; d < swept.size(); ++d) text += "\n" + sweep_table(*sweep, swept[d], devices[d].spec());
  for (const ModelEstimate& e : estimates)
    text += (&e == &estimates.front() ? "\n" : "") + std::string("Estimating for ") + e.device + " took " +
            time_text(e.wall_seconds) + " of wall-clock time.\n";
  print(text);
}

}  // namespace

void add_sim_model(CLI::App& sim) {
  CLI::App* command = sim.add_subcommand("model",
                                         "Estimate a published model on one core: time per step, tokens per "
                                         "second, MFU, memory, what bounds it, and "
                                         "dollars per million tokens at the price in the device file");
  auto o = std::make_shared<Options>();
  std::string names;
  for (const std::string& name : transformer_presets()) names += (names.empty() ? "" : "|") + name;
  CLI::Option* preset =
      command->add_option("--preset", o->preset, "Which model: " + names)->type_name("NAME");
  CLI::Option* file = command->add_option("FILE", o->file, "A model in an ONNX file (not there yet)");
  preset->excludes(file);
  command
      ->add_option("--device", o->devices,
                   "trn1, trn2, trn3 or systolic:FILE.toml (repeatable: side by side)")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  command->add_option("--batch", o->batch, "Sequences a step (1)")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}));
  command->add_option("--seq", o->positions, "Tokens a sequence (the model's context, at most 2048)")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command->add_option("--layers", o->layers, "Instead of the model's number of layers")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}));
  command->add_flag("--train", o->train, "A training step: forward, backward and AdamW");
  command->add_option("--dtype", o->dtype, "What is computed in (bf16)")
      ->type_name("bf16|f32")
      ->check(CLI::IsMember({"bf16", "f32"}));
  command->add_flag("--whole", o->whole,
                    "Compile the whole model as one program instead of timing equal layers once: slower, and "
                    "overlap from layer to layer counts");
  command->add_option("--sweep", o->sweep, "Vary a number of the device file: dma.gbps=13.6,27.2,54.4")
      ->type_name("KEY=A,B,C");
  add_report_option(*command, o->report);
  command->add_flag("--json", o->json, "Print one JSON document");
  command->footer("Example: heddle sim model --preset llama2-7b --device trn1 --device trn2 --seq 2048");
  command->callback([o] {
    if (o->preset.empty() && o->file.empty())
      throw UsageError("name a model: --preset with one of the names that heddle sim model --help lists");
    run(*o);
  });
}

}  // namespace heddle::cli
