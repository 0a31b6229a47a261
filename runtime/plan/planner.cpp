#include "plan/planner.h"

#include <algorithm>

#include "device/plugin_text.h"
#include "heddle/schema.h"
#include "ir/rewrite.h"
#include "kernels/catalogue.h"
#include "transform/simplify.h"

namespace heddle::plan {
namespace {

constexpr uint32_t none = 0xffffffffu;

// Outputs and updates that are no node's result (an input passed through), or the second name of one value,
// become copies by a visible node: every output then has memory of its own.
Graph name_results(const Graph& source) {
  ir::Rewriter rewriter(source);
  Graph target = rewriter.target();
  for (NodeId id = 0; id < source.node_count(); ++id)
    if (rewriter.is_live(id)) rewriter.copy(id);
  const OpSchema& contiguous = *find_op("contiguous");
  std::vector<ValueId> outputs, updates;
  const auto own = [&](ValueId v, std::vector<ValueId>& taken, const std::string& name) {
    const Value value = rewriter.map(v);
    const bool copied =
        source.info(v).kind != ValueKind::result || std::find(taken.begin(), taken.end(), v) != taken.end();
    taken.push_back(v);
    return copied ? target.add(contiguous, std::span(&value, 1), {}, name + ".copy")[0] : value;
  };
  for (const NamedValue& o : source.outputs()) target.output(o.name, own(o.value, outputs, o.name));
  for (const Update& u : source.updates()) {
    const VariableInfo& variable = source.variables()[u.variable];
    target.update(rewriter.map(variable.value), own(u.value, updates, variable.name));
  }
  return target;
}

}  // namespace

Planner::Planner(const std::vector<device::DevicePtr>& devices, VariableSource& variables,
                 const PlanOptions& options)
    : session_devices_(devices), variable_source_(variables), options_(options) {}

void Planner::lower_and_compile(const Graph& bound) {
  plan_ = std::make_unique<Plan>();
  Lowered lowered = lower(name_results(simplify(bound)), session_devices_, options_.lower);
  if (options_.lower.fusion) lowered = fuse(lowered, session_devices_);
  plan_->graph = lowered.graph;
  plan_->node_device = std::move(lowered.device);
  plan_->declined = std::move(lowered.declined);
  const Graph& g = plan_->graph;
  for (ValueId v : g.inputs()) {
    plan_->input_shapes.push_back(g.info(v).dims.shape());
    plan_->input_dtypes.push_back(g.info(v).dtype);
  }
  for (const NamedValue& o : g.outputs())
    plan_->output_types.push_back({g.info(o.value).dtype, g.info(o.value).dims});
  for (const device::DevicePtr& d : session_devices_) device_index(d);

  producer_.assign(g.value_count(), none);
  reading_partitions_.resize(g.value_count());
  const std::vector<Partition> partitions = partition(g, plan_->node_device);
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    CompiledPartition& c = plan_->partitions.emplace_back();
    c.device = partitions[p].device;
    c.nodes = partitions[p].nodes;
    for (NodeId id : c.nodes) {
      for (ValueId v : g.node(id).outputs) producer_[v] = p;
      for (ValueId v : g.node(id).inputs)
        if (v != no_value && (reading_partitions_[v].empty() || reading_partitions_[v].back() != p))
          reading_partitions_[v].push_back(p);
    }
  }
  mark_hollow();
  settle_variables();
  compile_partitions();
}

std::unique_ptr<Plan> Planner::compiled(const Graph& bound) {
  lower_and_compile(bound);
  return std::move(plan_);
}

std::unique_ptr<Plan> Planner::make(const Graph& bound) {
  lower_and_compile(bound);
  choose_in_place();
  choose_host_outputs();
  draft_downloads_and_commits();
  place_memory();
  bind_partitions();
  emit_steps();
  return std::move(plan_);
}

