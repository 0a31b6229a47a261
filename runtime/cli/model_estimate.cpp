#include "cli/model_estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "heddle/estimate.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

std::vector<TransformerPart> parts_of(const ModelRequest& r) {
  if (!r.whole)
    return r.train ? transformer_training_parts(r.config, r.batch, r.positions)
                   : transformer_parts(r.config, r.batch, r.positions);
  std::vector<TransformerPart> whole;
  whole.push_back({"model", 1,
                   r.train ? transformer_training_step(r.config, r.batch, r.positions, AdamW{})
                           : transformer_inference(r.config, r.batch, r.positions)});
  return whole;
}

// Variables of all parts, a shared one once.
void add_variables(ModelMemory& memory, const TransformerPart& part, bool train,
                   std::set<std::string>& seen) {
  for (const VariableInfo& v : part.graph.variables()) {
    if (part.repeat == 1 && !seen.insert(v.name).second) continue;
    const double numbers = static_cast<double>(v.shape.elements()) * static_cast<double>(part.repeat);
    const double bytes = numbers * static_cast<double>(size_of(v.dtype));
    const bool state =
        v.name.ends_with(".adam_m") || v.name.ends_with(".adam_v") || v.name.ends_with("optimizer.step");
    (state ? memory.optimizer : memory.weights) += bytes;
    if (!state && train) memory.gradients += bytes;
  }
}

}  // namespace

double ModelRequest::flops() const {
  return (train ? 3 : 1) * transformer_forward_flops(config, batch, positions);
}

double PartEstimate::active_seconds(const std::string& engine) const {
  return profile.value(engine == "dma" ? "dma_active_time" : engine + "_engine_active_time", 0.0);
}

ModelEstimate estimate_model(const ModelRequest& request, const SimulatedDevice& device) {
  const auto start = std::chrono::steady_clock::now();
  const systolic::Description& d = device.description();
  ModelEstimate result;
  result.device = device.spec();
  result.core = d.core;
  std::set<std::string> seen;
  double kept = 0, working = 0;
  for (const TransformerPart& part : parts_of(request)) {
    const Estimate estimated = device.estimate(part.graph);
    PartEstimate& p = result.parts.emplace_back();
    p.name = part.name;
    p.repeat = part.repeat;
    p.seconds = static_cast<double>(estimated.simulated_ps()) * 1e-12;
    p.profile = nlohmann::ordered_json::parse(estimated.report());
    result.seconds += p.seconds * static_cast<double>(p.repeat);
    add_variables(result.memory, part, request.train, seen);
    const double own = request.train ? static_cast<double>(estimated.kept_bytes()) : 0;
    kept += own * static_cast<double>(p.repeat);
    const double scratch = p.profile.value("hbm_scratch_bytes", 0.0);
    working =
        std::max(working, static_cast<double>(estimated.boundary_bytes()) + std::max(0.0, scratch - own));
  }
  result.memory.activations = kept + working;
  result.memory.capacity = d.hbm.gib * 1024 * 1024 * 1024;
  result.launch_seconds = d.sync.launch_us * 1e-6;
  result.tokens_per_second = static_cast<double>(request.tokens()) / result.seconds;
  const double peak = 2.0 * d.pe.rows * d.pe.columns * d.pe.ghz * 1e9 /
                      (request.config.compute == f32 ? d.pe.passes_fp32 : 1);
  result.mfu_percent = 100 * request.flops() / (peak * result.seconds);
  result.usd_per_core_hour = d.chip.usd_per_hour / d.chip.cores;
  result.usd_per_million_tokens = result.usd_per_core_hour / 3600 / result.tokens_per_second * 1e6;
  result.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::string fit_text(const ModelRequest& request, const ModelEstimate& estimate) {
  const ModelMemory& m = estimate.memory;
  const std::string sizes = plan::bytes_text(m.needed()) + " of " + plan::bytes_text(m.capacity);
  if (m.fits()) return "fits: " + sizes;
  std::string text = "does not fit: " + sizes;
  const double state = m.needed() - m.activations;
  const auto batch =
      static_cast<int64_t>((m.capacity - state) / m.activations * static_cast<double>(request.batch));
  if (batch >= 1)
    text += "; --batch " + std::to_string(batch) + " would fit";
  else
    text += "; split evenly it needs " +
            std::to_string(static_cast<int64_t>(std::ceil(m.needed() / m.capacity))) + " cores";
  return text;
}

std::string bottleneck_text(const ModelEstimate& estimate) {
  std::map<std::string, double> by_unit;
  double total = 0;
  for (const PartEstimate& p : estimate.parts) {
    for (const auto& [unit, time] : p.profile.at("critical_path").at("by_unit").items()) {
      const double seconds = time.get<double>() * static_cast<double>(p.repeat);
      by_unit[unit] += seconds;
      total += seconds;
    }
  }
  if (by_unit.empty()) return "nothing runs";
  const auto most = std::max_element(by_unit.begin(), by_unit.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  char share[64];
  std::snprintf(share, sizeof share, ", %.0f %% of the critical path", 100 * most->second / total);
  return most->first + share;
}

}  // namespace heddle::cli
