// heddle sim gemm: one matrix product, by closed forms of the array alone or on the whole simulated machine.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/report_page.h"
#include "cli/simulated_device.h"
#include "heddle/estimate.h"
#include "heddle/ops/matmul.h"
#include "heddle/session.h"
#include "heddle/systolic/pe_model.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

using nlohmann::ordered_json;
using systolic::Gemm;
using systolic::PeModel;

constexpr int64_t largest_size = int64_t{1} << 20;
// Tile products of the largest product whose instructions are made one by one: some gigabytes of them.
constexpr double largest_tiles = 1 << 22;

struct Options {
  Gemm gemm;
  std::string device = "trn1", dtype = "bf16", model = "trn";
  std::string report;
  bool functional = false, json = false;
};

struct Measured {
  double median_us = 0;
  int runs = 0;
};

// Median wall time of `body`, over at most `most` runs and about a quarter of a second.
template <class Body>
Measured measure(int most, Body&& body) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  std::vector<double> us;
  do {
    const Clock::time_point begin = Clock::now();
    body();
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  } while (std::ssize(us) < most && Clock::now() - start < std::chrono::milliseconds(250));
  const auto middle = us.begin() + std::ssize(us) / 2;
  std::nth_element(us.begin(), middle, us.end());
  return {*middle, static_cast<int>(us.size())};
}

DType dtype_of(const std::string& name) { return name == "f32" ? f32 : bf16; }

PeModel model_of(const std::string& name) {
  return name == "scalesim" ? PeModel::scalesim : name == "overlap" ? PeModel::overlap : PeModel::trn;
}

Graph product(const Options& o) {
  Graph graph;
  const Value a = graph.input("a", dtype_of(o.dtype), {o.gemm.m, o.gemm.k});
  const Value b = graph.input("b", dtype_of(o.dtype), {o.gemm.k, o.gemm.n});
  graph.output("c", matmul(a, b));
  return graph;
}

// Operands that a run cannot shortcut: numbers between -1 and 1, the same every time.
Tensor operand(DType dtype, const Shape& shape) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Tensor values(f32, shape);
  for (float& x : values.values<float>()) x = uniform(random);
  return dtype == f32 ? values : values.to(dtype);
}

ordered_json shares(double busy, double dma, double engine, double idle) {
  return {{"busy_percent", busy},
          {"waiting_dma_percent", dma},
          {"waiting_engine_percent", engine},
          {"idle_percent", idle}};
}

constexpr const char* engines[] = {"tensor", "scalar", "vector", "gpsimd", "sync"};

// The closed forms know one engine: it streams rows, or loads, fills and drains.
void add_closed_form(const Options& o, const SimulatedDevice& device, ordered_json& document) {
  const systolic::PeDescription& pe = device.description().pe;
  const PeModel model = model_of(o.model);
  int64_t cycles = 0;
  const Measured wall =
      measure(1001, [&] { cycles = systolic::pe_cycles(model, o.gemm, dtype_of(o.dtype), pe); });
  const double streaming =
      100.0 * static_cast<double>(systolic::pe_streaming_cycles(model, o.gemm, dtype_of(o.dtype), pe)) /
      static_cast<double>(cycles);
  document["time_us"] = static_cast<double>(cycles) / (pe.ghz * 1e3);
  document["operands"] = "resident";
  for (const char* engine : engines)
    document["engines"][engine] =
        engine == engines[0] ? shares(streaming, 0, 100 - streaming, 0) : shares(0, 0, 0, 100);
  document["simulation_wall_us"] = wall.median_us;
  document["simulation_runs"] = wall.runs;
}

void write_page(const Options& o, const SimulatedDevice& device, const std::string& report) {
  systolic::Page page;
  page.title = "heddle sim gemm on " + device.spec();
  page.subtitle = std::to_string(o.gemm.m) + " x " + std::to_string(o.gemm.n) + " x " +
                  std::to_string(o.gemm.k) + " (M x N x K), " + o.dtype + ", operands in HBM";
  page.runs.push_back({"The product", report});
  write_report(o.report, page);
}

