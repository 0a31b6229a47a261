#include "ir/abi_codec.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "core/element.h"
#include "ir/graph_data.h"

namespace heddle {
namespace {

[[noreturn]] void corrupt(const std::string& text) { throw Error(ErrorCode::corrupt, text); }

std::vector<std::byte> constant_bytes(const ScalarStep& step) {
  Tensor t = is_integer(step.dtype) ? Tensor::of<int64_t>({step.integer}, Shape()).to(step.dtype)
                                    : Tensor::scalar(step.value, step.dtype);
  std::vector<std::byte> bytes(size_of(step.dtype));
  std::memcpy(bytes.data(), t.data(), bytes.size());
  if (step.dtype == DType::uint64) std::memcpy(bytes.data(), &step.integer, sizeof(int64_t));
  return bytes;
}

hd_value scalar_value(uint32_t kind, DType dtype) {
  hd_value v{};
  v.size = sizeof(v);
  v.kind = kind;
  v.type.dtype = static_cast<uint32_t>(dtype);
  v.name = "";
  return v;
}

// A field of a struct that may be older, and so shorter, than ours: bytes past its size read as zero.
template <class S, class T>
T field(const S& s, T S::*member) {
  const auto* at = reinterpret_cast<const std::byte*>(&(s.*member));
  const auto end = static_cast<size_t>(at - reinterpret_cast<const std::byte*>(&s)) + sizeof(T);
  return end <= s.size ? s.*member : T{};
}

// Element `i` of an array that the sender may have left null.
template <class T>
const T& element(const T* const* array, uint32_t i, const char* what) {
  if (array == nullptr || array[i] == nullptr)
    corrupt(std::string(what) + " " + std::to_string(i) + " is null");
  return *array[i];
}

DType decode_dtype(int64_t code, const char* where) {
  if (code < static_cast<int64_t>(DType::float64) || code > static_cast<int64_t>(DType::boolean))
    corrupt(std::string(where) + ": there is no dtype number " + std::to_string(code));
  return static_cast<DType>(code);
}

}  // namespace

EncodedProgram::EncodedProgram(const ScalarProgram& program) {
  const uint32_t inputs = static_cast<uint32_t>(program.inputs.size());
  for (uint32_t i = 0; i < inputs; ++i) {
    values_.push_back(scalar_value(HD_VALUE_INPUT, program.inputs[i]));
    inputs_.push_back(i);
  }
  for (uint32_t s = 0; s < program.steps.size(); ++s) {
    const ScalarStep& step = program.steps[s];
    const bool constant = step.op == ScalarOp::constant;
    hd_value& value =
        values_.emplace_back(scalar_value(constant ? HD_VALUE_CONSTANT : HD_VALUE_INTERMEDIATE, step.dtype));
    if (constant) {
      value.data = constants_.emplace_back(constant_bytes(step)).data();
      continue;
    }
    const ScalarOpInfo& info = scalar_op_info(step.op);
    const auto& in = lists_.emplace_back(step.operand, step.operand + info.operands);
    const auto& out = lists_.emplace_back(std::vector<uint32_t>{inputs + s});
    hd_node node{};
    node.size = sizeof(node);
    node.version = 1;
    node.op = info.name;
    node.name = "";
    node.in = in.data();
    node.out = out.data();
    node.n_in = static_cast<uint32_t>(in.size());
    node.n_out = 1;
    if (step.op == ScalarOp::cast) {
      hd_attr& dtype = attrs_.emplace_back();
      dtype.size = sizeof(dtype);
      dtype.kind = HD_ATTR_INT;
      dtype.name = "dtype";
      dtype.ints = &integers_.emplace_back(static_cast<int64_t>(step.dtype));
      dtype.n = 1;
      node.attr = &attr_pointers_.emplace_back(&dtype);
      node.n_attr = 1;
    }
    nodes_.push_back(node);
  }
  outputs_ = program.outputs;
  for (const hd_value& v : values_) value_pointers_.push_back(&v);
  for (const hd_node& n : nodes_) node_pointers_.push_back(&n);
  graph_.size = sizeof(graph_);
  graph_.n_value = static_cast<uint32_t>(value_pointers_.size());
  graph_.value = value_pointers_.data();
  graph_.node = node_pointers_.data();
  graph_.n_node = static_cast<uint32_t>(node_pointers_.size());
  graph_.input = inputs_.data();
  graph_.output = outputs_.data();
  graph_.n_input = inputs;
  graph_.n_output = static_cast<uint32_t>(outputs_.size());
}

EncodedAttributes::EncodedAttributes(const Attributes& attributes) {
  for (const auto& [name, value] : attributes.entries()) {
    hd_attr& a = attrs_.emplace_back();
    a.size = sizeof(a);
    a.name = texts_.emplace_back(name).c_str();
    const auto integers = [&](uint32_t kind, std::vector<int64_t> list) {
      a.kind = kind;
      a.ints = ints_.emplace_back(std::move(list)).data();
      a.n = static_cast<uint32_t>(ints_.back().size());
    };
    const auto reals = [&](uint32_t kind, std::vector<double> list) {
      a.kind = kind;
      a.floats = floats_.emplace_back(std::move(list)).data();
      a.n = static_cast<uint32_t>(floats_.back().size());
    };
    if (const auto* b = std::get_if<bool>(&value))
      integers(HD_ATTR_INT, {*b ? 1 : 0});
    else if (const auto* i = std::get_if<int64_t>(&value))
      integers(HD_ATTR_INT, {*i});
    else if (const auto* d = std::get_if<DType>(&value))
      integers(HD_ATTR_INT, {static_cast<int64_t>(*d)});
    else if (const auto* v = std::get_if<std::vector<int64_t>>(&value))
      integers(HD_ATTR_INTS, *v);
    else if (const auto* f = std::get_if<double>(&value))
      reals(HD_ATTR_FLOAT, {*f});
    else if (const auto* fs = std::get_if<std::vector<double>>(&value))
      reals(HD_ATTR_FLOATS, *fs);
    else if (const auto* dims = std::get_if<Dims>(&value)) {
      std::vector<int64_t> list;
      for (const Dim& dim : *dims) list.push_back(dim.number());
      integers(HD_ATTR_INTS, std::move(list));
    } else if (const auto* s = std::get_if<std::string>(&value)) {
      a.kind = HD_ATTR_STRING;
      a.text = texts_.emplace_back(*s).c_str();
    } else {
      a.kind = HD_ATTR_GRAPH;
      a.graph = &programs_.emplace_back(*std::get<ScalarProgramPtr>(value)).graph();
    }
  }
  for (const hd_attr& a : attrs_) pointers_.push_back(&a);
}

namespace {

class ProgramDecoder {
 public:
  explicit ProgramDecoder(const hd_graph& graph) : graph_(graph), reg_(graph.n_value, undefined) {}

