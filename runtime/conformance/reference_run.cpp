#include "conformance/reference_run.h"

#include "ir/graph_data.h"

namespace heddle::conformance {

std::vector<Tensor> run_reference(const OpSchema& op, const Attributes& given,
                                  std::span<const Tensor> inputs) {
  std::vector<ValueType> types(inputs.size());
  std::vector<const ValueType*> pointers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) types[i] = {inputs[i].dtype(), inputs[i].shape()};
    pointers.push_back(inputs[i].defined() ? &types[i] : nullptr);
  }
  const Attributes attributes = ir::complete_attributes(op, given);
  std::vector<Tensor> outputs;
  for (const ValueType& type : ir::infer_types(op, op.name, pointers, attributes))
    outputs.emplace_back(type.dtype, type.dims.shape());
  op.reference({attributes, inputs, outputs});
  return outputs;
}

std::vector<Tensor> given_values(const Problem& problem) {
  const Graph& graph = problem.graph;
  std::vector<Tensor> values(graph.value_count());
  for (size_t i = 0; i < problem.inputs.size(); ++i) values[graph.inputs()[i]] = problem.inputs[i];
  for (size_t i = 0; i < problem.variables.size(); ++i)
    values[graph.variables()[i].value] = problem.variables[i];
  for (ValueId v = 0; v < values.size(); ++v)
    if (graph.info(v).kind == ValueKind::constant) values[v] = graph.info(v).constant;
  return values;
}

std::vector<Tensor> run_reference(const Problem& problem) {
  std::vector<Tensor> values = given_values(problem);
  for (NodeId id = 0; id < problem.graph.node_count(); ++id) {
    const Node& node = problem.graph.node(id);
    std::vector<Tensor> operands;
    for (const ValueId v : node.inputs) operands.push_back(v == no_value ? Tensor() : values[v]);
    const std::vector<Tensor> results = run_reference(*node.op, node.attributes, operands);
    for (size_t i = 0; i < results.size(); ++i) values[node.outputs[i]] = results[i];
  }
  return values;
}

}  // namespace heddle::conformance
