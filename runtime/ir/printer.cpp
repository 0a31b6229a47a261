// Graphs as text:
//
//   input x: float32[batch,784]
//   variable w: float32[784,10] = normal(0, 0.02)
//   %matmul_0 = matmul(x, w) : float32[batch,10]
//   %relu_0 = relu(%matmul_0) : float32[batch,10]
//   update w = %sub_0
//   output p = %relu_0
#include <optional>

#include "ir/graph_data.h"
#include "ir/number_text.h"
#include "ir/scalar_program.h"

namespace heddle {
namespace {

std::string value_text(const Graph& g, ValueId id) {
  if (id == no_value) return "-";
  const ValueInfo& v = g.info(id);
  switch (v.kind) {
    case ValueKind::input:
    case ValueKind::variable:
      return v.name;
    case ValueKind::constant:
      if (v.dims.rank() == 0) return to_string(v.constant);
      return v.name.empty() ? "%c" + number_text(id) : "%" + v.name;
    case ValueKind::result:
      break;
  }
  return "%" + v.name;
}

std::string initializer_text(const Initializer& i) {
  switch (i.kind) {
    case Initializer::Kind::constant:
      return number_text(i.a);
    case Initializer::Kind::normal:
      return "normal(" + number_text(i.a) + ", " + number_text(i.b) + ")";
    case Initializer::Kind::uniform:
      return "uniform(" + number_text(i.a) + ", " + number_text(i.b) + ")";
    case Initializer::Kind::tensor:
      break;
  }
  return "tensor";
}

// "mul(x, 2)" for a program of one step besides constants with one output: its step with the node's operands.
std::optional<std::string> one_step_text(const Graph& g, const Node& node, const ScalarProgram& p) {
  const ScalarStep* step = only_step(p);
  if (step == nullptr) return std::nullopt;
  const ScalarOpInfo& info = scalar_op_info(step->op);
  std::string text = std::string(info.name) + "(";
  for (int i = 0; i < info.operands; ++i) {
    if (i > 0) text += ", ";
    const uint32_t reg = step->operand[i];
    if (reg < p.inputs.size()) {
      text += value_text(g, node.inputs[reg]);
    } else {
      const ScalarStep& c = p.steps[reg - p.inputs.size()];
      text += is_integer(c.dtype) ? number_text(c.integer) : number_text(c.value);
    }
  }
  if (step->op == ScalarOp::cast) text += std::string(", ") + dtype_name(step->dtype);
  return text + ")";
}

std::string node_text(const Graph& g, const Node& node) {
  std::string text;
  for (ValueId v : node.outputs) text += (text.empty() ? "" : ", ") + value_text(g, v);
  text += " = ";
  const AttributeValue* body = node.attributes.find("body");
  const auto* program = body ? std::get_if<ScalarProgramPtr>(body) : nullptr;
  std::optional<std::string> short_form;
  if (program && *program && std::string_view(node.op->name) == "pointwise") {
    short_form = one_step_text(g, node, **program);
  }
  if (short_form) {
    text += *short_form;
  } else {
    text += std::string(node.op->name) + "(";
    for (size_t i = 0; i < node.inputs.size(); ++i)
      text += (i > 0 ? ", " : "") + value_text(g, node.inputs[i]);
    text += ")";
    // Attributes that differ from the schema's default.
    std::string list;
    for (const AttributeDoc& doc : node.op->attributes) {
      const AttributeValue* value = node.attributes.find(doc.name);
      if (value == nullptr) continue;
      const auto* string = std::get_if<std::string>(value);
      if (doc.fallback != nullptr && (string ? *string : to_string(*value)) == doc.fallback) continue;
      list += (list.empty() ? "" : ", ") + std::string(doc.name) + "=" + to_string(*value);
    }
    if (!list.empty()) text += " {" + list + "}";
  }
  text += " : ";
  for (size_t i = 0; i < node.outputs.size(); ++i)
    text += (i > 0 ? ", " : "") + to_string(ir::type_of(g.info(node.outputs[i])));
  if (!node.device.empty()) text += " @" + node.device;
  return text;
}

}  // namespace

std::string Graph::to_string() const {
  std::string text;
  for (ValueId id : inputs())
    text += "input " + info(id).name + ": " + heddle::to_string(ir::type_of(info(id))) + "\n";
  for (const VariableInfo& v : variables()) {
    text += "variable " + v.name + ": " + dtype_name(v.dtype) + heddle::to_string(v.shape) + " = " +
            initializer_text(v.initializer) + "\n";
  }
  for (ValueId id = 0; id < value_count(); ++id) {
    const ValueInfo& v = info(id);
    if (v.kind == ValueKind::constant && v.dims.rank() > 0)
      text += "constant " + value_text(*this, id) + " = " + heddle::to_string(v.constant, 8) + "\n";
  }
  for (NodeId id = 0; id < node_count(); ++id) text += node_text(*this, node(id)) + "\n";
  for (const Update& u : updates())
    text += "update " + variables()[u.variable].name + " = " + value_text(*this, u.value) + "\n";
  for (const NamedValue& o : outputs())
    text += "output " + o.name + " = " + value_text(*this, o.value) + "\n";
  return text;
}

}  // namespace heddle
