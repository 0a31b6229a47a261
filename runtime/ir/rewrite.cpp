#include "ir/rewrite.h"

#include <algorithm>

#include "heddle/error.h"
#include "ir/graph_data.h"

namespace heddle::ir {

std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(graph.node_count(), false);
  const auto need = [&](ValueId v) {
    if (v != no_value && graph.info(v).kind == ValueKind::result) live[graph.info(v).producer] = true;
  };
  for (const NamedValue& o : graph.outputs()) need(o.value);
  for (const Update& u : graph.updates()) need(u.value);
  for (size_t id = graph.node_count(); id-- > 0;) {  // producers come before their users
    if (!live[id]) continue;
    for (const ValueId v : graph.node(static_cast<NodeId>(id)).inputs) need(v);
  }
  return live;
}

Rewriter::Rewriter(const Graph& source) : source_(source), map_(source.value_count()) {
  GraphData& to = *destination_.data();
  to.dim_names = source.data()->dim_names;
  const auto copy_interface = [&](ValueId id) {
    const ValueId copy = to.add_value(source.info(id));
    to.interface.emplace(source.info(id).name, copy);
    map_[id] = destination_.value(copy);
    return copy;
  };
  for (const ValueId id : source.inputs()) to.inputs.push_back(copy_interface(id));
  for (VariableInfo v : source.variables()) {
    v.value = copy_interface(v.value);
    to.variables.push_back(std::move(v));
  }
}

Value Rewriter::mapped(ValueId id) {
  if (id == no_value) return {};
  if (!map_[id]) {
    if (source_.info(id).kind != ValueKind::constant) {
      throw Error(ErrorCode::internal,
                  "the rewriter was asked for '" + source_.info(id).name + "' before it was copied");
    }
    map_[id] = destination_.value(destination_.data()->add_value(source_.info(id)));
  }
  return map_[id];
}

void Rewriter::copy_node(const Node& node, std::span<const Value> inputs) {
  GraphData& to = *destination_.data();
  Node copy = node;
  copy.name = to.unique_name(node.name, node.op->name);
  copy.inputs.clear();
  copy.outputs.clear();
  for (const Value& v : inputs) copy.inputs.push_back(v ? v.id() : no_value);
  std::vector<ValueType> types;
  for (const ValueId v : node.outputs) types.push_back(type_of(source_.info(v)));
  const NodeId id = to.add_node(std::move(copy), types);
  for (size_t i = 0; i < node.outputs.size(); ++i)
    map_[node.outputs[i]] = destination_.value(to.nodes[id].outputs[i]);
}

Graph Rewriter::run(const Hook& hook) {
  GraphData& to = *destination_.data();
  const std::vector<bool> live = live_nodes(source_);
  bool replaced = false;
  for (NodeId id = 0; id < source_.node_count(); ++id) {
    if (!live[id]) continue;
    const Node& node = source_.node(id);
    std::vector<Value> inputs;
    for (const ValueId v : node.inputs) inputs.push_back(mapped(v));
    std::optional<std::vector<Value>> values;
    if (hook) {
      const auto scope = destination_.scope(node.name);
      to.device = node.device;
      values = hook(destination_, id, node, inputs);
      to.device.clear();
    }
    if (!values) {
      copy_node(node, inputs);
      continue;
    }
    replaced = true;
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueInfo& before = source_.info(node.outputs[i]);
      if (i >= values->size() || !(*values)[i] || type_of(to.values[(*values)[i].id()]) != type_of(before)) {
        throw Error(ErrorCode::internal, std::string(node.op->name) + " '" + node.name +
                                             "': the replacement of result " + std::to_string(i) + " (" +
                                             heddle::to_string(type_of(before)) +
                                             ") is missing or has another type");
      }
      map_[node.outputs[i]] = (*values)[i];
    }
  }
  for (const NamedValue& o : source_.outputs()) to.outputs.push_back({o.name, mapped(o.value).id()});
  for (const Update& u : source_.updates()) to.updates.push_back({u.variable, mapped(u.value).id()});
  // Replacements may have left the copies of their producers without a use.
  return replaced ? drop_dead_nodes(destination_) : destination_;
}

Graph drop_dead_nodes(const Graph& graph) { return Rewriter(graph).run(nullptr); }

}  // namespace heddle::ir
