// heddle sim calibrate: refits the constants of a device that are fits, and shows on what.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/output.h"
#include "heddle/systolic/calibration.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

namespace sys = heddle::systolic;
using nlohmann::ordered_json;

constexpr const char* stamp = "simulated; calibrated on public figures, never run on Trainium";

struct Options {
  std::string device = "trn1";
  bool json = false;
};

std::string fixed(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
std::string name_of(const sys::FitRow& row) { return row.kernel + " " + sys::quantity_name(row.quantity); }

ordered_json document(const sys::Calibration& c) {
  ordered_json j;
  j["note"] = stamp, j["device"] = c.device;
  for (const sys::FittedConstant& f : c.constants) {
    ordered_json rows = ordered_json::array();
    for (const sys::FitRow& row : f.rows) rows.push_back(name_of(row));
    j["constants"].push_back(
        {{"key", f.key}, {"unit", f.unit}, {"in_file", f.in_file}, {"fitted", f.fitted}, {"rows", rows}});
  }
  for (const sys::Residual& r : c.residuals)
    j["residuals"].push_back({{"kernel", r.row.kernel},
                              {"quantity", sys::quantity_name(r.row.quantity)},
                              {"measured_ms", r.measured * 1e3},
                              {"in_file_ms", r.in_file * 1e3},
                              {"fitted_ms", r.fitted * 1e3},
                              {"held_out", !r.used}});
  return j;
}

std::string tables(const sys::Calibration& c) {
  using Align = plan::TextTable::Align;
  plan::TextTable constants(
      {{"constant"}, {"in the file", Align::right}, {"fitted", Align::right}, {"unit"}, {"fitted on"}});
  for (const sys::FittedConstant& f : c.constants) {
    std::string rows;
    for (const sys::FitRow& row : f.rows) rows += (rows.empty() ? "" : ", ") + name_of(row);
    constants.row({f.key, fixed(f.in_file, "%.2f"), fixed(f.fitted, "%.2f"), f.unit, rows});
  }
  plan::TextTable residuals({{"row"},
                             {"measured ms", Align::right},
                             {"as in the file", Align::right},
                             {"error", Align::right},
                             {"as fitted", Align::right},
                             {"error", Align::right},
                             {""}});
  const auto error = [](double predicted, double measured) {
    return fixed(100 * (predicted / measured - 1), "%+.1f%%");
  };
  for (const sys::Residual& r : c.residuals)
    residuals.row({name_of(r.row), fixed(r.measured * 1e3, "%.3f"), fixed(r.in_file * 1e3, "%.3f"),
                   error(r.in_file, r.measured), fixed(r.fitted * 1e3, "%.3f"), error(r.fitted, r.measured),
                   r.used ? "fitted" : "held out"});
  return c.device + ", calibrated column; documented costs are not touched\n\n" + constants.text() + "\n" +
         residuals.text();
}

void run(const Options& options) {
  // The devices that something was published on; anything else cannot be meant.
  if (options.device != "trn1" && options.device != "trn2")
    throw UsageError("nothing was published to calibrate '" + options.device +
                     "' on; there are trn1 and trn2");
  const sys::Calibration c = sys::calibrate(options.device);
  if (options.json)
    print_document(document(c));
  else
    print(tables(c) + "\n" + stamp + "\n");
}

}  // namespace

void add_sim_calibrate(CLI::App& sim) {
  CLI::App* command =
      sim.add_subcommand("calibrate", "Refit the fitted constants of a device to published measurements");
  auto options = std::make_shared<Options>();
  command->add_option("--device", options->device, "trn1 or trn2")->type_name("NAME")->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON document");
  command->footer("Example: heddle sim calibrate --device trn1");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