void add_machine(const Options& o, const SimulatedDevice& device, ordered_json& document) {
  const systolic::PeDescription& pe = device.description().pe;
  const auto tiles = [](int64_t size, int64_t tile) { return static_cast<double>((size + tile - 1) / tile); };
  if (tiles(o.gemm.m, pe.moving_max) * tiles(o.gemm.n, pe.columns) * tiles(o.gemm.k, pe.rows) > largest_tiles)
    throw UsageError(
        "a product of more than 4 Mi tile products is too large to simulate; "
        "--pe-model overlap has a closed form");
  const Graph graph = product(o);
  const Device opened = device.timing_only();  // stays open between the runs
  std::optional<Estimate> estimated;
  const Measured wall = measure(101, [&] { estimated.emplace(device.estimate(graph)); });
  const ordered_json report = ordered_json::parse(estimated->report());
  if (!o.report.empty()) write_page(o, device, estimated->report());
  document["time_us"] = static_cast<double>(estimated->simulated_ps()) * 1e-6;
  document["operands"] = "in HBM";
  for (const char* engine : engines) {
    const std::string name = std::string(engine) + "_engine_";
    document["engines"][engine] =
        shares(report.at(name + "active_time_percent"), report.at(name + "waiting_dma_percent"),
               report.at(name + "waiting_engine_percent"), report.at(name + "idle_percent"));
  }
  document["dma_active_percent"] = report.at("dma_active_time_percent");
  document["hbm_read_bytes"] = report.at("hbm_read_bytes");
  document["hbm_write_bytes"] = report.at("hbm_write_bytes");
  document["bottleneck"] = report.at("bottleneck");
  document["simulation_wall_us"] = wall.median_us;
  document["simulation_runs"] = wall.runs;
}

void add_functional(const Options& o, const SimulatedDevice& device, ordered_json& document) {
  const Graph graph = product(o);
  Session session(graph, {device.functional()});
  const std::vector<Tensor> inputs = {operand(dtype_of(o.dtype), {o.gemm.m, o.gemm.k}),
                                      operand(dtype_of(o.dtype), {o.gemm.k, o.gemm.n})};
  std::vector<Tensor> outputs = {Tensor(dtype_of(o.dtype), {o.gemm.m, o.gemm.n})};
  session.run(inputs, outputs);  // plans and touches memory
  const Measured wall = measure(11, [&] { session.run(inputs, outputs); });
  document["functional_wall_us"] = wall.median_us;
  document["functional_runs"] = wall.runs;
}

std::string table_of(const ordered_json& d) {
  char line[256];
  std::string text = std::string(simulated_stamp) + "\n\n";
  const auto add = [&](const char* name, const char* format, auto... values) {
    char value[160];
    std::snprintf(value, sizeof value, format, values...);
    std::snprintf(line, sizeof line, "%-24s %s\n", name, value);
    text += line;
  };
  add("device", "%s, %s", d.at("device").get<std::string>().c_str(), d.at("core").get<std::string>().c_str());
  add("product", "%lld x %lld x %lld (M x N x K), %s", d.at("m").get<long long>(), d.at("n").get<long long>(),
      d.at("k").get<long long>(), d.at("dtype").get<std::string>().c_str());
  add("model", "%s, operands %s", d.at("pe_model").get<std::string>().c_str(),
      d.at("operands").get<std::string>().c_str());
  add("pe cycles", "%lld", d.at("pe_cycles").get<long long>());
  add("time", "%.3f us", d.at("time_us").get<double>());
  add("utilization", "%.2f %% of the array over that time", 100 * d.at("utilization").get<double>());
  add("utilization of cycles", "%.2f %% of the array over the pe cycles",
      100 * d.at("pe_utilization").get<double>());
  if (d.contains("bottleneck")) add("bottleneck", "%s", d.at("bottleneck").get<std::string>().c_str());
  add("simulating took", "%.3f us (median of %d)", d.at("simulation_wall_us").get<double>(),
      d.at("simulation_runs").get<int>());
  if (d.contains("functional_wall_us"))
    add("computing it took", "%.1f us (median of %d)", d.at("functional_wall_us").get<double>(),
        d.at("functional_runs").get<int>());
  constexpr plan::TextTable::Align right = plan::TextTable::Align::right;
  plan::TextTable table({{"engine"},
                         {"busy %", right},
                         {"waiting for DMA %", right},
                         {"waiting for engine %", right},
                         {"idle %", right}});
  for (const auto& [name, share] : d.at("engines").items()) {
    std::vector<std::string> cells = {name};
    for (const auto& [key, value] : share.items()) {
      std::snprintf(line, sizeof line, "%.2f", value.template get<double>());
      cells.emplace_back(line);
    }
    table.row(cells);
  }
  return text + "\n" + table.text();
}

