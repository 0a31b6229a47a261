#include "heddle/systolic/calibration.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "heddle/error.h"
#include "heddle/systolic/replay.h"

namespace heddle::systolic {

const char* quantity_name(Quantity quantity) {
  constexpr const char* names[] = {"time", "tensor busy", "scalar busy", "vector busy"};
  return names[static_cast<size_t>(quantity)];
}

namespace {

using Changes = std::vector<std::pair<std::string, double>>;

// A constant, what may be fitted to what, and how far it may go.
struct Fit {
  const char* key;
  const char* unit;
  double low, high, precision;
  Figure (*read)(const Description&);
  std::vector<FitRow> rows;
};

std::vector<Fit> fits_of(std::string_view device) {
  const auto descriptor = [](const Description& d) {
    return Figure{d.dma.descriptor_ns, d.dma.descriptor_ns};
  };
  const auto bubble = [](const Description& d) { return d.pe.pair_bubble; };
  const auto act_latency = [](const Description& d) { return d.act.latency; };
  const auto act_interval = [](const Description& d) { return d.act.interval_add; };
  const auto dve_latency = [](const Description& d) { return d.dve.latency; };
  const auto dve_interval = [](const Description& d) { return d.dve.interval_add; };
  constexpr Quantity time = Quantity::time, pe = Quantity::pe_busy, act = Quantity::act_busy,
                     dve = Quantity::dve_busy;
  if (device == "trn1")
    return {
        // The two that DMA bounds.
        {"dma.descriptor_ns", "ns", 20, 200, 0.5, descriptor, {{"matmul", time}, {"bmm", time}}},
        // PE bounds it, and its other engines have little to do.
        {"pe.pair_bubble", "cycles", 0, 200, 0.5, bubble, {{"aws_matmul_bf16", time}}},
        // Evictions one by one.
        {"act.latency", "cycles", 50, 500, 1, act_latency, {{"transpose_matmul", act}, {"matmul", act}}},
        // Instructions back to back.
        {"act.interval_add", "cycles", 0, 200, 1, act_interval, {{"adamw", act}}},
        {"dve.latency", "cycles", 50, 400, 1, dve_latency, {{"lora", dve}, {"add_rmsnorm_matmul", dve}}},
        {"dve.interval_add", "cycles", 0, 200, 1, dve_interval, {{"adamw", dve}}},
    };
  if (device == "trn2")
    return {
        {"dma.descriptor_ns", "ns", 5, 100, 0.25, descriptor, {{"aws_matmul_v2", time}}},
        {"pe.pair_bubble", "cycles", 0, 100, 0.25, bubble, {{"aws_matmul_v5", pe}}},
        {"dve.latency", "cycles", 20, 400, 1, dve_latency, {{"aws_matmul_v5", dve}}},
    };
  throw Error(ErrorCode::invalid_argument,
              "nothing was published to calibrate '" + std::string(device) + "' on; there are trn1 and trn2");
}

double measured(const Published& p, Quantity q) {
  switch (q) {
    case Quantity::time:
      return p.seconds;
    case Quantity::pe_busy:
      return p.pe_active * p.profile_seconds;
    case Quantity::act_busy:
      return p.act_active * p.profile_seconds;
    default:
      return p.dve_active * p.profile_seconds;
  }
}
double predicted(const ReplayResult& r, Quantity q) {
  switch (q) {
    case Quantity::time:
      return r.seconds;
    case Quantity::pe_busy:
      return r.busy_seconds[static_cast<size_t>(Engine::pe)];
    case Quantity::act_busy:
      return r.busy_seconds[static_cast<size_t>(Engine::act)];
    default:
      return r.busy_seconds[static_cast<size_t>(Engine::dve)];
  }
}

class Calibrator {
 public:
  Calibrator(std::string_view device, int rounds)
      : device_(device), rounds_(rounds), fits_(fits_of(device)) {}

  Calibration run() {
    const Description start = load_description(device_);
    for (const Fit& f : fits_) changes_.emplace_back(f.key, f.read(start).calibrated);
    const Changes in_file = changes_;
    for (int round = 0; round < rounds_; ++round)
      for (size_t f = 0; f < fits_.size(); ++f) changes_[f].second = best(f);

    Calibration c;
    c.device = device_;
    for (size_t f = 0; f < fits_.size(); ++f)
      c.constants.push_back(
          {fits_[f].key, fits_[f].unit, in_file[f].second, changes_[f].second, fits_[f].rows});
    for (const std::string& name : builtin_kernels()) {
      const ReplayKernel& k = kernel(name);
      if (k.device() != device_) continue;
      const ReplayResult before = replay_kernel(k, with(device_, in_file), ReplayLevel::as_executed);
      const ReplayResult after = replay_kernel(k, with(device_, changes_), ReplayLevel::as_executed);
      for (Quantity q : {Quantity::time, Quantity::pe_busy, Quantity::act_busy, Quantity::dve_busy}) {
        const double seconds = measured(k.published(), q);
        // An engine that all but idles says nothing about the model.
        if (seconds <= 0 || seconds < 0.001 * k.published().seconds) continue;
        c.residuals.push_back({{name, q}, seconds, predicted(before, q), predicted(after, q), used(name, q)});
      }
    }
    return c;
  }

 private:
  bool used(const std::string& name, Quantity q) const {
    for (const Fit& f : fits_)
      for (const FitRow& row : f.rows)
        if (row.kernel == name && row.quantity == q) return true;
    return false;
  }
  const ReplayKernel& kernel(const std::string& name) {
    const auto at = kernels_.find(name);
    return at != kernels_.end() ? at->second : kernels_.emplace(name, load_kernel(name)).first->second;
  }

  double loss(size_t f, double value) {
    Changes changes = changes_;
    changes[f].second = value;
    const Description device = with(device_, changes);
    double sum = 0;
    for (const FitRow& row : fits_[f].rows) {
      const ReplayKernel& k = kernel(row.kernel);
      const double ratio =
          std::log(predicted(replay_kernel(k, device, ReplayLevel::as_executed), row.quantity) /
                   measured(k.published(), row.quantity));
      sum += ratio * ratio;
    }
    return sum;
  }

  // Golden sections on the grid of the precision: the loss falls towards one value.
  double best(size_t f) {
    const double step = fits_[f].precision;
    const auto grid = [&](double x) { return std::round(x / step) * step; };
    constexpr double golden = 0.6180339887498949;
    double low = fits_[f].low, high = fits_[f].high;
    double a = grid(high - golden * (high - low)), b = grid(low + golden * (high - low));
    double at_a = loss(f, a), at_b = loss(f, b);
    while (high - low > 2 * step && a < b) {
      if (at_a <= at_b) {
        high = b, b = a, at_b = at_a;
        a = grid(high - golden * (high - low));
        if (a < b) at_a = loss(f, a);
      } else {
        low = a, a = b, at_a = at_b;
        b = grid(low + golden * (high - low));
        if (a < b) at_b = loss(f, b);
      }
    }
    return at_a <= at_b ? a : b;
  }

  std::string device_;
  int rounds_;
  std::vector<Fit> fits_;
  Changes changes_;
  std::map<std::string, ReplayKernel> kernels_;
};

}  // namespace

Calibration calibrate(std::string_view device, int rounds) { return Calibrator(device, rounds).run(); }

}  // namespace heddle::systolic
