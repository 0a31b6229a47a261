#include "systolic/report/profile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "systolic/report/activity.h"
#include "systolic/report/nodes.h"
#include "systolic/report/path.h"
#include "systolic/report/work.h"

namespace heddle::systolic {
namespace {

using nlohmann::ordered_json;

constexpr const char* stamp = "simulated; calibrated on public figures, never run on Trainium";
constexpr int slices = 240;  // of the activity over time

double seconds(int64_t picoseconds) { return static_cast<double>(picoseconds) * 1e-12; }
double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }
double percent(int64_t part, int64_t whole) {
  return percent(static_cast<double>(part), static_cast<double>(whole));
}

std::string bottleneck_of(const Timing& t) {
  const std::array<const char*, 5> units = {"tensor engine", "scalar engine", "vector engine",
                                            "gpsimd engine", "sync engine"};
  double best = percent(t.dma.active, t.total);
  std::string unit = "DMA";
  for (size_t q = 0; q < t.queue.size(); ++q) {
    const double share = percent(t.queue[q].busy, t.total);
    if (share > best) best = share, unit = units[q];
  }
  char text[160];
  if (best >= 80)
    std::snprintf(text, sizeof text, "bound by the %s, active %.0f %% of the time", unit.c_str(), best);
  else
    std::snprintf(
        text, sizeof text,
        "bound by latency: the busiest unit, the %s, is active %.0f %% of the time; overlap more work",
        unit.c_str(), best);
  return text;
}

// Time in which anything is busy.
int64_t active_time(const Stream& stream, const Timing& t) {
  std::vector<std::pair<int64_t, int64_t>> spans;
  spans.reserve(t.record.size() + t.transfer.size());
  for (uint32_t i = 0; i < t.record.size(); ++i)
    spans.emplace_back(t.record[i].start, is_dma(stream.instructions[i].opcode)
                                              ? t.record[i].issued
                                              : std::max(t.record[i].end, t.record[i].issued));
  for (const Transfer& transfer : t.transfer) spans.emplace_back(transfer.begin, transfer.end);
  std::sort(spans.begin(), spans.end());
  int64_t active = 0, reach = 0;
  for (const auto& [begin, end] : spans) {
    active += std::max<int64_t>(0, end - std::max(begin, reach));
    reach = std::max(reach, end);
  }
  return active;
}

Profile profile_of(const Stream& stream, const Timing& t, const Work& w) {
  const Description& d = *stream.device;
  Profile p;
  p.total_time = seconds(t.total);
  p.model_flops = w.matmul_flops;
  p.transpose_flops = w.transpose_flops;
  p.hardware_flops = w.matmul_flops + w.transpose_flops;
  p.adjusted_hardware_flops = w.adjusted_flops;
  p.inputs_and_weights_size_bytes = input_bytes(stream);
  const double peak = 2.0 * d.pe.rows * d.pe.columns * d.pe.ghz * 1e9;
  p.mfu_estimated_percent = percent(p.model_flops, peak * p.total_time);
  p.hfu_estimated_percent = percent(p.hardware_flops, peak * p.total_time);
  const auto bytes = static_cast<double>(t.dma.read_bytes + t.dma.write_bytes);
  const double domain_bytes = d.hbm.gbps * 1e9 * p.total_time;
  p.mbu_estimated_percent = percent(bytes, domain_bytes);
  p.mbu_min_read_util_percent = percent(p.inputs_and_weights_size_bytes, domain_bytes);
  p.mm_arithmetic_intensity = bytes > 0 ? p.model_flops / bytes : 0;
  p.peak_flops_bandwidth_ratio = peak / (d.hbm.gbps / d.hbm.cores_per_domain * 1e9);
  p.mfu_max_achievable_estimated_percent =
      100 * std::min(1.0, p.mm_arithmetic_intensity / p.peak_flops_bandwidth_ratio);
  const double pe = static_cast<double>(t.queue[0].interval_time), hbm = bytes / (d.hbm.core_gbps() * 1e-3);
  p.roofline_bound_percent = percent(std::max(pe, hbm), static_cast<double>(t.total));
  p.bottleneck = bottleneck_of(t);
  return p;
}

void add_engines(ordered_json& j, const Timing& t) {
  for (size_t q = 0; q < engine_count; ++q) {
    const QueueTiming& e = t.queue[q];
    const std::string name = std::string(engine_name(static_cast<Engine>(q))) + "_engine_";
    j[name + "active_time"] = seconds(e.busy);
    j[name + "active_time_percent"] = percent(e.busy, t.total);
    j[name + "waiting_dma_percent"] = percent(e.waiting_dma, t.total);
    j[name + "waiting_engine_percent"] = percent(e.waiting_engine, t.total);
    j[name + "idle_percent"] = percent(e.idle, t.total);
    j[name + "instruction_time"] = seconds(e.instruction_time);
    j[name + "instruction_count"] = e.instructions;
  }
}

void add_memory(ordered_json& j, const Timing& t, const Work& w, const Profile& p) {
  j["hbm_read_bytes"] = t.dma.read_bytes;
  j["hbm_write_bytes"] = t.dma.write_bytes;
  j["sbuf_read_bytes"] = w.sbuf_read;
  j["sbuf_write_bytes"] = w.sbuf_write;
  j["psum_read_bytes"] = w.psum_read;
  j["psum_write_bytes"] = w.psum_write;
  j["psum_read_sbuf_write_bytes"] = w.psum_read_sbuf_write;
  j["spill_save_bytes"] = 0;  // tiles that do not fit are refused, not spilled
  j["spill_reload_bytes"] = 0;
  j["inputs_and_weights_size_bytes"] = p.inputs_and_weights_size_bytes;
}

void add_dma(ordered_json& j, const Stream& stream, const Timing& t, const Work& w) {
  j["dma_active_time"] = seconds(t.dma.active);
  j["dma_active_time_percent"] = percent(t.dma.active, t.total);
  j["dma_packet_time"] = seconds(t.dma.packet_time);
  j["dma_transfer_count"] = t.dma.transfers;
  j["dma_transfer_total_bytes"] = t.dma.total_bytes;
  j["dma_transfer_average_bytes"] =
      t.dma.transfers > 0 ? static_cast<double>(t.dma.total_bytes) / static_cast<double>(t.dma.transfers)
                          : 0.0;
  // Descriptors with indices are made by software on GpSimd on every generation: hardware's cannot gather.
  j["static_dma_transfer_count"] = w.static_transfers;
  j["static_dma_total_bytes"] = w.static_bytes;
  j["software_dynamic_dma_transfer_count"] = w.dynamic_transfers;
  j["software_dynamic_dma_total_bytes"] = w.dynamic_bytes;
  j["hardware_dynamic_dma_transfer_count"] = 0;
  j["hardware_dynamic_dma_total_bytes"] = 0;
  j["cc_op_count"] = 0;  // one core: no collectives
  j["cc_op_time"] = 0;
  // Nominal over actual issue time of the tensor engine; the rest is the throttle's.
  double limit = 100;
  if (stream.device->throttle.enabled && t.column == Column::calibrated) {
    const CostModel cost(stream, t.column);
    double nominal = 0, actual = 0;
    for (uint32_t i = 0; i < t.record.size(); ++i) {
      if (stream.instructions[i].engine != Engine::pe) continue;
      nominal += static_cast<double>(cost.cost(stream.instructions[i]).interval);
      actual += static_cast<double>(t.record[i].issued - t.record[i].start);
    }
    if (actual > 0) limit = percent(nominal, actual);
  }
  j["average_utilization_limit_percent"] = limit;
  j["max_achievable_util_with_throttling_percent"] = limit;
}

// The path by what it waited for, by unit, by instruction and by node: the largest first.
void add_breakdown(ordered_json& j, const std::vector<int64_t>& time,
                   const std::function<std::string(size_t)>& name) {
  std::vector<size_t> order;
  for (size_t i = 0; i < time.size(); ++i)
    if (time[i] > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return time[a] > time[b]; });
  j = ordered_json::object();
  for (const size_t i : order) j[name(i)] = seconds(time[i]);
}

