// --device of the `heddle sim` commands: a simulated NeuronCore, and the device file behind it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "heddle/device.h"
#include "heddle/estimate.h"
#include "heddle/graph.h"
#include "heddle/systolic/description.h"

namespace heddle::cli {

// What every simulated figure is stamped with.
inline constexpr const char* simulated_stamp =
    "simulated; calibrated on public figures, never run on Trainium";

class SimulatedDevice {
 public:
  // "trn1", "trn2:pe.ghz=2.8", "systolic:mine.toml,window=0". Throws UsageError for anything else, and for
  // options and keys that do not exist.
  explicit SimulatedDevice(const std::string& spec);

  const std::string& spec() const { return spec_; }  // as given
  const systolic::Description& description() const { return description_; }
  // Opened for its time alone, and for its numbers too.
  Device timing_only() const;
  Device functional() const;
  // What the graph would cost. A refusal becomes one line: which nodes, and the device's reasons.
  Estimate estimate(const Graph& graph) const;
  // The same with one number of the device file changed ("dma.gbps").
  SimulatedDevice with(const std::string& key, double value) const;

 private:
  Device open(const std::string& numerics) const;
  std::string spec_, base_;                                   // base_: "trn1", or the name of the device file
  std::vector<std::pair<std::string, std::string>> options_;  // all but the file and numerics
  systolic::Description description_;
};

}  // namespace heddle::cli
