#include "ir/graph_data.h"

#include <algorithm>

#include "heddle/error.h"
#include "ir/scalar_program.h"

namespace heddle::ir {

ValueType type_of(const ValueInfo& info) { return {info.dtype, info.dims}; }

bool is_dtype(DType dtype) { return std::ranges::find(all_dtypes, dtype) != std::end(all_dtypes); }

ValueId GraphData::add_value(ValueInfo info) {
  values.push_back(std::move(info));
  return static_cast<ValueId>(values.size() - 1);
}

std::string GraphData::unique_name(const std::string& wanted, const char* op) {
  const std::string base = scope + (wanted.empty() ? std::string(op) : wanted);
  if (!wanted.empty() && node_names.insert(base).second) return base;
  for (uint32_t& n = next_suffix[base];;) {
    std::string name = base + "_" + std::to_string(n++);
    if (node_names.insert(name).second) return name;
  }
}

NodeId GraphData::add_node(Node node, std::span<const ValueType> results) {
  const auto id = static_cast<NodeId>(nodes.size());
  for (size_t i = 0; i < results.size(); ++i) {
    ValueInfo info;
    info.dtype = results[i].dtype;
    info.dims = results[i].dims;
    info.name = i == 0 ? node.name : node.name + "." + std::to_string(i);
    info.producer = id;
    info.output_index = static_cast<uint32_t>(i);
    node.outputs.push_back(add_value(std::move(info)));
  }
  nodes.push_back(std::move(node));
  return id;
}

const char* kind_of(const OpSchema& op, const Attributes& attributes) {
  const AttributeValue* body = std::string_view(op.name) == "pointwise" ? attributes.find("body") : nullptr;
  const auto* program = body ? std::get_if<ScalarProgramPtr>(body) : nullptr;
  const ScalarStep* step = program && *program ? only_step(**program) : nullptr;
  return step ? scalar_op_info(step->op).name : op.name;
}

std::string describe_node(const char* kind, const std::string& name,
                          std::span<const ValueType* const> inputs) {
  std::string text = kind + (name.empty() ? std::string(" (") : " '" + name + "' (");
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i > 0) text += ", ";
    text += inputs[i] ? to_string(*inputs[i]) : "-";
  }
  return text + ")";
}

void check_operands(const OpSchema& op, std::vector<ValueId>& inputs) {
  using Arity = OperandDoc::Arity;
  const bool variadic = std::any_of(op.inputs.begin(), op.inputs.end(),
                                    [](const OperandDoc& d) { return d.arity == Arity::variadic; });
  if (!variadic) {
    if (inputs.size() > op.inputs.size()) {
      throw Error(ErrorCode::invalid_argument, "takes at most " + std::to_string(op.inputs.size()) +
                                                   " operands, but got " + std::to_string(inputs.size()));
    }
    inputs.resize(op.inputs.size(), no_value);
  }
  for (size_t i = 0; i < op.inputs.size() && op.inputs[i].arity != Arity::variadic; ++i) {
    if (op.inputs[i].arity == Arity::one && (i >= inputs.size() || inputs[i] == no_value)) {
      throw Error(ErrorCode::invalid_argument,
                  std::string("operand '") + op.inputs[i].name + "' is missing; it is not optional");
    }
  }
}

std::vector<ValueType> infer_types(const OpSchema& op, const std::string& name,
                                   std::span<const ValueType* const> inputs, const Attributes& attributes) {
  try {
    if (op.infer == nullptr) throw Error(ErrorCode::internal, "the schema has no shape rule");
    return op.infer({inputs, attributes});
  } catch (const Error& e) {
    throw Error(e.code(), describe_node(kind_of(op, attributes), name, inputs) + ": " + e.what());
  }
}

}  // namespace heddle::ir
