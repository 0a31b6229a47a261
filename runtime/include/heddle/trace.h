// Traces: spans of runs in the Chrome trace format, which Perfetto (ui.perfetto.dev) opens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

// Wall-clock spans (one process row per device, one event per kernel) and simulated tracks (one process row per
// simulated device, one track per engine and DMA queue), kept apart: the two clocks are never mixed. Not thread-safe.
class Trace {
 public:
  // A wall-clock span, in nanoseconds of the monotonic clock.
  void add_span(std::string_view device, std::string_view name, std::string_view kernel, uint64_t begin_ns, uint64_t end_ns);
  // Events of one simulated launch (hd_simulated_v1::program_trace), shifted to follow the ones already there.
  void add_simulated(std::string_view device, std::string_view events_json, uint64_t duration_ps);
  bool empty() const { return wall_.empty() && simulated_.empty(); }

  // The whole document.
  std::string json() const;
  // Writes json() to `file` through a temporary file; throws io.
  void save(const std::string& file) const;

 private:
  struct Span {
    std::string device, name, kernel;
    uint64_t begin_ns, end_ns;
  };
  struct Simulated {
    std::string device, events;
    uint64_t start_ps;
  };
  std::vector<Span> wall_;
  std::vector<Simulated> simulated_;
  std::vector<std::pair<std::string, uint64_t>> simulated_end_ps_;  // per device
};

}  // namespace heddle