void run(const Options& o) {
  if (!o.report.empty() && o.model != "trn")
    throw UsageError("--report shows a run of the whole machine: use --pe-model trn");
  expect_report_file(o.report);
  const SimulatedDevice device(o.device);
  const systolic::PeDescription& pe = device.description().pe;
  const int64_t cycles = systolic::pe_cycles(model_of(o.model), o.gemm, dtype_of(o.dtype), pe);
  ordered_json document = {
      {"note", simulated_stamp}, {"device", device.spec()}, {"core", device.description().core},
      {"pe_model", o.model},     {"m", o.gemm.m},           {"n", o.gemm.n},
      {"k", o.gemm.k},           {"dtype", o.dtype},        {"pe_cycles", cycles}};
  if (o.model == "trn")
    add_machine(o, device, document);
  else
    add_closed_form(o, device, document);
  // Both against the array at one multiply per cell and cycle in `passes` passes.
  const double array = static_cast<double>(pe.rows) * pe.columns;
  const double ideal = o.gemm.macs() * systolic::pe_passes(dtype_of(o.dtype), pe) / array;
  document["utilization"] = ideal / (document["time_us"].get<double>() * pe.ghz * 1e3);
  document["pe_utilization"] = ideal / static_cast<double>(cycles);
  if (o.functional) add_functional(o, device, document);
  o.json ? print_document(document) : print(table_of(document));
}

}  // namespace

void add_sim_gemm(CLI::App& sim) {
  CLI::App* command = sim.add_subcommand(
      "gemm", "Time one matrix product c[M, N] = a[M, K] b[K, N], whose K x N operand is stationary");
  auto o = std::make_shared<Options>();
  const auto size = [&](const char* name, int64_t& value, const char* help) {
    command->add_option(name, value, help)
        ->required()
        ->type_name("SIZE")
        ->check(CLI::Range(int64_t{1}, largest_size));
  };
  size("--m", o->gemm.m, "Rows of the result");
  size("--n", o->gemm.n, "Columns of the result");
  size("--k", o->gemm.k, "The contraction");
  command->add_option("--dtype", o->dtype, "Of the operands and the result (bf16)")
      ->type_name("bf16|f32")
      ->check(CLI::IsMember({"bf16", "f32"}));
  command->add_option("--device", o->device, "trn1, trn2, trn3 or systolic:FILE.toml (trn1)")
      ->type_name("NAME");
  command
      ->add_option("--pe-model", o->model,
                   "trn: the whole machine, operands in HBM; overlap and scalesim: closed forms of the array "
                   "alone, operands resident (trn)")
      ->type_name("trn|overlap|scalesim")
      ->check(CLI::IsMember({"trn", "overlap", "scalesim"}));
  command->add_flag("--functional", o->functional,
                    "Compute the numbers too, and report the wall time that took beside the simulation's");
  add_report_option(*command, o->report);
  command->add_flag("--json", o->json, "Print one JSON document");
  command->footer("Example: heddle sim gemm --m 1024 --n 1024 --k 1024 --dtype bf16 --device trn1 --json");
  command->callback([o] { run(*o); });
}

}  // namespace heddle::cli
