#include "heddle/estimate.h"

#include <utility>
#include <vector>

#include "plan/plan.h"

namespace heddle {
namespace {

// Variables that live on the device and have no bytes.
class Nowhere final : public plan::VariableSource {
 public:
  plan::VariablePlace settle(uint32_t index, const device::DevicePtr& device) override {
    return {device, nullptr, index + 1, 1};
  }
};

uint64_t bytes_of(const Graph& graph, ValueId value) {
  const ValueInfo& info = graph.info(value);
  return static_cast<uint64_t>(info.dims.shape().elements()) * size_of(info.dtype);
}

}  // namespace

struct Estimate::Impl {
  std::unique_ptr<plan::Plan> plan;

  // The one program; null without nodes.
  const plan::CompiledPartition* part() const {
    return plan->partitions.empty() ? nullptr : &plan->partitions.front();
  }
  const device::OpenDevice& device() const { return *plan->devices.front().device; }
};

Estimate::Estimate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Estimate::Estimate(Estimate&&) noexcept = default;
Estimate& Estimate::operator=(Estimate&&) noexcept = default;
Estimate::~Estimate() = default;

uint64_t Estimate::simulated_ps() const { return impl_->part() == nullptr ? 0 : impl_->part()->simulated_ps; }

uint64_t Estimate::variable_bytes() const {
  uint64_t bytes = 0;
  for (const VariableInfo& v : impl_->plan->graph.variables()) bytes += bytes_of(impl_->plan->graph, v.value);
  return bytes;
}

uint64_t Estimate::boundary_bytes() const {
  const Graph& graph = impl_->plan->graph;
  uint64_t bytes = 0;
  for (const ValueId v : graph.inputs()) bytes += bytes_of(graph, v);
  for (const NamedValue& o : graph.outputs()) bytes += bytes_of(graph, o.value);
  return bytes;
}

uint64_t Estimate::kept_bytes() const {
  const Graph& graph = impl_->plan->graph;
  std::vector<bool> backward(graph.value_count(), false), forward_reads(graph.value_count(), false),
      kept(graph.value_count(), false);
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    bool is_backward = node.name.find("/grad/") != std::string::npos;
    for (const ValueId v : node.inputs) is_backward = is_backward || (v != no_value && backward[v]);
    for (const ValueId v : node.outputs) backward[v] = is_backward;
    for (const ValueId v : node.inputs) {
      if (v == no_value || backward[v]) continue;
      const ValueKind kind = graph.info(v).kind;
      if (!is_backward) forward_reads[v] = true;
      // An input that the backward pass alone reads is a gradient.
      const bool made_here = kind == ValueKind::result || (kind == ValueKind::input && forward_reads[v]);
      if (is_backward && made_here) kept[v] = true;
    }
  }
  uint64_t bytes = 0;
  for (ValueId v = 0; v < kept.size(); ++v)
    if (kept[v]) bytes += bytes_of(graph, v);
  return bytes;
}

Explanation Estimate::explain() const { return impl_->plan->explain(); }

std::string Estimate::report() const {
  if (impl_->part() == nullptr) return "{}";
  return impl_->device().program_report(impl_->part()->program);
}

std::string Estimate::trace() const {
  if (impl_->part() == nullptr) return "[]";
  return impl_->device().program_trace(impl_->part()->program);
}

Estimate estimate(const Graph& graph, const Device& device, const DimBinding& binding) {
  if (!device) throw Error(ErrorCode::invalid_argument, "an estimate needs an open device");
  if (!device.impl()->models_time())
    throw Error(
        ErrorCode::invalid_argument,
        "device '" + device.spec() + "' runs on the wall clock and has no model of time to estimate by");
  Nowhere variables;
  auto impl = std::make_unique<Estimate::Impl>();
  impl->plan = plan::compile_plan(graph.bind(binding), {device.impl()}, variables, {});
  return Estimate(std::move(impl));
}

}  // namespace heddle
