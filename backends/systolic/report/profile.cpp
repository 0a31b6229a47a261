#include "systolic/report/profile.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace heddle::systolic {
namespace {

constexpr const char* stamp = "simulated; calibrated on public figures, never run on Trainium";

double seconds(int64_t picoseconds) { return static_cast<double>(picoseconds) * 1e-12; }
double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

// What the instructions did, apart from when.
struct Work {
  double matmul_flops = 0, transpose_flops = 0;
  int64_t matmuls = 0, transposes = 0;
  double psum_read = 0, psum_write = 0, sbuf_read = 0, sbuf_write = 0;
};

Work work_of(const Stream& stream) {
  Work w;
  for (const Instruction& i : stream.instructions) {
    for (const View& v : stream.views_of(i)) {
      const double bytes =
          static_cast<double>(v.partitions * v.free_elements()) * static_cast<double>(size_of(v.dtype));
      const bool psum = stream.tiles[v.tile].memory == Memory::psum;
      (is_written(v.role) ? (psum ? w.psum_write : w.sbuf_write) : (psum ? w.psum_read : w.sbuf_read)) +=
          bytes;
    }
    if (i.opcode == Opcode::matmul) {
      const View& s = *stream.view_of(i, Role::stationary);
      const View& m = *stream.view_of(i, Role::moving);
      w.matmul_flops += 2.0 * s.partitions * static_cast<double>(s.free_elements()) *
                        static_cast<double>(m.free_elements());
      ++w.matmuls;
    } else if (i.opcode == Opcode::transpose && i.engine == Engine::pe) {
      const View& in = *stream.view_of(i, Role::in0);
      w.transpose_flops += 2.0 * in.partitions * in.partitions * static_cast<double>(in.free_elements());
      ++w.transposes;
    }
  }
  return w;
}

std::string bottleneck_of(const Timing& t) {
  const std::array<const char*, 5> units = {"tensor engine", "scalar engine", "vector engine",
                                            "gpsimd engine", "sync engine"};
  double best = percent(static_cast<double>(t.dma.active), static_cast<double>(t.total));
  std::string unit = "DMA";
  for (size_t q = 0; q < t.queue.size(); ++q) {
    const double share = percent(static_cast<double>(t.queue[q].busy), static_cast<double>(t.total));
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

nlohmann::ordered_json to_json(const Stream& stream, const Timing& t) {
  const Description& d = *stream.device;
  const Profile p = profile(stream, t);
  const Work w = work_of(stream);
  nlohmann::ordered_json j;
  j["note"] = stamp;
  j["device"] = d.name;
  j["column"] = t.column == Column::documented ? "documented" : "calibrated";
  j["total_time"] = p.total_time;
  j["launch_overhead_time"] = d.sync.launch_us * 1e-6;
  j["bound"] = t.bound;
  j["neuroncore_cycle_count"] = p.total_time * d.sync.ghz * 1e9;
  const std::array<const char*, 5> engines = {"tensor", "scalar", "vector", "gpsimd", "sync"};
  for (size_t q = 0; q < engines.size(); ++q) {
    const QueueTiming& e = t.queue[q];
    const std::string name = std::string(engines[q]) + "_engine_";
    const auto total = static_cast<double>(t.total);
    j[name + "active_time"] = seconds(e.busy);
    j[name + "active_time_percent"] = percent(static_cast<double>(e.busy), total);
    j[name + "waiting_dma_percent"] = percent(static_cast<double>(e.waiting_dma), total);
    j[name + "waiting_engine_percent"] = percent(static_cast<double>(e.waiting_engine), total);
    j[name + "idle_percent"] = percent(static_cast<double>(e.idle), total);
    j[name + "instruction_time"] = seconds(e.instruction_time);
    j[name + "instruction_count"] = e.instructions;
  }
  j["matmul_instruction_count"] = w.matmuls;
  j["model_flops"] = p.model_flops;
  j["hardware_flops"] = p.hardware_flops;
  j["transpose_flops"] = p.transpose_flops;
  j["mfu_estimated_percent"] = p.mfu_estimated_percent;
  j["hfu_estimated_percent"] = p.hfu_estimated_percent;
  j["mm_arithmetic_intensity"] = p.mm_arithmetic_intensity;
  j["peak_flops_bandwidth_ratio"] = p.peak_flops_bandwidth_ratio;
  j["mbu_estimated_percent"] = p.mbu_estimated_percent;
  j["hbm_read_bytes"] = t.dma.read_bytes;
  j["hbm_write_bytes"] = t.dma.write_bytes;
  j["sbuf_read_bytes"] = w.sbuf_read;
  j["sbuf_write_bytes"] = w.sbuf_write;
  j["psum_read_bytes"] = w.psum_read;
  j["psum_write_bytes"] = w.psum_write;
  j["dma_active_time"] = seconds(t.dma.active);
  j["dma_active_time_percent"] = percent(static_cast<double>(t.dma.active), static_cast<double>(t.total));
  j["dma_packet_time"] = seconds(t.dma.packet_time);
  j["dma_transfer_count"] = t.dma.transfers;
  j["dma_transfer_total_bytes"] = t.dma.total_bytes;
  j["dma_transfer_average_bytes"] =
      t.dma.transfers > 0 ? static_cast<double>(t.dma.total_bytes) / static_cast<double>(t.dma.transfers)
                          : 0.0;
  j["bottleneck"] = p.bottleneck;

  // The critical path by scope and by what each instruction on it waited for.
  std::map<std::string, int64_t> by_scope, by_cause;
  int64_t reach = 0;
  for (uint32_t i : critical_path(t)) {
    const Record& r = t.record[i];
    const Instruction& instruction = stream.instructions[i];
    by_scope[stream.scopes[instruction.scope]] += std::max<int64_t>(0, r.end - reach);
    by_cause[cause_name(r.cause)] += std::max<int64_t>(0, r.end - reach);
    reach = std::max(reach, r.end);
  }
  for (const auto& [cause, time] : by_cause) j["critical_path"]["by_cause"][cause] = seconds(time);
  for (const auto& [scope, time] : by_scope)
    j["critical_path"]["by_scope"][scope.empty() ? "(none)" : scope] = seconds(time);
  return j;
}

}  // namespace

Profile profile(const Stream& stream, const Timing& t) {
  const Description& d = *stream.device;
  const Work w = work_of(stream);
  Profile p;
  p.total_time = seconds(t.total);
  p.model_flops = w.matmul_flops;
  p.transpose_flops = w.transpose_flops;
  p.hardware_flops = w.matmul_flops + w.transpose_flops;
  const double peak = 2.0 * d.pe.rows * d.pe.columns * d.pe.ghz * 1e9;
  p.mfu_estimated_percent = percent(p.model_flops, peak * p.total_time);
  p.hfu_estimated_percent = percent(p.hardware_flops, peak * p.total_time);
  const auto bytes = static_cast<double>(t.dma.read_bytes + t.dma.write_bytes);
  p.mbu_estimated_percent = percent(bytes, d.hbm.gbps * 1e9 * p.total_time);
  p.mm_arithmetic_intensity = bytes > 0 ? p.model_flops / bytes : 0;
  p.peak_flops_bandwidth_ratio = peak / (d.hbm.gbps / d.hbm.cores_per_domain * 1e9);
  const double pe = static_cast<double>(t.queue[0].interval_time), hbm = bytes / (d.hbm.core_gbps() * 1e-3);
  p.roofline_bound_percent = percent(std::max(pe, hbm), static_cast<double>(t.total));
  p.bottleneck = bottleneck_of(t);
  return p;
}

std::string profile_json(const Stream& stream, const Timing& timing) {
  return to_json(stream, timing).dump(2);
}

std::string profile_table(const Stream& stream, const Timing& timing) {
  std::string text;
  const nlohmann::ordered_json report = to_json(stream, timing);
  for (const auto& [key, value] : report.items()) {
    if (value.is_object()) continue;
    char line[256];
    if (value.is_string())
      std::snprintf(line, sizeof line, "%-36s %s\n", key.c_str(), value.get<std::string>().c_str());
    else if (value.is_number_float())
      std::snprintf(line, sizeof line, "%-36s %.6g\n", key.c_str(), value.get<double>());
    else
      std::snprintf(line, sizeof line, "%-36s %s\n", key.c_str(), value.dump().c_str());
    text += line;
  }
  return text;
}

}  // namespace heddle::systolic