uint32_t Planner::device_index(const device::DevicePtr& device) {
  for (uint32_t i = 0; i < plan_->devices.size(); ++i)
    if (plan_->devices[i].device == device) return i;
  DeviceUse& use = plan_->devices.emplace_back();
  use.device = device;
  use.stream = device->stream();
  return static_cast<uint32_t>(plan_->devices.size() - 1);
}

uint64_t Planner::bytes_of(ValueId value) const {
  const ValueInfo& info = plan_->graph.info(value);
  return static_cast<uint64_t>(info.dims.shape().elements()) * size_of(info.dtype);
}

bool Planner::is_output(ValueId value) const {
  const auto& outputs = plan_->graph.outputs();
  return std::any_of(outputs.begin(), outputs.end(), [&](const NamedValue& o) { return o.value == value; });
}

void Planner::mark_hollow() {
  const Graph& g = plan_->graph;
  hollow_.assign(g.value_count(), false);
  for (NodeId id = 0; id < g.node_count(); ++id) {
    const Node& node = g.node(id);
    const bool computes = plan_->devices[plan_->node_device[id]].device->computes();
    plan_->computes &= computes;
    const bool hollow = !computes || std::any_of(node.inputs.begin(), node.inputs.end(),
                                                 [&](ValueId v) { return v != no_value && hollow_[v]; });
    for (ValueId v : node.outputs) hollow_[v] = hollow;
  }
  for (uint32_t o = 0; o < g.outputs().size(); ++o)
    if (hollow_[g.outputs()[o].value]) plan_->hollow_outputs.push_back(o);
}

void Planner::settle_variables() {
  const Graph& g = plan_->graph;
  for (uint32_t i = 0; i < g.variables().size(); ++i) {
    const ValueId v = g.variables()[i].value;
    // Home: the device of the first reader; for a variable that is only written, of the writer.
    uint32_t first = reading_partitions_[v].empty() ? none : reading_partitions_[v].front();
    for (const Update& u : g.updates())
      if (u.variable == i && first == none) first = producer_[u.value];
    const device::DevicePtr wanted =
        plan_->devices[first == none ? 0 : plan_->partitions[first].device].device;
    variables_.push_back(variable_source_.settle(i, wanted));
    variable_device_.push_back(device_index(variables_.back().home));
    location(v, variable_device_.back()) = {Location::Kind::variable, 0, i, false};
    plan_->devices[variable_device_.back()].variable_bytes += bytes_of(v);
    if (options_.freeze) plan_->frozen.emplace_back(i, variables_.back().generation);
  }
  for (const Update& u : g.updates()) plan_->updated_variables.push_back(u.variable);
}

hd_value_kind Planner::kind_in(uint32_t p, ValueId v) const {
  const ValueInfo& info = plan_->graph.info(v);
  if (producer_[v] == p) {
    const bool read_later = std::any_of(reading_partitions_[v].begin(), reading_partitions_[v].end(),
                                        [p](uint32_t r) { return r != p; });
    const auto& updates = plan_->graph.updates();
    const bool update =
        std::any_of(updates.begin(), updates.end(), [v](const Update& u) { return u.value == v; });
    return read_later || update || is_output(v) ? HD_VALUE_OUTPUT : HD_VALUE_INTERMEDIATE;
  }
  if (info.kind == ValueKind::constant) return HD_VALUE_CONSTANT;
  // A variable read from another device's copy is an input here.
  if (info.kind == ValueKind::variable && variable_device_[info.variable] == plan_->partitions[p].device)
    return HD_VALUE_VARIABLE;
  return HD_VALUE_INPUT;
}

