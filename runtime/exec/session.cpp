#include "heddle/session.h"

#include <algorithm>

#include "exec/session_impl.h"
#include "heddle/schema.h"

namespace heddle {

Session::Impl::Impl(const Graph& source, const std::vector<Device>& opened, Variables set,
                    SessionOptions chosen)
    : graph(source.clone()), variables(std::move(set)), options(chosen) {
  if (opened.empty()) throw Error(ErrorCode::invalid_argument, "a session needs at least one device");
  if (graph.outputs().empty() && graph.updates().empty())
    throw Error(ErrorCode::invalid_argument,
                "the graph has no outputs and no updates: there is nothing to run");
  if (options.freeze && !graph.updates().empty())
    throw Error(ErrorCode::invalid_argument,
                "SessionOptions::freeze says that no variable changes, but the graph updates '" +
                    graph.variables()[graph.updates()[0].variable].name + "'");
  for (const Device& d : opened) {
    if (!d) throw Error(ErrorCode::invalid_argument, "a session was given a device that is not open");
    devices.push_back(d.impl());
  }
  // Every named dim must be found in some input's shape as a bare name: that is where runs take it from.
  DimBinding bare;
  for (ValueId v : graph.inputs())
    for (const Dim& d : graph.info(v).dims)
      if (!d.name().empty()) bare.emplace(d.name(), 0);
  for (const auto& [name, range] : graph.dim_names())
    if (!bare.count(name))
      throw Error(ErrorCode::invalid_argument,
                  "the size '" + name +
                      "' appears only inside expressions; give one input an axis of exactly that size");
  for (const VariableInfo& info : graph.variables()) states.push_back(variables.impl().declare(info));
}

void Session::Impl::check_binding(const DimBinding& binding) const {
  std::string call, known;
  bool complete = true;
  for (const auto& [name, range] : graph.dim_names()) {
    call += (call.empty() ? "{\"" : ", {\"") + name + "\", N}";
    known += (known.empty() ? "" : ", ") + name;
    complete &= binding.contains(name);
  }
  for (const auto& [name, size] : binding)
    if (!graph.dim_names().contains(name))
      throw Error(ErrorCode::not_found,
                  "explain: no input of the graph has a size named '" + name + "'; " +
                      (known.empty() ? "it has no named sizes" : "there are: " + known));
  if (!complete)
    throw Error(ErrorCode::not_found,
                "explain needs a number for every named size of the graph: explain({" + call + "})");
}

plan::VariablePlace Session::Impl::settle(uint32_t index, const device::DevicePtr& device) {
  exec::VariableState& state = *states[index];
  state.settle(device);
  return {state.home, state.buffer.get(), state.uid, state.generation};
}

plan::Plan& Session::Impl::plan_under(const DimBinding& binding) {
  const plan::PlanOptions wanted{{options.fallback == Fallback::allow, options.fusion, options.composites},
                                 options.freeze};
  std::unique_ptr<plan::Plan> made = plan::make_plan(graph.bind(binding), devices, *this, wanted);
  ++plans_made;
  plans.push_front(std::move(made));
  while (plans.size() > std::max<size_t>(options.plan_cache, 1)) plans.pop_back();
  front_changed();
  return *plans.front();
}

void Session::Impl::front_changed() {
  if (plans.empty()) return;
  const plan::Plan& plan = *plans.front();
  bound_inputs.assign(plan.host_inputs.size(), nullptr);
  bound_outputs.assign(plan.host_outputs.size(), nullptr);
  spare.clear();
  spare.resize(plan.host_outputs.size());
  for (const plan::CompiledPartition& part : plan.partitions)
    plan.devices[part.device].device->record_spans(part.binding, trace != nullptr);
}

Session::Impl::Turn::Turn(Impl& session) : session_(&session) {
  if (session.busy.exchange(true, std::memory_order_acquire)) {
    session_ = nullptr;
    throw Error(ErrorCode::invalid_argument,
                "the session is running already, and runs one at a time; wait for that run to end, or give "
                "each thread a session of its own");
  }
}

std::map<std::string, Tensor> Session::Impl::run(const std::map<std::string, Tensor>& inputs) {
  const CancelEnds ends{cancelled};
  std::vector<Tensor> ordered;
  for (ValueId v : graph.inputs()) {
    const auto it = inputs.find(graph.info(v).name);
    if (it == inputs.end())
      throw Error(ErrorCode::not_found, "input '" + graph.info(v).name + "' is missing from the run");
    ordered.push_back(it->second);
  }
  for (const auto& [name, tensor] : inputs) {
    const bool known = std::any_of(graph.inputs().begin(), graph.inputs().end(),
                                   [&](ValueId v) { return graph.info(v).name == name; });
    if (!known) throw Error(ErrorCode::not_found, "the graph has no input '" + name + "'");
  }
  // Output shapes are the plan's; make it first.
  for (size_t i = 0; i < ordered.size(); ++i)
    if (!ordered[i].defined())
      throw Error(ErrorCode::not_found,
                  "input '" + graph.info(graph.inputs()[i]).name + "' is an undefined tensor");
  const plan::Plan& plan = plan_for(ordered);
  std::vector<Tensor> results;
  for (const ValueType& type : plan.output_types) results.emplace_back(type.dtype, type.dims.shape());
  run(ordered, results);
  std::map<std::string, Tensor> named;
  for (size_t i = 0; i < results.size(); ++i) named.emplace(graph.outputs()[i].name, std::move(results[i]));
  return named;
}

Session::Session(const Graph& graph, std::vector<Device> devices, Variables variables, SessionOptions options)
    : impl_(std::make_shared<Impl>(graph, devices, std::move(variables), options)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Session::Impl& Session::impl() const {
  if (impl_ == nullptr)
    throw Error(ErrorCode::invalid_argument, "the session was moved from; use the one it was moved to");
  return *impl_;
}

void Session::run(std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  Impl& s = impl();
  const Impl::Turn turn(s);
  s.run(inputs, outputs);
}

std::map<std::string, Tensor> Session::run(const std::map<std::string, Tensor>& inputs) {
  Impl& s = impl();
  const Impl::Turn turn(s);
  return s.run(inputs);
}

// The turn is taken here, so that a cancel after this call is a cancel of this run.
std::future<std::map<std::string, Tensor>> Session::run_async(std::map<std::string, Tensor> inputs) {
  return std::async(std::launch::async,
                    [given = std::move(inputs), turn = Impl::Turn(impl()), shared = impl_]() mutable {
                      // Given back before the future is ready; what the future itself holds ends later.
                      const std::shared_ptr<Impl> alive = std::move(shared);
                      const Impl::Turn held = std::move(turn);
                      return alive->run(given);
                    });
}

void Session::cancel() { impl().cancelled = true; }

Explanation Session::explain(const DimBinding& binding) {
  Impl& s = impl();
  const Impl::Turn turn(s);
  s.check_binding(binding);
  std::vector<Shape> shapes;
  for (ValueId v : s.graph.inputs()) shapes.push_back(s.graph.info(v).dims.bind(binding).shape());
  for (const auto& plan : s.plans)
    if (plan->input_shapes == shapes) return plan->explain();
  return s.plan_under(binding).explain();
}

const RunReport& Session::last_run() const { return impl().report; }
size_t Session::cached_plans() const { return impl().plans.size(); }
uint64_t Session::plans_made() const { return impl().plans_made; }

std::vector<std::string> Session::simulated_reports() const {
  std::vector<std::string> reports;
  if (impl().plans.empty()) return reports;
  const plan::Plan& plan = *impl().plans.front();
  for (const plan::CompiledPartition& part : plan.partitions) {
    const auto& device = plan.devices[part.device].device;
    if (device->models_time()) reports.push_back(device->program_report(part.program));
  }
  return reports;
}

void Session::set_trace(Trace* trace) {
  const Impl::Turn turn(impl());
  impl().trace = trace;
  impl().front_changed();
}

const Variables& Session::variables() const { return impl().variables; }

}  // namespace heddle
