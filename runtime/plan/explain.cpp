#include "heddle/explain.h"

#include "heddle/schema.h"
#include "ir/scalar_program.h"
#include "plan/plan.h"

namespace heddle::plan {
namespace {

// "pointwise(mul,gelu_erf)": the steps say what a fused node does.
std::string op_text(const Node& node) {
  const AttributeValue* value = node.attributes.find("body");
  const ScalarProgramPtr* body = value ? std::get_if<ScalarProgramPtr>(value) : nullptr;
  if (body == nullptr) return node.op->name;
  std::string text = std::string(node.op->name) + "(";
  size_t shown = 0;
  for (const ScalarStep& step : (*body)->steps) {
    if (step.op == ScalarOp::constant) continue;
    if (++shown > 6) break;
    text += (shown > 1 ? "," : "") + std::string(scalar_op_info(step.op).name);
  }
  return text + (shown > 6 ? ",...)" : ")");
}

}  // namespace

Explanation Plan::explain() const {
  Explanation e;
  for (uint32_t p = 0; p < partitions.size(); ++p) {
    const CompiledPartition& part = partitions[p];
    e.partitions.push_back(devices[part.device].device->spec());
    for (size_t i = 0; i < part.nodes.size(); ++i) {
      const NodeId id = part.nodes[i];
      const Node& node = graph.node(id);
      std::vector<ValueType> inputs(node.inputs.size()), outputs;
      std::vector<const ValueType*> input_pointers;
      Explanation::NodeRow row;
      for (ValueId v : node.outputs) {
        outputs.push_back({graph.info(v).dtype, graph.info(v).dims});
        row.types += (row.types.empty() ? "" : ", ") + to_string(outputs.back());
      }
      row.types += " <- ";
      for (size_t k = 0; k < node.inputs.size(); ++k) {
        const ValueId v = node.inputs[k];
        if (v != no_value) inputs[k] = {graph.info(v).dtype, graph.info(v).dims};
        input_pointers.push_back(v == no_value ? nullptr : &inputs[k]);
        row.types += (k ? ", " : "") + (v == no_value ? std::string("none") : to_string(inputs[k]));
      }
      if (node.op->cost) {
        const Cost cost = node.op->cost({input_pointers, outputs, node.attributes});
        row.flops = cost.flops;
        row.bytes = cost.bytes;
      }
      row.name = node.name;
      row.op = op_text(node);
      row.device = e.partitions.back();
      row.kernel = part.kernels[i];
      row.partition = p;
      row.declined = declined[id];
      e.nodes.push_back(std::move(row));
    }
  }
  const auto value_name = [&](ValueId v) {
    const ValueInfo& info = graph.info(v);
    return !info.name.empty() || info.kind != ValueKind::result ? info.name : graph.node(info.producer).name;
  };
  for (const Step& s : steps) {
    switch (s.kind) {
      case Step::Kind::launch:
        break;
      case Step::Kind::transfer:
        e.copies.push_back({value_name(s.value), devices[s.from].device->spec(), devices[s.to].device->spec(),
                            s.bytes, "crosses devices"});
        break;
      case Step::Kind::upload:
        e.copies.push_back({value_name(s.value), "host", devices[s.to].device->spec(), s.bytes, "input"});
        break;
      case Step::Kind::download:
        e.copies.push_back(
            {graph.outputs()[s.index].name, devices[s.from].device->spec(), "host", s.bytes, "output"});
        break;
      case Step::Kind::commit:
        e.copies.push_back({graph.variables()[s.index].name, devices[s.from].device->spec(),
                            devices[s.to].device->spec(), s.bytes, "commit"});
        break;
    }
  }
  for (const DeviceUse& d : devices)
    e.memory.push_back({d.device->spec(), d.arena_bytes, d.lower_bound, d.variable_bytes, d.constant_bytes});
  return e;
}

}  // namespace heddle::plan
