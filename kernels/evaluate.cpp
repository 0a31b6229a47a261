#include "kernels/evaluate.h"

#include "heddle/error.h"
#include "ir/graph_data.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

std::vector<Tensor> run_reference(const OpSchema& op, std::span<const Tensor> inputs,
                                  const Attributes& attributes, std::span<const ValueType> types) {
  std::vector<Tensor> dense, outputs;
  for (const Tensor& t : inputs) dense.push_back(t.defined() ? t.contiguous() : t);
  for (const ValueType& t : types) outputs.emplace_back(t.dtype, t.dims.shape());
  if (op.reference == nullptr) refuse(ErrorCode::unsupported, std::string(op.name) + " has no reference");
  op.reference({attributes, dense, outputs});
  return outputs;
}

}  // namespace

std::vector<Tensor> evaluate_op(const OpSchema& op, std::span<const Tensor> inputs,
                                const Attributes& attributes) {
  std::vector<ValueType> storage(inputs.size());
  std::vector<const ValueType*> types;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) storage[i] = {inputs[i].dtype(), Dims(inputs[i].shape())};
    types.push_back(inputs[i].defined() ? &storage[i] : nullptr);
  }
  const Attributes complete = ir::complete_attributes(op, attributes);
  return run_reference(op, inputs, complete, ir::infer_types(op, op.name, types, complete));
}

std::vector<Tensor> evaluate_values(const Graph& graph, std::span<const ValueId> wanted,
                                    const std::map<ValueId, Tensor>& known) {
  std::vector<bool> needed(graph.value_count(), false);
  for (const ValueId v : wanted) needed[v] = true;
  for (NodeId id = static_cast<NodeId>(graph.node_count()); id-- > 0;) {
    const Node& node = graph.node(id);
    bool run = false;
    for (const ValueId v : node.outputs) run = run || needed[v];
    for (const ValueId v : node.inputs)
      if (run && v != no_value) needed[v] = true;
  }
  std::vector<Tensor> values(graph.value_count());
  for (ValueId v = 0; v < graph.value_count(); ++v) {
    if (!needed[v]) continue;
    const ValueInfo& info = graph.info(v);
    if (info.kind == ValueKind::constant) values[v] = info.constant;
    if (const auto at = known.find(v); at != known.end()) values[v] = at->second;
    if (info.kind != ValueKind::result && !values[v].defined()) {
      refuse(ErrorCode::not_found,
             "'" + info.name + "' has no contents; give every input and variable that is read");
    }
  }
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    bool run = false;
    for (const ValueId v : node.outputs) run = run || (needed[v] && !values[v].defined());
    if (!run) continue;
    std::vector<Tensor> inputs;
    for (const ValueId v : node.inputs) inputs.push_back(v == no_value ? Tensor() : values[v]);
    std::vector<ValueType> types;
    for (const ValueId v : node.outputs) types.push_back(ir::type_of(graph.info(v)));
    const std::vector<Tensor> results = run_reference(*node.op, inputs, node.attributes, types);
    for (size_t i = 0; i < results.size(); ++i) values[node.outputs[i]] = results[i];
  }
  std::vector<Tensor> result;
  for (const ValueId v : wanted) result.push_back(values[v]);
  return result;
}

Evaluation evaluate(const Graph& graph, const std::map<std::string, Tensor>& given) {
  std::map<ValueId, Tensor> known;
  const auto take = [&](ValueId id) {
    const ValueInfo& info = graph.info(id);
    const auto at = given.find(info.name);
    if (at == given.end()) return;
    if (at->second.dtype() != info.dtype) {
      refuse_dtype("'" + info.name + "' is " + dtype_name(info.dtype) + ", but got " +
                   dtype_name(at->second.dtype()));
    }
    if (at->second.shape() != info.dims.shape()) {
      refuse_shape("'" + info.name + "' is " + to_string(info.dims) + ", but got " +
                   to_string(at->second.shape()));
    }
    known.emplace(id, at->second);
  };
  for (const ValueId id : graph.inputs()) take(id);
  for (const VariableInfo& v : graph.variables()) take(v.value);
  std::vector<ValueId> wanted;
  for (const NamedValue& o : graph.outputs()) wanted.push_back(o.value);
  for (const Update& u : graph.updates()) wanted.push_back(u.value);
  const std::vector<Tensor> values = evaluate_values(graph, wanted, known);
  Evaluation result;
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    result.outputs.emplace(graph.outputs()[i].name, values[i]);
  for (size_t i = 0; i < graph.updates().size(); ++i) {
    result.variables.emplace(graph.variables()[graph.updates()[i].variable].name,
                             values[graph.outputs().size() + i]);
  }
  return result;
}

}  // namespace heddle
