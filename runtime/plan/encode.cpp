#include "plan/encode.h"

namespace heddle::plan {

uint32_t EncodedGraph::add_value(hd_value_kind kind, DType dtype, const Dims& dims, const std::string& name,
                                 const void* data) {
  const Shape shape = dims.shape();
  hd_value v{};
  v.size = sizeof(hd_value);
  v.kind = kind;
  v.type.dtype = static_cast<uint32_t>(dtype);
  v.type.rank = static_cast<uint32_t>(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) v.type.dim[i] = shape[i];
  v.name = names_.emplace_back(name).c_str();
  v.data = data;
  values_.push_back(v);
  return value_count() - 1;
}

void EncodedGraph::add_node(const OpSchema& op, const std::string& name, const Attributes& attributes,
                            std::vector<uint32_t> in, std::vector<uint32_t> out) {
  const EncodedAttributes& encoded = attributes_.emplace_back(attributes);
  const auto& inputs = lists_.emplace_back(std::move(in));
  const auto& outputs = lists_.emplace_back(std::move(out));
  hd_node n{};
  n.size = sizeof(hd_node);
  n.version = 1;
  n.op = op.name;
  n.name = names_.emplace_back(name).c_str();
  n.in = inputs.data();
  n.out = outputs.data();
  n.n_in = static_cast<uint32_t>(inputs.size());
  n.n_out = static_cast<uint32_t>(outputs.size());
  n.attr = encoded.data();
  n.n_attr = encoded.size();
  nodes_.push_back(n);
}

const hd_graph& EncodedGraph::graph() {
  value_pointers_.clear();
  node_pointers_.clear();
  inputs_.clear();
  outputs_.clear();
  for (uint32_t i = 0; i < value_count(); ++i) {
    value_pointers_.push_back(&values_[i]);
    if (values_[i].kind == HD_VALUE_INPUT) inputs_.push_back(i);
    if (values_[i].kind == HD_VALUE_OUTPUT) outputs_.push_back(i);
  }
  for (const hd_node& n : nodes_) node_pointers_.push_back(&n);
  graph_ = hd_graph{};
  graph_.size = sizeof(hd_graph);
  graph_.n_value = value_count();
  graph_.value = value_pointers_.data();
  graph_.node = node_pointers_.data();
  graph_.n_node = static_cast<uint32_t>(node_pointers_.size());
  graph_.n_update = static_cast<uint32_t>(updates_.size());
  graph_.update = updates_.data();
  graph_.input = inputs_.data();
  graph_.output = outputs_.data();
  graph_.n_input = static_cast<uint32_t>(inputs_.size());
  graph_.n_output = static_cast<uint32_t>(outputs_.size());
  return graph_;
}

EncodedGraph encode_node(const NodeType& node) {
  EncodedGraph encoded;
  std::vector<uint32_t> in, out;
  for (const ValueInfo* info : node.inputs) {
    if (info == nullptr) {
      in.push_back(HD_NO_VALUE);
      continue;
    }
    const bool constant = info->kind == ValueKind::constant;
    in.push_back(encoded.add_value(constant ? HD_VALUE_CONSTANT : HD_VALUE_INPUT, info->dtype, info->dims,
                                   info->name, constant ? info->constant.data() : nullptr));
  }
  for (const ValueType& type : node.outputs)
    out.push_back(encoded.add_value(HD_VALUE_OUTPUT, type.dtype, type.dims, ""));
  encoded.add_node(*node.op, node.name, *node.attributes, std::move(in), std::move(out));
  return encoded;
}

NodeType node_type(const Graph& graph, const Node& node) {
  NodeType type{node.op, node.name, &node.attributes, {}, {}};
  for (ValueId v : node.inputs) type.inputs.push_back(v == no_value ? nullptr : &graph.info(v));
  for (ValueId v : node.outputs) type.outputs.push_back({graph.info(v).dtype, graph.info(v).dims});
  return type;
}

}  // namespace heddle::plan