void Planner::bring_operands(uint32_t p) {
  const Graph& g = plan_->graph;
  const uint32_t d = plan_->partitions[p].device;
  for (NodeId id : plan_->partitions[p].nodes) {
    for (ValueId v : g.node(id).inputs) {
      if (v == no_value || producer_[v] == p) continue;
      const ValueInfo& info = g.info(v);
      const bool there = locations_.count({v, d}) != 0;
      if (there) continue;
      if (info.kind == ValueKind::constant) {
        location(v, d) = {Location::Kind::constant, 0, 0, false};
      } else if (info.kind == ValueKind::input) {
        const auto at = std::find(g.inputs().begin(), g.inputs().end(), v);
        const uint32_t index = static_cast<uint32_t>(at - g.inputs().begin());
        if (plan_->devices[d].device->host_memory()) {
          location(v, d) = {Location::Kind::host, 0, index, false};
        } else {
          drafts_.push_back({Step::Kind::upload, p, 0, d, index, v});
          location(v, d) = {Location::Kind::arena, 0, 0, false};
        }
      } else {
        const uint32_t from = info.kind == ValueKind::variable ? variable_device_[info.variable]
                                                               : plan_->partitions[producer_[v]].device;
        if (info.kind == ValueKind::variable)
          last_variable_read_[info.variable] = static_cast<uint32_t>(drafts_.size());
        drafts_.push_back({Step::Kind::transfer, p, from, d, 0, v});
        location(v, d) = {Location::Kind::arena, 0, 0, false};
      }
    }
  }
}

void Planner::compile(uint32_t p) {
  const Graph& g = plan_->graph;
  CompiledPartition& part = plan_->partitions[p];
  EncodedGraph encoded;
  std::map<ValueId, uint32_t> index;
  const auto value_index = [&](ValueId v) -> uint32_t {
    if (v == no_value) return HD_NO_VALUE;
    if (const auto it = index.find(v); it != index.end()) return it->second;
    const ValueInfo& info = g.info(v);
    const hd_value_kind kind = kind_in(p, v);
    const uint32_t i = encoded.add_value(kind, info.dtype, info.dims, info.name,
                                         kind == HD_VALUE_CONSTANT ? info.constant.data() : nullptr);
    if (kind == HD_VALUE_VARIABLE) {
      const auto& updated = plan_->updated_variables;
      encoded.value(i).uid = variables_[info.variable].uid;
      encoded.value(i).generation = variables_[info.variable].generation;
      encoded.value(i).frozen =
          options_.freeze && std::find(updated.begin(), updated.end(), info.variable) == updated.end();
    }
    index.emplace(v, i);
    part.values.push_back(v);
    return i;
  };
  for (NodeId id : part.nodes) {
    const Node& node = g.node(id);
    std::vector<uint32_t> in, out;
    for (ValueId v : node.inputs) in.push_back(value_index(v));
    for (ValueId v : node.outputs) out.push_back(value_index(v));
    encoded.add_node(*node.op, node.name, node.attributes, std::move(in), std::move(out));
  }
  for (const Update& u : g.updates()) {
    const ValueId variable = g.variables()[u.variable].value;
    if (producer_[u.value] == p && index.count(variable) && kind_in(p, variable) == HD_VALUE_VARIABLE)
      encoded.add_update(index.at(variable), index.at(u.value));
  }
  device::OpenDevice& device = *plan_->devices[part.device].device;
  part.program = device.compile(encoded.graph());
  const hd_program_info info = device.describe(part.program);
  part.scratch_bytes = info.scratch_bytes;
  part.scratch_lower_bound = info.scratch_lower_bound ? info.scratch_lower_bound : info.scratch_bytes;
  part.in_place.assign(info.in_place, info.in_place + info.n_in_place);
  for (uint32_t i = 0; i < std::min<size_t>(info.n_kernel, part.nodes.size()); ++i)
    part.kernels.push_back(device::printable(info.kernel[i]));
  part.kernels.resize(part.nodes.size());
  part.simulated_ps = device.program_picoseconds(part.program);
}