  ScalarProgram decode() {
    for (uint32_t i = 0; i < field(graph_, &hd_graph::n_input); ++i) {
      const uint32_t v = index(graph_.input, i);
      define(v, program_.input(dtype_of_value(v)));
    }
    for (uint32_t v = 0; v < graph_.n_value; ++v)
      if (value(v).kind == HD_VALUE_CONSTANT) define(v, constant(value(v)));
    for (uint32_t n = 0; n < field(graph_, &hd_graph::n_node); ++n)
      step(element(graph_.node, n, "node of a scalar program"));
    for (uint32_t i = 0; i < field(graph_, &hd_graph::n_output); ++i)
      program_.outputs.push_back(read(index(graph_.output, i)));
    try {
      validate(program_);
    } catch (const Error& e) {
      corrupt(e.what());
    }
    return std::move(program_);
  }

 private:
  static constexpr uint32_t undefined = HD_NO_VALUE;

  uint32_t index(const uint32_t* list, uint32_t i) const {
    if (list == nullptr) corrupt("a scalar program has a list of values that is null");
    if (list[i] >= graph_.n_value) {
      corrupt("a scalar program names value " + std::to_string(list[i]) + " of " +
              std::to_string(graph_.n_value));
    }
    return list[i];
  }
  const hd_value& value(uint32_t v) const { return element(graph_.value, v, "value of a scalar program"); }
  DType dtype_of_value(uint32_t v) const {
    if (value(v).type.rank != 0) corrupt("value " + std::to_string(v) + " of a scalar program is not rank 0");
    return decode_dtype(value(v).type.dtype, "a scalar program");
  }
  void define(uint32_t v, uint32_t reg) {
    if (reg_[v] != undefined) corrupt("value " + std::to_string(v) + " of a scalar program is made twice");
    reg_[v] = reg;
  }
  uint32_t read(uint32_t v) const {
    if (reg_[v] == undefined)
      corrupt("value " + std::to_string(v) + " of a scalar program is read before it is made");
    return reg_[v];
  }

  uint32_t constant(const hd_value& v) {
    const void* data = field(v, &hd_value::data);
    if (data == nullptr) corrupt("a constant of a scalar program has no data");
    const DType dtype = decode_dtype(v.type.dtype, "a scalar program");
    const Tensor t = Tensor(dtype, Shape());
    std::memcpy(const_cast<void*>(t.data()), data, size_of(dtype));
    ScalarStep step{ScalarOp::constant, dtype, {0, 0, 0}, 0, 0};
    if (!is_integer(dtype))
      step.value = t.at(0);
    else if (dtype == DType::uint64)
      std::memcpy(&step.integer, data, sizeof(int64_t));
    else
      step.integer = t.to(DType::int64).values<int64_t>()[0];
    program_.steps.push_back(step);
    return program_.registers() - 1;
  }

