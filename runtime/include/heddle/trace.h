// Traces: spans of runs in the Chrome trace format, which Perfetto (ui.perfetto.dev) opens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

// Wall-clock spans (one process row per device, one event per kernel) and simulated tracks (one process row
// per simulated device, one track per engine and DMA queue), kept apart: the two clocks are never mixed. Not
// thread-safe.
class Trace {
 public:
  // A wall-clock span, in nanoseconds of the monotonic clock.
  void add_span(std::string_view device, std::string_view name, std::string_view kernel, uint64_t begin_ns,
                uint64_t end_ns);
  // Events of one simulated launch (hd_simulated_v1::program_trace), shifted to follow the ones already
  // there. The text is kept once, however often it is added.
  void add_simulated(std::string_view device, std::string_view events_json, uint64_t duration_ps);
  bool empty() const { return wall_.empty() && simulated_.empty(); }

  // The whole document. Throws device, naming the one whose events are not an array of Chrome trace events.
  std::string json() const;
  // Writes json() to `file` through a temporary file; throws io.
  void save(const std::string& file) const;

 private:
  struct Span {
    std::string device, name, kernel;
    uint64_t begin_ns, end_ns;
  };
  struct Launch {
    size_t events;  // index into SimulatedDevice::events
    uint64_t start_ps;
  };
  struct SimulatedDevice {
    std::string name;
    std::vector<std::string> events;  // each text once
    std::vector<Launch> launches;
    uint64_t end_ps = 0;
  };
  std::vector<Span> wall_;
  std::vector<SimulatedDevice> simulated_;
};

}  // namespace heddle