void Planner::compile_partitions() {
  last_variable_read_.assign(plan_->graph.variables().size(), 0);
  for (uint32_t p = 0; p < plan_->partitions.size(); ++p) {
    bring_operands(p);
    for (NodeId id : plan_->partitions[p].nodes)
      for (ValueId v : plan_->graph.node(id).inputs)
        if (v != no_value && kind_in(p, v) == HD_VALUE_VARIABLE)
          last_variable_read_[plan_->graph.info(v).variable] = static_cast<uint32_t>(drafts_.size());
    launch_draft_.push_back(static_cast<uint32_t>(drafts_.size()));
    drafts_.push_back({Step::Kind::launch, p, 0, 0, 0, no_value});
    compile(p);
    for (ValueId v : plan_->partitions[p].values)
      if (kind_in(p, v) == HD_VALUE_OUTPUT)
        location(v, plan_->partitions[p].device) = {Location::Kind::arena, 0, 0, false};
  }
}

void Planner::choose_in_place() {
  const Graph& g = plan_->graph;
  for (const Update& u : g.updates()) {
    const uint32_t p = producer_[u.value];
    CompiledPartition& part = plan_->partitions[p];
    const ValueId variable = g.variables()[u.variable].value;
    // Beside a device that computes nothing the others must not overwrite variables; it writes nothing
    // itself.
    if (!plan_->computes && plan_->devices[part.device].device->computes()) continue;
    if (part.device != variable_device_[u.variable] || last_variable_read_[u.variable] > launch_draft_[p])
      continue;
    const auto index = [&](ValueId v) {
      return static_cast<uint32_t>(std::find(part.values.begin(), part.values.end(), v) -
                                   part.values.begin());
    };
    const uint32_t out = index(u.value), in = index(variable);
    const bool never_read = reading_partitions_[variable].empty();
    const bool offered = std::any_of(part.in_place.begin(), part.in_place.end(), [&](const hd_pair& pair) {
      return pair.first == out && pair.second == in;
    });
    Location& place = location(u.value, part.device);
    if (!(offered || never_read) || place.kind != Location::Kind::arena) continue;
    place = {Location::Kind::variable, 0, u.variable, false};
    plan_->in_place_updates.emplace_back(p, u.variable);
  }
}

void Planner::choose_host_outputs() {
  const auto& outputs = plan_->graph.outputs();
  for (uint32_t o = 0; o < outputs.size(); ++o) {
    const ValueId v = outputs[o].value;
    const uint32_t p = producer_[v], d = plan_->partitions[p].device;
    const bool only_here = std::all_of(reading_partitions_[v].begin(), reading_partitions_[v].end(),
                                       [p](uint32_t r) { return r == p; });
    const auto& updates = plan_->graph.updates();
    const bool update =
        std::any_of(updates.begin(), updates.end(), [v](const Update& u) { return u.value == v; });
    if (only_here && !update && plan_->devices[d].device->host_memory())
      location(v, d) = {Location::Kind::host, 0, o, true};
  }
}

void Planner::draft_downloads_and_commits() {
  const Graph& g = plan_->graph;
  for (uint32_t o = 0; o < g.outputs().size(); ++o) {
    const ValueId v = g.outputs()[o].value;
    const uint32_t d = plan_->partitions[producer_[v]].device;
    if (location(v, d).kind != Location::Kind::host) drafts_.push_back({Step::Kind::download, 0, d, 0, o, v});
  }
  if (!plan_->computes) return;
  for (const Update& u : g.updates()) {
    const uint32_t d = plan_->partitions[producer_[u.value]].device;
    const Location& at = location(u.value, d);
    const bool done = at.kind == Location::Kind::variable && at.index == u.variable;
    if (!done)
      drafts_.push_back({Step::Kind::commit, 0, d, variable_device_[u.variable], u.variable, u.value});
  }
}

std::unique_ptr<Plan> make_plan(const Graph& bound, const std::vector<device::DevicePtr>& devices,
                                VariableSource& variables, const PlanOptions& options) {
  return Planner(devices, variables, options).make(bound);
}

std::unique_ptr<Plan> compile_plan(const Graph& bound, const std::vector<device::DevicePtr>& devices,
                                   VariableSource& variables, const PlanOptions& options) {
  return Planner(devices, variables, options).compiled(bound);
}

}  // namespace heddle::plan
