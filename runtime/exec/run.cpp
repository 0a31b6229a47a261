// The launch loop. In steady state it allocates nothing, locks nothing and looks nothing up by name.
#include <chrono>
#include <cstring>

#include "exec/session_impl.h"
#include "heddle/schema.h"

namespace heddle {
namespace {

using plan::CompiledPartition;
using plan::Plan;
using plan::Step;

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

bool same_shapes(const Plan& plan, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!(plan.input_shapes[i] == inputs[i].shape())) return false;
  return true;
}

std::string type_text(const Tensor& t) { return dtype_name(t.dtype()) + to_string(t.shape()); }

}  // namespace

void Session::Impl::check_inputs(std::span<const Tensor> inputs) const {
  const std::vector<ValueId>& declared = graph.inputs();
  if (inputs.size() != declared.size())
    throw Error(ErrorCode::invalid_argument, "the graph has " + std::to_string(declared.size()) +
                                                 " inputs, the run gives " + std::to_string(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueInfo& info = graph.info(declared[i]);
    if (!inputs[i].defined())
      throw Error(ErrorCode::not_found, "input '" + info.name + "' is missing from the run");
    if (inputs[i].dtype() != info.dtype)
      throw Error(ErrorCode::dtype_mismatch, "input '" + info.name + "' is " +
                                                 std::string(dtype_name(info.dtype)) + ", the run gives " +
                                                 type_text(inputs[i]));
  }
}

DimBinding Session::Impl::binding_of(std::span<const Tensor> inputs) const {
  DimBinding binding;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueInfo& info = graph.info(graph.inputs()[i]);
    const auto mismatch = [&](const std::string& why) {
      throw Error(ErrorCode::shape_mismatch, "input '" + info.name + "' has dims " + to_string(info.dims) +
                                                 ", the run gives " + type_text(inputs[i]) + why);
    };
    if (inputs[i].rank() != info.dims.rank()) mismatch("");
    for (int axis = 0; axis < info.dims.rank(); ++axis) {
      const std::string name = info.dims[axis].name();
      if (name.empty()) continue;
      const auto [it, fresh] = binding.emplace(name, inputs[i].shape()[axis]);
      if (!fresh && it->second != inputs[i].shape()[axis])
        mismatch("; '" + name + "' is " + std::to_string(it->second) + " in an earlier input");
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueInfo& info = graph.info(graph.inputs()[i]);
    for (int axis = 0; axis < info.dims.rank(); ++axis)
      if (info.dims[axis].bind(binding) != inputs[i].shape()[axis])
        throw Error(ErrorCode::shape_mismatch, "input '" + info.name + "' has dims " + to_string(info.dims) +
                                                   ", the run gives " + type_text(inputs[i]));
  }
  return binding;
}

bool Session::Impl::is_frozen_stale(const Plan& plan) const {
  for (const auto& [variable, generation] : plan.frozen)
    if (states[variable]->generation != generation) return true;
  return false;
}

Plan& Session::Impl::plan_for(std::span<const Tensor> inputs) {
  for (auto it = plans.begin(); it != plans.end();) {
    if (is_frozen_stale(**it)) {
      it = plans.erase(it);
      front_changed();
      continue;
    }
    if (same_shapes(**it, inputs)) {
      if (it != plans.begin()) {
        plans.splice(plans.begin(), plans, it);
        front_changed();
      }
      return *plans.front();
    }
    ++it;
  }
  return plan_under(binding_of(inputs));
}

void Session::Impl::check_outputs(const Plan& plan, std::span<Tensor> outputs) const {
  if (outputs.size() != plan.output_types.size())
    throw Error(ErrorCode::invalid_argument, "the graph has " + std::to_string(plan.output_types.size()) +
                                                 " outputs, the run gives room for " +
                                                 std::to_string(outputs.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined()) continue;
    const ValueType& type = plan.output_types[i];
    bool fits = outputs[i].dtype() == type.dtype && outputs[i].rank() == type.dims.rank() &&
                outputs[i].is_contiguous();
    for (int axis = 0; fits && axis < type.dims.rank(); ++axis)
      fits = type.dims[axis].number() == outputs[i].shape()[axis];
    if (!fits)
      throw Error(ErrorCode::shape_mismatch, "output '" + graph.outputs()[i].name + "' is dense " +
                                                 to_string(type) + ", the tensor given for it is " +
                                                 type_text(outputs[i]));
  }
}

void Session::Impl::check_variables(const Plan&) const {
  for (const auto& state : states)
    if (state->poisoned) (void)state->read();  // throws, naming the variable
}

void Session::Impl::bind_host(Plan& plan, std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  for (size_t s = 0; s < plan.host_inputs.size(); ++s) {
    const plan::HostSlot& slot = plan.host_inputs[s];
    const Tensor& tensor = inputs[slot.index];
    if (bound_inputs[s] == tensor.data()) continue;
    const CompiledPartition& part = plan.partitions[slot.partition];
    plan.devices[part.device].device->rebind(part.binding, slot.value,
                                             device::host_span(tensor.data(), tensor.bytes()));
    bound_inputs[s] = tensor.data();
  }
  for (size_t s = 0; s < plan.host_outputs.size(); ++s) {
    const plan::HostSlot& slot = plan.host_outputs[s];
    const CompiledPartition& part = plan.partitions[slot.partition];
    device::OpenDevice& device = *plan.devices[part.device].device;
    const ValueType& type = plan.output_types[slot.index];
    Tensor& tensor = outputs[slot.index];
    if (tensor.defined() && bound_outputs[s] == tensor.data()) continue;
    const uint64_t bytes = static_cast<uint64_t>(type.dims.shape().elements()) * size_of(type.dtype);
    if (tensor.defined()) {
      device.rebind(part.binding, slot.value, device::host_span(tensor.data(), bytes));
      bound_outputs[s] = tensor.data();
    } else {  // unwanted, but the program writes it somewhere
      if (!spare[s]) spare[s] = device.alloc(bytes);
      device.rebind(part.binding, slot.value, device::span_of(spare[s], 0, bytes));
      bound_outputs[s] = nullptr;
    }
  }
}

void Session::Impl::launch(Plan& plan, const CompiledPartition& part) {
  plan::DeviceUse& use = plan.devices[part.device];
  use.device->wait(use.stream, use.device->launch(use.stream, part.binding));
  report.simulated_ps += part.simulated_ps;
  if (trace != nullptr) record(plan, part);
}

void Session::Impl::run_step(Plan& plan, size_t index, std::span<const Tensor> inputs,
                             std::span<Tensor> outputs) {
  const Step& step = plan.steps[index];
  const auto staged = [&](hd_span target) {
    plan::DeviceUse &from = plan.devices[step.from], &to = plan.devices[step.to];
    const hd_span host = device::host_span(plan.staging[index].data(), step.bytes);
    if (!step.hollow) from.device->copy_now(from.stream, host, step.source);  // else filled once for all
    to.device->copy_now(to.stream, target, host);
  };
  switch (step.kind) {
    case Step::Kind::launch:
      launch(plan, plan.partitions[step.partition]);
      return;
    case Step::Kind::transfer:
      staged(step.target);
      ++report.crossings;
      break;
    case Step::Kind::upload: {
      plan::DeviceUse& to = plan.devices[step.to];
      to.device->copy_now(to.stream, step.target, device::host_span(inputs[step.index].data(), step.bytes));
      break;
    }
    case Step::Kind::download: {
      if (!outputs[step.index].defined()) return;
      plan::DeviceUse& from = plan.devices[step.from];
      if (!step.hollow)
        from.device->copy_now(from.stream, device::host_span(outputs[step.index].data(), step.bytes),
                              step.source);
      break;
    }
    case Step::Kind::commit:
      if (step.from == step.to) {
        plan.devices[step.to].device->copy_now(plan.devices[step.to].stream, step.target, step.source);
      } else {
        staged(step.target);
        ++report.crossings;
      }
      break;
  }
  ++report.copies;
  report.copy_bytes += step.bytes;
}

void Session::Impl::run(std::span<const Tensor> given, std::span<Tensor> outputs) {
  const uint64_t begin = now_ns();
  const CancelEnds ends{cancelled};
  check_inputs(given);
  Plan& plan = plan_for(given);
  check_outputs(plan, outputs);
  check_variables(plan);
  std::vector<Tensor> dense;  // only when an input is a strided view
  std::span<const Tensor> inputs = given;
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i].is_contiguous()) continue;
    if (dense.empty()) dense.assign(given.begin(), given.end());
    dense[i] = given[i].contiguous();
    inputs = dense;
  }
  report = RunReport{};
  bind_host(plan, inputs, outputs);
  size_t begun = 0;  // steps that may have written something
  try {
    while (begun < plan.steps.size()) {
      if (cancelled.load(std::memory_order_relaxed))
        throw Error(ErrorCode::cancelled, "the run was cancelled after " + std::to_string(begun) + " of " +
                                              std::to_string(plan.steps.size()) + " steps");
      run_step(plan, begun++, inputs, outputs);
    }
  } catch (...) {
    // What a started launch or commit may have written in part is poisoned; the rest still holds its old
    // value.
    for (size_t s = 0; plan.computes && s < begun; ++s) {
      const Step& done = plan.steps[s];
      if (done.kind == Step::Kind::commit) states[done.index]->poisoned = true;
      if (done.kind != Step::Kind::launch) continue;
      for (const auto& [partition, variable] : plan.in_place_updates)
        if (partition == done.partition) states[variable]->poisoned = true;
    }
    throw;
  }
  for (uint32_t o : plan.hollow_outputs)
    if (outputs[o].defined())
      plan::fill_hollow({static_cast<std::byte*>(outputs[o].data()), outputs[o].bytes()}, outputs[o].dtype());
  if (plan.computes)
    for (uint32_t v : plan.updated_variables) ++states[v]->generation;
  report.wall_ns = now_ns() - begin;
}

void Session::Impl::record(const Plan& plan, const CompiledPartition& part) {
  const plan::DeviceUse& use = plan.devices[part.device];
  for (const hd_span_record& span : use.device->last_spans(part.binding, part.nodes.size()))
    if (span.end_ns != 0 && span.node < part.nodes.size())
      trace->add_span(use.device->spec(), plan.graph.node(part.nodes[span.node]).name,
                      part.kernels[span.node], span.begin_ns, span.end_ns);
  if (use.device->models_time())
    trace->add_simulated(use.device->spec(), use.device->program_trace(part.program), part.simulated_ps);
}

}  // namespace heddle