  void step(const hd_node& node) {
    if (node.op == nullptr) corrupt("a step of a scalar program has no name");
    const std::string name = node.op;
    const ScalarOpInfo* info = find_scalar_op(name);
    if (info == nullptr || info->op == ScalarOp::constant)
      corrupt("a scalar program has the unknown step '" + name + "'");
    const uint32_t n_in = field(node, &hd_node::n_in);
    if (static_cast<int>(n_in) != info->operands || field(node, &hd_node::n_out) != 1) {
      corrupt("step " + name + " of a scalar program has " + std::to_string(n_in) + " operands and " +
              std::to_string(field(node, &hd_node::n_out)) + " results");
    }
    ScalarStep step{info->op, DType::float32, {0, 0, 0}, 0, 0};
    for (uint32_t i = 0; i < n_in; ++i) step.operand[i] = read(index(node.in, i));
    const uint32_t out = index(node.out, 0);
    step.dtype = dtype_of_value(out);
    program_.steps.push_back(step);
    define(out, program_.registers() - 1);
  }

  const hd_graph& graph_;
  ScalarProgram program_;
  std::vector<uint32_t> reg_;  // of each value
};

// One attribute in the kind that its documentation says.
AttributeValue decode_attribute(const hd_attr& a, std::string_view kind, const std::string& where) {
  const auto expect = [&](uint32_t code, const void* data, bool may_be_empty) {
    if (a.kind != code)
      corrupt(where + ": expected " + std::string(kind) + ", got kind " + std::to_string(a.kind));
    if (data == nullptr && !(may_be_empty && field(a, &hd_attr::n) == 0))
      corrupt(where + ": its data is null");
  };
  if (kind == "int" || kind == "bool" || kind == "dtype") {
    expect(HD_ATTR_INT, a.ints, false);
    if (kind == "int") return a.ints[0];
    if (kind == "bool") return a.ints[0] != 0;
    return decode_dtype(a.ints[0], where.c_str());
  }
  if (kind == "float") {
    expect(HD_ATTR_FLOAT, a.floats, false);
    return a.floats[0];
  }
  if (kind == "floats") {
    expect(HD_ATTR_FLOATS, a.floats, true);
    return std::vector<double>(a.floats, a.floats + field(a, &hd_attr::n));
  }
  if (kind == "ints" || kind == "dims") {
    expect(HD_ATTR_INTS, a.ints, true);
    const std::span<const int64_t> ints(a.ints, field(a, &hd_attr::n));
    if (kind == "ints") return std::vector<int64_t>(ints.begin(), ints.end());
    if (ints.size() > HD_MAX_RANK)
      corrupt(where + ": " + std::to_string(ints.size()) + " sizes are too many");
    for (const int64_t n : ints)
      if (n < 0) corrupt(where + ": the size " + std::to_string(n) + " is negative");
    return Dims(std::vector<Dim>(ints.begin(), ints.end()));
  }
  if (kind == "string") {
    expect(HD_ATTR_STRING, a.text, false);
    return std::string(a.text);
  }
  expect(HD_ATTR_GRAPH, a.graph, false);
  return std::make_shared<const ScalarProgram>(decode_program(*a.graph));
}

}  // namespace

ScalarProgram decode_program(const hd_graph& graph) { return ProgramDecoder(graph).decode(); }

Attributes decode_attributes(const hd_node& node, const OpSchema& op) {
  const std::string owner = std::string(op.name) + " '" + (node.name ? node.name : "") + "'";
  Attributes attributes;
  for (uint32_t i = 0; i < field(node, &hd_node::n_attr); ++i) {
    const hd_attr& a = element(node.attr, i, (owner + ", attribute").c_str());
    if (a.name == nullptr) corrupt(owner + ": attribute " + std::to_string(i) + " has no name");
    const auto doc = std::find_if(op.attributes.begin(), op.attributes.end(),
                                  [&](const AttributeDoc& d) { return std::string_view(d.name) == a.name; });
    const std::string where = owner + ", attribute " + a.name;
    if (doc == op.attributes.end()) corrupt(where + ": the op has no such attribute");
    attributes.set(a.name, decode_attribute(a, doc->kind, where));
  }
  try {
    return ir::complete_attributes(op, attributes);  // a sender may leave out defaults
  } catch (const Error& e) {
    corrupt(owner + ": " + e.what());
  }
}

}  // namespace heddle