ordered_json path_json(const Stream& stream, const Timing& t, const std::vector<PathStep>& path) {
  const auto of = [&](uint32_t i) -> const Instruction& { return stream.instructions[i]; };
  ordered_json j;
  j["instructions"] = path.size();
  add_breakdown(j["by_cause"], path_time_by(path, cause_count, [&](uint32_t i) { return t.record[i].cause; }),
                [](size_t i) { return cause_name(static_cast<Cause>(i)); });
  add_breakdown(j["by_unit"],
                path_time_by(path, resource_count, [&](uint32_t i) { return resource_of(of(i)); }),
                [](size_t i) { return resource_name(static_cast<Resource>(i)); });
  add_breakdown(j["by_opcode"], path_time_by(path, opcode_count, [&](uint32_t i) { return of(i).opcode; }),
                [](size_t i) { return opcode_mnemonic(static_cast<Opcode>(i)); });
  add_breakdown(j["by_scope"],
                path_time_by(path, stream.scopes.size(), [&](uint32_t i) { return of(i).scope; }),
                [&](size_t i) { return stream.scopes[i].empty() ? "(none)" : stream.scopes[i]; });
  return j;
}

ordered_json nodes_json(const std::vector<NodeProfile>& nodes, int64_t total) {
  ordered_json list = ordered_json::array();
  for (const NodeProfile& n : nodes) {
    ordered_json j = {{"scope", n.scope},
                      {"critical_time", seconds(n.critical)},
                      {"critical_percent", percent(n.critical, total)},
                      {"bound_by", resource_name(n.bound)},
                      {"begin", seconds(n.begin)},
                      {"end", seconds(n.end)}};
    for (size_t e = 0; e < engine_count; ++e)
      j[std::string(engine_name(static_cast<Engine>(e))) + "_time"] = seconds(n.interval[e]);
    j["dma_time"] = seconds(n.dma);
    j["hbm_bytes"] = n.hbm_bytes;
    j["flops"] = n.flops;
    j["instructions"] = n.instructions;
    list.push_back(std::move(j));
  }
  return list;
}

