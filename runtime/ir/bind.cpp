#include "heddle/error.h"
#include "ir/graph_data.h"

namespace heddle {
namespace {

// Dims attributes become numbers.
Attributes bind_attributes(const Attributes& attributes, const DimBinding& binding) {
  Attributes bound;
  for (const auto& [name, value] : attributes.entries()) {
    const Dims* dims = std::get_if<Dims>(&value);
    bound.set(name, dims ? AttributeValue(dims->bind(binding)) : value);
  }
  return bound;
}

}  // namespace

Graph Graph::bind(const DimBinding& binding) const {
  Graph bound = clone();
  ir::GraphData& data = *bound.data();
  for (const auto& [name, dim] : data.dim_names) dim.bind(binding);  // throws outside what all inputs allow
  data.dim_names.clear();
  for (ValueId id : data.inputs) {
    try {
      data.values[id].dims = data.values[id].dims.bind(binding);
    } catch (const Error& e) {
      throw Error(e.code(), "input '" + data.values[id].name + "': " + e.what());
    }
  }
  // Ids do not change. The shape rules run again: what holds for names must hold for the numbers as well.
  for (Node& node : data.nodes) {
    std::deque<ValueType> storage;
    std::vector<const ValueType*> types;
    for (ValueId id : node.inputs)
      types.push_back(id == no_value ? nullptr : &storage.emplace_back(ir::type_of(data.values[id])));
    try {
      node.attributes = bind_attributes(node.attributes, binding);
    } catch (const Error& e) {
      throw Error(e.code(), ir::describe_node(ir::kind_of(*node.op, node.attributes), node.name, types) +
                                ": " + e.what());
    }
    const std::vector<ValueType> results = ir::infer_types(*node.op, node.name, types, node.attributes);
    if (results.size() != node.outputs.size()) {
      throw Error(ErrorCode::internal,
                  ir::describe_node(ir::kind_of(*node.op, node.attributes), node.name, types) +
                      ": the number of results depends on the sizes");
    }
    for (size_t i = 0; i < results.size(); ++i) {
      data.values[node.outputs[i]].dtype = results[i].dtype;
      data.values[node.outputs[i]].dims = results[i].dims;
    }
  }
  for (const Update& u : data.updates) {
    const VariableInfo& v = data.variables[u.variable];
    if (data.values[u.value].dims != Dims(v.shape)) {
      throw Error(ErrorCode::shape_mismatch, "update of variable '" + v.name + "': it is " +
                                                 heddle::to_string(v.shape) + ", but the value is " +
                                                 heddle::to_string(data.values[u.value].dims));
    }
  }
  return bound;
}

}  // namespace heddle
