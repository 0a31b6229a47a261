#include "heddle/graph.h"

#include <algorithm>

#include "heddle/error.h"
#include "ir/graph_data.h"
#include "ir/scalar_program.h"

namespace heddle {
namespace {

using ir::GraphData;

[[noreturn]] void refuse(ErrorCode code, const std::string& text) { throw Error(code, text); }

void expect_new_interface_name(const GraphData& data, const char* what, const std::string& name) {
  if (name.empty()) {
    refuse(ErrorCode::invalid_argument,
           std::string(what) + " without a name; give every " + what + " a name");
  }
  if (data.interface.count(name) != 0) {
    refuse(ErrorCode::invalid_argument,
           std::string(what) + " '" + name + "': the graph already has an input or variable of that name");
  }
}

void expect_dtype(const char* what, const std::string& name, DType dtype) {
  if (ir::is_dtype(dtype)) return;
  refuse(ErrorCode::invalid_argument, std::string(what) + " '" + name + "': there is no dtype " +
                                          std::to_string(static_cast<uint32_t>(dtype)));
}

bool is_same(const Initializer& a, const Initializer& b) {
  const bool same_tensor =
      a.values.defined() == b.values.defined() && (!a.values.defined() || a.values.data() == b.values.data());
  return a.kind == b.kind && a.a == b.a && a.b == b.b && same_tensor;
}

void expect_member(const GraphData* graph, const Value& value, const std::string& what) {
  if (!value) refuse(ErrorCode::invalid_argument, what + ": got no value");
  if (value.graph().data() != graph) {
    refuse(ErrorCode::invalid_argument, what + ": the value '" + value.name() + "' (" +
                                            heddle::to_string(ValueType{value.dtype(), value.dims()}) +
                                            ") belongs to another graph");
  }
}

}  // namespace

// ---- Value

Graph Value::graph() const {
  if (graph_ == nullptr) refuse(ErrorCode::invalid_argument, "a Value that is no value was used");
  return Graph(graph_->shared_from_this());
}
DType Value::dtype() const { return graph().info(id_).dtype; }
// The references outlive the handles: they are into the graph's own storage.
const Dims& Value::dims() const { return graph().info(id_).dims; }
const std::string& Value::name() const { return graph().info(id_).name; }

// ---- building

Graph::Graph() : data_(std::make_shared<GraphData>()) {}

Value Graph::input(const std::string& name, DType dtype, const Dims& dims) {
  expect_dtype("input", name, dtype);
  expect_new_interface_name(*data_, "input", name);
  std::map<std::string, Dim> names = data_->dim_names;
  for (const Dim& dim : dims) {
    for (const auto& [dim_name, range] : dim.names()) {
      const Dim here(dim_name, range);
      auto [at, added] = names.emplace(dim_name, here);
      // Adding a name to itself keeps the sizes that both ranges allow, or throws.
      if (!added) at->second = Dim(dim_name, (at->second + here).names().at(dim_name));
    }
  }
  data_->dim_names = std::move(names);
  ValueInfo info;
  info.kind = ValueKind::input;
  info.dtype = dtype;
  info.dims = dims;
  info.name = name;
  const ValueId id = data_->add_value(std::move(info));
  data_->inputs.push_back(id);
  data_->interface.emplace(name, id);
  return value(id);
}

Value Graph::constant(Tensor contents, const std::string& name) {
  if (!contents.defined())
    refuse(ErrorCode::invalid_argument, "constant '" + name + "': the tensor is undefined");
  ValueInfo info;
  info.kind = ValueKind::constant;
  info.dtype = contents.dtype();
  info.dims = Dims(contents.shape());
  info.name = name;
  info.constant = contents.contiguous();
  return value(data_->add_value(std::move(info)));
}

Value Graph::scalar(double number, DType dtype) { return constant(Tensor::scalar(number, dtype)); }

Value Graph::variable(const std::string& name, DType dtype, const Shape& shape,
                      const Initializer& initializer) {
  expect_dtype("variable", name, dtype);
  if (const auto known = data_->interface.find(name); known != data_->interface.end()) {
    const ValueInfo& v = data_->values[known->second];
    if (v.kind == ValueKind::variable) {
      if (v.dtype != dtype || v.dims != Dims(shape)) {
        refuse(ErrorCode::invalid_argument,
               "variable '" + name + "' was declared as " + heddle::to_string(ir::type_of(v)) +
                   " and is now declared as " + dtype_name(dtype) + heddle::to_string(shape));
      }
      const Initializer& first = data_->variables[v.variable].initializer;
      if (!is_same(initializer, {}) && !is_same(initializer, first)) {
        refuse(ErrorCode::invalid_argument,
               "variable '" + name +
                   "' was declared with another initializer; give the first one again, or "
                   "none");
      }
      return value(known->second);
    }
  }
  expect_new_interface_name(*data_, "variable", name);
  ir::check_initializer(initializer, name, dtype, shape);
  ValueInfo info;
  info.kind = ValueKind::variable;
  info.dtype = dtype;
  info.dims = Dims(shape);
  info.name = name;
  info.variable = static_cast<uint32_t>(data_->variables.size());
  const ValueId id = data_->add_value(std::move(info));
  data_->variables.push_back({name, dtype, shape, initializer, id});
  data_->interface.emplace(name, id);
  return value(id);
}

void Graph::update(Value variable, Value value) {
  expect_member(data_.get(), variable, "update");
  expect_member(data_.get(), value, "update");
  const ValueInfo& target = data_->values[variable.id()];
  const ValueInfo& source = data_->values[value.id()];
  if (target.kind != ValueKind::variable) {
    refuse(ErrorCode::invalid_argument, "update: '" + target.name + "' is not a variable of this graph");
  }
  if (target.dtype != source.dtype) {
    refuse(ErrorCode::dtype_mismatch, "update of variable '" + target.name + "': it is " +
                                          dtype_name(target.dtype) + ", but the value is " +
                                          dtype_name(source.dtype) + "; use convert");
  }
  if (target.dims != source.dims) {
    refuse(ErrorCode::shape_mismatch, "update of variable '" + target.name + "': it is " +
                                          heddle::to_string(target.dims) + ", but the value is " +
                                          heddle::to_string(source.dims));
  }
  for (const Update& u : data_->updates) {
    if (u.variable == target.variable) {
      refuse(ErrorCode::invalid_argument,
             "variable '" + target.name + "' is updated twice; a run commits one update");
    }
  }
  data_->updates.push_back({target.variable, value.id()});
}

void Graph::output(const std::string& name, Value value) {
  expect_member(data_.get(), value, "output '" + name + "'");
  if (name.empty()) refuse(ErrorCode::invalid_argument, "output without a name; give every output a name");
  for (const NamedValue& o : data_->outputs) {
    if (o.name == name) refuse(ErrorCode::invalid_argument, "output '" + name + "' is declared twice");
  }
  data_->outputs.push_back({name, value.id()});
}

std::vector<Value> Graph::add(const OpSchema& op, std::span<const Value> inputs, const Attributes& attributes,
                              const std::string& name) {
  Node node;
  node.op = &op;
  std::vector<const ValueType*> types;
  std::deque<ValueType> storage;
  const char* kind = ir::kind_of(op, attributes);
  // A node that nobody named is known by what it does, and by its scope when it has one.
  const std::string shown = !name.empty()          ? data_->scope + name
                            : data_->scope.empty() ? std::string()
                                                   : data_->scope + kind;
  for (const Value& v : inputs) {
    if (v) expect_member(data_.get(), v, kind + (shown.empty() ? std::string() : " '" + shown + "'"));
    node.inputs.push_back(v ? v.id() : no_value);
  }
  const auto collect = [&] {
    for (ValueId id : node.inputs)
      types.push_back(id == no_value ? nullptr : &storage.emplace_back(ir::type_of(data_->values[id])));
  };
  try {
    ir::check_operands(op, node.inputs);
    node.attributes = ir::complete_attributes(op, attributes);
  } catch (const Error& e) {
    collect();
    refuse(e.code(), ir::describe_node(kind, shown, types) + ": " + e.what());
  }
  collect();
  const std::vector<ValueType> results = ir::infer_types(op, shown, types, node.attributes);
  node.name = data_->unique_name(name, ir::kind_of(op, node.attributes));
  node.device = data_->device;
  const NodeId id = data_->add_node(std::move(node), results);
  std::vector<Value> values;
  for (ValueId v : data_->nodes[id].outputs) values.push_back(value(v));
  return values;
}

Graph::Scope::~Scope() {
  auto& open = graph_->open_scopes;
  const auto ended = std::find_if(open.begin(), open.end(), [&](const auto& s) { return s.id == length_; });
  if (ended == open.end()) return;
  graph_->scope.erase(ended->begin, ended->length);
  for (auto later = std::next(ended); later != open.end(); ++later) later->begin -= ended->length;
  open.erase(ended);
}

Graph::Scope Graph::scope(const std::string& prefix) {
  const size_t id = data_->scopes_made++;
  data_->open_scopes.push_back({id, data_->scope.size(), prefix.size() + 1});
  data_->scope += prefix + "/";
  return Scope(data_.get(), id);
}

void Graph::pin(const std::string& device) { data_->device = device; }

// ---- reading

size_t Graph::node_count() const { return data_->nodes.size(); }
size_t Graph::value_count() const { return data_->values.size(); }
const Node& Graph::node(NodeId id) const {
  if (id >= data_->nodes.size())
    refuse(ErrorCode::invalid_argument, "there is no node " + std::to_string(id));
  return data_->nodes[id];
}
const ValueInfo& Graph::info(ValueId id) const {
  if (id >= data_->values.size())
    refuse(ErrorCode::invalid_argument, "there is no value " + std::to_string(id));
  return data_->values[id];
}
const std::vector<ValueId>& Graph::inputs() const { return data_->inputs; }
const std::vector<VariableInfo>& Graph::variables() const { return data_->variables; }
const std::vector<NamedValue>& Graph::outputs() const { return data_->outputs; }
const std::vector<Update>& Graph::updates() const { return data_->updates; }

std::map<std::string, DimRange> Graph::dim_names() const {
  std::map<std::string, DimRange> names;
  for (const auto& [name, dim] : data_->dim_names) names.emplace(name, dim.names().at(name));
  return names;
}

Graph Graph::clone() const {
  Graph copy(std::make_shared<GraphData>(*data_));
  copy.data_->scope.clear();
  copy.data_->open_scopes.clear();
  copy.data_->device.clear();
  return copy;
}

}  // namespace heddle
