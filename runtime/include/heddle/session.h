// Sessions: a graph made ready to run on devices.
//
//   heddle::Session session(graph, {heddle::Device::open("cpu")});
//   heddle::Tensor p = session.run({{"x", batch}}).at("p");
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heddle/device.h"
#include "heddle/explain.h"
#include "heddle/graph.h"
#include "heddle/tensor.h"
#include "heddle/variable.h"

namespace heddle {

class Trace;

// What happens to a node that the first device refuses.
enum class Fallback : uint8_t {
  forbid,  // an error that lists every refused node with the device's reason
  allow,   // the next device in the list that offers it runs it; copies become steps of the plan
};

struct SessionOptions {
  Fallback fallback = Fallback::forbid;
  bool fusion = true;      // propose fused pointwise chains and matmul epilogues to the devices
  bool composites = true;  // offer composites whole; false: core ops only
  bool freeze = false;     // no variable changes while this session lives: devices may pack them. Refused
                           // (invalid_argument) for a graph that updates variables
  size_t plan_cache = 8;   // plans kept, one per binding of named dims (least recently used goes first)
};

// Facts about one run.
struct RunReport {
  uint64_t wall_ns = 0;
  // Copies that were made: the rows of Explanation::copies, less those of outputs that the run did not want.
  // What is bound in place is no copy.
  uint64_t copies = 0;
  uint64_t copy_bytes = 0;
  uint64_t crossings = 0;     // those of them that go from one device to another
  uint64_t simulated_ps = 0;  // sum over the simulated devices' programs; never part of wall_ns
};

class Session {
 public:
  // The first device is where nodes run; others serve pinned nodes and fallback. Plans are made at the first
  // run with each binding of the graph's named dims. Later changes to `graph` are not seen.
  Session(const Graph& graph, std::vector<Device> devices, Variables variables = {},
          SessionOptions options = {});
  ~Session();
  // A session that was moved from throws invalid_argument, whatever it is asked.
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Inputs by name to outputs by name; names in `inputs` must be exactly the graph's. Throws not_found,
  // dtype_mismatch, shape_mismatch (naming the input), unsupported (the refused nodes, grouped by op and
  // reason), out_of_memory, device, poisoned, cancelled. One run at a time per session: a second one, from
  // any thread, throws invalid_argument and leaves the first alone; so do explain() and set_trace() while a
  // run is under way. Where a device takes part that computes nothing (Device::computes), outputs that depend
  // on it are NaN (integers and bool: 0), and every variable keeps the value it had.
  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& inputs);

  // The same by position (graph.inputs() and graph.outputs() order) into tensors of the right type: allocates
  // nothing in Heddle's code once the binding has been planned. Dense tensors are bound in place on devices
  // whose memory is the host's. An undefined output tensor means "not wanted".
  void run(std::span<const Tensor> inputs, std::span<Tensor> outputs);

  // run() on a thread of its own, which keeps what it needs of the session: the session may be moved or
  // destroyed meanwhile. Throws invalid_argument when a run is under way.
  std::future<std::map<std::string, Tensor>> run_async(std::map<std::string, Tensor> inputs);
  // Ends the run under way, or the next one when none is, before its next step, with a `cancelled` error.
  // Variables that the steps done had begun to write are poisoned; the others keep their values. A run that
  // is past its last step, or fails of itself, ends as it does and uses the cancellation up. Any thread.
  void cancel();

  // What runs where and why, what is copied, and how memory is used, under `binding`: a number for every
  // named dim of the graph, explain({{"batch", 8}}). Plans if needed. Throws not_found for missing and
  // unknown names.
  Explanation explain(const DimBinding& binding = {});

  const RunReport& last_run() const;
  // Plans in the cache now, and plans made so far.
  size_t cached_plans() const;
  uint64_t plans_made() const;
  // Simulated devices: a JSON object per partition with the profiler's metrics of the last run's plan.
  std::vector<std::string> simulated_reports() const;

  // Later runs add their spans to `trace` (null ends it), which must outlive the session or be ended.
  void set_trace(Trace* trace);

  const Variables& variables() const;

 private:
  struct Impl;
  Impl& impl() const;  // throws invalid_argument when moved from
  std::shared_ptr<Impl> impl_;
};

}  // namespace heddle