ordered_json roofline_json(const Description& d, const Profile& p) {
  const double peak = 2.0 * d.pe.rows * d.pe.columns * d.pe.ghz * 1e9, bandwidth = d.hbm.core_gbps() * 1e9;
  const double attainable = std::min(peak, p.mm_arithmetic_intensity * bandwidth);
  return {{"peak_flops", peak},
          {"hbm_bytes_per_second", bandwidth},
          {"intensity", p.mm_arithmetic_intensity},
          {"attainable_flops", attainable},
          {"achieved_flops", p.total_time > 0 ? p.model_flops / p.total_time : 0.0}};
}

ordered_json activity_json(const Stream& stream, const Timing& t) {
  const Activity shares = activity(stream, t, slices);
  ordered_json j = {{"slice_time", seconds(t.total) / slices}};
  for (size_t r = 0; r < resource_count; ++r) {
    ordered_json list = ordered_json::array();
    for (const double s : shares[r]) list.push_back(std::round(s * 1000) / 1000);
    j[resource_name(static_cast<Resource>(r))] = std::move(list);
  }
  return j;
}

// The metrics of the profiler.
ordered_json metrics_json(const Stream& stream, const Timing& t, const Work& w, const Profile& p) {
  const Description& d = *stream.device;
  ordered_json j;
  j["note"] = stamp;
  j["device"] = d.name;
  j["column"] = t.column == Column::documented ? "documented" : "calibrated";
  j["total_time"] = p.total_time;
  j["total_active_time_percent"] = percent(active_time(stream, t), t.total);
  j["launch_overhead_time"] = d.sync.launch_us * 1e-6;
  j["bound"] = t.bound;
  j["neuroncore_cycle_count"] = p.total_time * d.sync.ghz * 1e9;
  add_engines(j, t);
  j["matmul_instruction_count"] = w.matmuls;
  j["model_flops"] = p.model_flops;
  j["hardware_flops"] = p.hardware_flops;
  j["transpose_flops"] = p.transpose_flops;
  j["adjusted_hardware_flops"] = p.adjusted_hardware_flops;
  j["mfu_estimated_percent"] = p.mfu_estimated_percent;
  j["hfu_estimated_percent"] = p.hfu_estimated_percent;
  j["mfu_max_achievable_estimated_percent"] = p.mfu_max_achievable_estimated_percent;
  j["mm_arithmetic_intensity"] = p.mm_arithmetic_intensity;
  j["peak_flops_bandwidth_ratio"] = p.peak_flops_bandwidth_ratio;
  j["mbu_estimated_percent"] = p.mbu_estimated_percent;
  j["mbu_min_read_util_percent"] = p.mbu_min_read_util_percent;
  add_memory(j, t, w, p);
  add_dma(j, stream, t, w);
  j["hbm_scratch_bytes"] = scratch_peak_bytes(stream);
  j["bottleneck"] = p.bottleneck;
  return j;
}

}  // namespace

Profile profile(const Stream& stream, const Timing& t) { return profile_of(stream, t, work_of(stream)); }

std::string profile_json(const Stream& stream, const Timing& timing) {
  const Work work = work_of(stream);
  const Profile figures = profile_of(stream, timing, work);
  ordered_json j = metrics_json(stream, timing, work, figures);
  const std::vector<PathStep> path = path_steps(timing);
  j["critical_path"] = path_json(stream, timing, path);
  j["roofline"] = roofline_json(*stream.device, figures);
  j["nodes"] = nodes_json(node_profiles(stream, timing, path), timing.total);
  j["activity"] = activity_json(stream, timing);
  return j.dump();
}

std::string profile_table(const Stream& stream, const Timing& timing) {
  std::string text;
  const Work work = work_of(stream);
  const ordered_json report = metrics_json(stream, timing, work, profile_of(stream, timing, work));
  for (const auto& [key, value] : report.items()) {
    char line[256];
    if (value.is_string())
      std::snprintf(line, sizeof line, "%-44s %s\n", key.c_str(), value.get<std::string>().c_str());
    else if (value.is_number_float())
      std::snprintf(line, sizeof line, "%-44s %.6g\n", key.c_str(), value.get<double>());
    else
      std::snprintf(line, sizeof line, "%-44s %s\n", key.c_str(), value.dump().c_str());
    text += line;
  }
  return text;
}

}  // namespace heddle::systolic
