// heddle sim replay: kernels that others measured, as loop nests, through our scheduler and machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "heddle/systolic/replay.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

namespace sys = heddle::systolic;
using nlohmann::ordered_json;

constexpr const char* stamp = "simulated; calibrated on public figures, never run on Trainium";

struct Options {
  std::vector<std::string> kernels;
  std::string level = "as-executed", device;
  int window = 1024;
  bool all = false, json = false, decisions = false;
};

struct Row {
  sys::ReplayKernel kernel;
  sys::ReplayResult result;
};

std::string fixed(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
double error_percent(double predicted, double measured) { return 100 * (predicted / measured - 1); }

// "1.23 / 1.20 +2 %" of milliseconds; without the measured part where nothing was published.
std::string pair(double predicted, double measured, double scale, const char* format) {
  std::string text = fixed(predicted * scale, format);
  if (measured <= 0) return text;
  return text + " / " + fixed(measured * scale, format) + " " +
         fixed(error_percent(predicted, measured), "%+.1f%%");
}

ordered_json document(const Row& row) {
  const sys::Published& p = row.kernel.published();
  const sys::ReplayResult& r = row.result;
  ordered_json j;
  j["kernel"] = r.kernel, j["device"] = r.device;
  j["level"] = r.level == sys::ReplayLevel::as_written ? "as-written" : "as-executed";
  j["predicted_ms"] = r.seconds * 1e3;
  if (p.seconds > 0)
    j["measured_ms"] = p.seconds * 1e3, j["error_percent"] = error_percent(r.seconds, p.seconds);
  j["lower_bound_ms"] = r.lower_bound_seconds * 1e3;
  j["hbm_read_bytes"] = r.hbm_read_bytes, j["hbm_write_bytes"] = r.hbm_write_bytes;
  j["spill_save_bytes"] = r.spill_save_bytes, j["spill_reload_bytes"] = r.spill_reload_bytes;
  j["measured_hbm_read_bytes"] = p.hbm_read_bytes, j["measured_hbm_write_bytes"] = p.hbm_write_bytes;
  const std::array<std::pair<const char*, double>, 4> engines = {{{"tensor", p.pe_active},
                                                                  {"scalar", p.act_active},
                                                                  {"vector", p.dve_active},
                                                                  {"gpsimd", p.gpsimd_active}}};
  for (size_t e = 0; e < engines.size(); ++e) {
    j["busy_ms"][engines[e].first] = r.busy_seconds[e] * 1e3;
    if (engines[e].second > 0)
      j["measured_busy_ms"][engines[e].first] = engines[e].second * p.profile_seconds * 1e3;
  }
  j["dma_active_ms"] = r.dma_active_seconds * 1e3;
  j["instructions"] = r.instructions, j["matmuls"] = r.matmuls, j["transposes"] = r.transposes;
  j["facts"] = row.kernel.facts();
  j["decisions"] = r.decisions;
  j["source"] = row.kernel.source(), j["measured_by"] = p.source;
  return j;
}

std::string table(const std::vector<Row>& rows) {
  plan::TextTable t({{"kernel"},
                     {"level"},
                     {"ms predicted / measured"},
                     {"at least ms"},
                     {"HBM MB"},
                     {"tensor ms"},
                     {"scalar ms"},
                     {"vector ms"},
                     {"DMA ms"},
                     {"instructions"}});
  for (const Row& row : rows) {
    const sys::Published& p = row.kernel.published();
    const sys::ReplayResult& r = row.result;
    const double s = p.profile_seconds;
    t.row({r.kernel, r.level == sys::ReplayLevel::as_written ? "as written" : "as executed",
           pair(r.seconds, p.seconds, 1e3, "%.3f"), fixed(r.lower_bound_seconds * 1e3, "%.3f"),
           pair(static_cast<double>(r.hbm_read_bytes + r.hbm_write_bytes),
                static_cast<double>(p.hbm_read_bytes + p.hbm_write_bytes), 1e-6, "%.1f"),
           pair(r.busy_seconds[0], p.pe_active * s, 1e3, "%.3f"),
           pair(r.busy_seconds[1], p.act_active * s, 1e3, "%.3f"),
           pair(r.busy_seconds[2], p.dve_active * s, 1e3, "%.3f"),
           pair(r.dma_active_seconds, p.dma_active * s, 1e3, "%.3f"), std::to_string(r.instructions)});
  }
  return t.text();
}

void run(const Options& options) {
  std::vector<std::string> names = options.kernels;
  if (options.all) names = sys::builtin_kernels();
  if (names.empty()) throw UsageError("name a kernel file or a built-in kernel, or give --all");
  const std::vector<std::string> devices = sys::builtin_devices();
  if (!options.device.empty() && !options.device.ends_with(".toml") &&
      std::find(devices.begin(), devices.end(), options.device) == devices.end())
    throw UsageError("there is no simulated device '" + options.device +
                     "'; there are trn1, trn2, trn3, and files ending in .toml");
  std::vector<sys::ReplayLevel> levels;
  if (options.level != "as-executed") levels.push_back(sys::ReplayLevel::as_written);
  if (options.level != "as-written") levels.push_back(sys::ReplayLevel::as_executed);
  std::vector<Row> rows;
  for (sys::ReplayLevel level : levels)
    for (const std::string& name : names) {
      const sys::ReplayKernel kernel = sys::load_kernel(name);
      const std::string device = options.device.empty() ? kernel.device() : options.device;
      sys::ReplayOptions o;
      o.window = options.window;
      rows.push_back({kernel, sys::replay_kernel(kernel, sys::load_description(device), level, o)});
    }
  if (options.json) {
    ordered_json j;
    j["note"] = stamp;
    for (const Row& row : rows) j["replays"].push_back(document(row));
    print_document(j);
    return;
  }
  std::string text = table(rows);
  for (const Row& row : rows) {
    if (!options.decisions) break;
    text += "\n" + row.result.kernel + ":\n";
    for (const std::string& d : row.result.decisions) text += "  " + d + "\n";
    if (row.result.level == sys::ReplayLevel::as_executed)
      for (const std::string& f : row.kernel.facts()) text += "  fact: " + f + "\n";
  }
  print(text + "\n" + stamp + "\n");
}

}  // namespace

void add_sim_replay(CLI::App& sim) {
  CLI::App* command = sim.add_subcommand("replay", "Time published kernels against their measurements");
  auto options = std::make_shared<Options>();
  command->add_option("kernel", options->kernels, "Loop nests: FILE.json, or the name of a built-in one")
      ->type_name("FILE.json");
  command->add_option("--level", options->level, "as-written, as-executed (with the kernel's facts), or both")
      ->check(CLI::IsMember({"as-written", "as-executed", "both"}))
      ->capture_default_str();
  command->add_option("--device", options->device, "trn1, trn2, trn3 or FILE.toml; default: the kernel's own")
      ->type_name("NAME");
  command->add_option("--window", options->window, "Of the list scheduler, in instructions")
      ->capture_default_str();
  command->add_flag("--all", options->all, "Every built-in kernel");
  command->add_flag("--decisions", options->decisions, "Print what was hoisted, reloaded and spilled");
  command->add_flag("--json", options->json, "Print one JSON document");
  command->footer("Example: heddle sim replay --all --level both");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
