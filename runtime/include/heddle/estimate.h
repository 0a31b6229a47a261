// What a graph would cost on a simulated device, without memory for its tensors.
//
//   heddle::Estimate e = heddle::estimate(graph, heddle::Device::open("trn1:numerics=off"));
//   e.simulated_ps();                                  // of one run; a model's time, never wall-clock time
//
// The graph is simplified, lowered, fused and compiled exactly as a Session would, but nothing is allocated,
// no variable is initialised and nothing can run: a model of any size has an estimate. Open the device with
// numerics=off, or compiling prepares numbers that nobody computes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "heddle/device.h"
#include "heddle/explain.h"
#include "heddle/graph.h"

namespace heddle {

class Estimate {
 public:
  Estimate(Estimate&&) noexcept;
  Estimate& operator=(Estimate&&) noexcept;
  ~Estimate();

  uint64_t simulated_ps() const;
  // Bytes of the graph's variables, and of its inputs and outputs.
  uint64_t variable_bytes() const;
  uint64_t boundary_bytes() const;
  // What a training step keeps between its passes: bytes of inputs and results of the forward pass that the
  // backward pass reads. Nodes named "NODE/grad/..." (autodiff.h), and those that read their results, are the
  // backward pass.
  uint64_t kept_bytes() const;
  // What became of the nodes; no copies and no memory, because nothing is placed.
  Explanation explain() const;
  // The device's profile (metrics of the profiler, shares, critical path, table of nodes) as a JSON object,
  // and its trace for ui.perfetto.dev. "{}" and "[]" for a graph without nodes.
  std::string report() const;
  std::string trace() const;

 private:
  friend Estimate estimate(const Graph& graph, const Device& device, const DimBinding& binding);
  struct Impl;
  explicit Estimate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Throws invalid_argument when the device's clock is not simulated, not_found for a named size without a
// number in `binding`, unsupported (the refused nodes) and what the device's compiler throws.
Estimate estimate(const Graph& graph, const Device& device, const DimBinding& binding = {});

}  // namespace heddle
