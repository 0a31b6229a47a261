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

Rewriter::Rewriter(const Graph& source)
    : source_(source), live_(live_nodes(source)), map_(source.value_count()) {
  GraphData& to = *target_.data();
  to.dim_names = source.data()->dim_names;
  const auto copy_interface = [&](ValueId id) {
    const ValueId copied = to.add_value(source.info(id));
    to.interface.emplace(source.info(id).name, copied);
    map_[id] = target_.value(copied);
    return copied;
  };
  for (const ValueId id : source.inputs()) to.inputs.push_back(copy_interface(id));
  for (VariableInfo v : source.variables()) {
    v.value = copy_interface(v.value);
    to.variables.push_back(std::move(v));
  }
}

Value Rewriter::map(ValueId id) {
  if (id == no_value) return {};
  if (!map_[id]) {
    if (source_.info(id).kind != ValueKind::constant)
      throw Error(ErrorCode::internal, "the rewriter was asked for '" + source_.info(id).name +
                                           "' before its node was copied or replaced");
    map_[id] = target_.value(target_.data()->add_value(source_.info(id)));
  }
  return map_[id];
}

std::vector<Value> Rewriter::inputs(NodeId id) {
  std::vector<Value> values;
  for (const ValueId v : source_.node(id).inputs) values.push_back(map(v));
  return values;
}

std::vector<Value> Rewriter::copy(NodeId id) {
  GraphData& to = *target_.data();
  const Node& node = source_.node(id);
  Node copied = node;
  copied.name = to.unique_name(node.name, node.op->name);
  copied.inputs.clear();
  copied.outputs.clear();
  for (const Value& v : inputs(id)) copied.inputs.push_back(v ? v.id() : no_value);
  std::vector<ValueType> types;
  for (const ValueId v : node.outputs) types.push_back(type_of(source_.info(v)));
  const NodeId added = to.add_node(std::move(copied), types);
  std::vector<Value> outputs;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    outputs.push_back(target_.value(to.nodes[added].outputs[i]));
    map_[node.outputs[i]] = outputs.back();
  }
  return outputs;
}

void Rewriter::replace(NodeId id, std::span<const Value> values) {
  const Node& node = source_.node(id);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueInfo& before = source_.info(node.outputs[i]);
    if (i >= values.size() || !values[i] || type_of(target_.info(values[i].id())) != type_of(before))
      throw Error(ErrorCode::internal, std::string(node.op->name) + " '" + node.name +
                                           "': the replacement of result " + std::to_string(i) + " (" +
                                           heddle::to_string(type_of(before)) +
                                           ") is missing or has another type");
    map_[node.outputs[i]] = values[i];
  }
}

void Rewriter::set(ValueId source, Value value) { map_[source] = value; }

void Rewriter::finish() {
  GraphData& to = *target_.data();
  for (const NamedValue& o : source_.outputs()) to.outputs.push_back({o.name, map(o.value).id()});
  for (const Update& u : source_.updates()) to.updates.push_back({u.variable, map(u.value).id()});
}

Graph rewrite(const Graph& source, const RewriteHook& hook) {
  Rewriter rewriter(source);
  Graph target = rewriter.target();
  bool replaced = false;
  for (NodeId id = 0; id < source.node_count(); ++id) {
    if (!rewriter.is_live(id)) continue;
    const Node& node = source.node(id);
    const std::vector<Value> inputs = rewriter.inputs(id);
    std::optional<std::vector<Value>> values;
    {
      const auto scope = target.scope(node.name);
      target.pin(node.device);
      values = hook(target, id, node, inputs);
      target.pin("");
    }
    if (values)
      rewriter.replace(id, *values);
    else
      rewriter.copy(id);
    replaced |= values.has_value();
  }
  rewriter.finish();
  return replaced ? drop_dead_nodes(target) : target;
}

Graph drop_dead_nodes(const Graph& graph) {
  Rewriter rewriter(graph);
  for (NodeId id = 0; id < graph.node_count(); ++id)
    if (rewriter.is_live(id)) rewriter.copy(id);
  rewriter.finish();
  return rewriter.target();
}

}  // namespace heddle::ir
