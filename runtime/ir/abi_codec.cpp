#include "ir/abi_codec.h"

#include <cstring>

#include "core/element.h"

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

ScalarProgram decode_program(const hd_graph& graph) {
  ScalarProgram program;
  constexpr uint32_t undefined = HD_NO_VALUE;
  std::vector<uint32_t> reg(graph.n_value, undefined);
  const auto index = [&](uint32_t v) {
    if (v >= graph.n_value)
      corrupt("a scalar program names value " + std::to_string(v) + " of " + std::to_string(graph.n_value));
    return v;
  };
  for (uint32_t i = 0; i < graph.n_input; ++i)
    reg[index(graph.input[i])] =
        program.input(decode_dtype(graph.value[graph.input[i]]->type.dtype, "a scalar program"));
  for (uint32_t v = 0; v < graph.n_value; ++v) {
    const hd_value& value = *graph.value[v];
    if (value.kind != HD_VALUE_CONSTANT) continue;
    if (value.data == nullptr) corrupt("a constant of a scalar program has no data");
    const DType dtype = decode_dtype(value.type.dtype, "a scalar program");
    const Tensor t = Tensor::borrow(const_cast<void*>(value.data), dtype, Shape());
    reg[v] = program.constant(is_integer(dtype) ? 0.0 : t.at(0), dtype);
    if (dtype == DType::uint64)
      std::memcpy(&program.steps.back().integer, value.data, sizeof(int64_t));
    else if (is_integer(dtype))
      program.steps.back().integer = t.to(DType::int64).values<int64_t>()[0];
  }
  for (uint32_t n = 0; n < graph.n_node; ++n) {
    const hd_node& node = *graph.node[n];
    const ScalarOpInfo* info = find_scalar_op(node.op);
    if (info == nullptr || info->op == ScalarOp::constant)
      corrupt("a scalar program has an unknown step '" + std::string(node.op) + "'");
    if (static_cast<int>(node.n_in) != info->operands || node.n_out != 1)
      corrupt("step " + std::string(node.op) + " of a scalar program has " + std::to_string(node.n_in) +
              " operands");
    uint32_t in[3] = {0, 0, 0};
    for (uint32_t i = 0; i < node.n_in; ++i) {
      in[i] = reg[index(node.in[i])];
      if (in[i] == undefined)
        corrupt("step " + std::string(node.op) + " of a scalar program reads a value before it is made");
    }
    const uint32_t out = index(node.out[0]);
    ScalarStep step{info->op, decode_dtype(graph.value[out]->type.dtype, node.op)};
    for (int i = 0; i < 3; ++i) step.operand[i] = in[i];
    reg[out] = program.registers();
    program.steps.push_back(step);
  }
  for (uint32_t i = 0; i < graph.n_output; ++i) {
    program.outputs.push_back(reg[index(graph.output[i])]);
    if (program.outputs.back() == undefined)
      corrupt("a scalar program returns a value that it does not make");
  }
  validate(program);
  return program;
}

Attributes decode_attributes(const hd_node& node, const OpSchema& op) {
  Attributes attributes;
  for (uint32_t i = 0; i < node.n_attr; ++i) {
    const hd_attr& a = *node.attr[i];
    const AttributeDoc* doc = nullptr;
    for (const AttributeDoc& d : op.attributes)
      if (std::string_view(d.name) == a.name) doc = &d;
    const std::string where = std::string(op.name) + " '" + node.name + "', attribute " + a.name;
    if (doc == nullptr) corrupt(where + ": the op has no such attribute");
    const std::string_view kind = doc->kind;
    const auto expect = [&](uint32_t code) {
      if (a.kind != code)
        corrupt(where + ": expected " + std::string(kind) + ", got kind " + std::to_string(a.kind));
    };
    if (kind == "int" || kind == "bool" || kind == "dtype") {
      expect(HD_ATTR_INT);
      if (kind == "int")
        attributes.set(a.name, a.ints[0]);
      else if (kind == "bool")
        attributes.set(a.name, a.ints[0] != 0);
      else
        attributes.set(a.name, decode_dtype(a.ints[0], where.c_str()));
    } else if (kind == "float") {
      expect(HD_ATTR_FLOAT);
      attributes.set(a.name, a.floats[0]);
    } else if (kind == "floats") {
      expect(HD_ATTR_FLOATS);
      attributes.set(a.name, std::vector<double>(a.floats, a.floats + a.n));
    } else if (kind == "ints") {
      expect(HD_ATTR_INTS);
      attributes.set(a.name, std::vector<int64_t>(a.ints, a.ints + a.n));
    } else if (kind == "dims") {
      expect(HD_ATTR_INTS);
      Dims dims;
      for (uint32_t k = 0; k < a.n; ++k) dims.push_back(a.ints[k]);
      attributes.set(a.name, dims);
    } else if (kind == "string") {
      expect(HD_ATTR_STRING);
      attributes.set(a.name, std::string(a.text));
    } else {
      expect(HD_ATTR_GRAPH);
      attributes.set(a.name, std::make_shared<const ScalarProgram>(decode_program(*a.graph)));
    }
  }
  return attributes;
}

}  // namespace heddle
