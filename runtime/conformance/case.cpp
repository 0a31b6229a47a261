#include "conformance/case.h"

#include <memory>
#include <utility>

#include "conformance/reference_run.h"
#include "heddle/schema.h"
#include "kernels/catalogue.h"

namespace heddle::conformance {
namespace {

const OpSchema& schema_of(const char* name) {
  if (const OpSchema* op = find_op(name)) return *op;
  throw Error(ErrorCode::internal, std::string("the conformance kit has cases of the op '") + name +
                                       "', which is not in the catalogue");
}

std::vector<Tensor> fill_operands(const NodeCase& node, const std::string& id) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const Operand& operand = node.operands[i];
    tensors.emplace_back();
    if (operand.missing) continue;
    tensors.back() = Tensor(operand.dtype, operand.shape);
    Random random(id + "#" + std::to_string(i));
    operand.fill(tensors.back(), random);
  }
  return tensors;
}

Problem make_problem(const NodeCase& node, const std::string& id) {
  std::vector<Tensor> tensors = fill_operands(node, id);
  for (const Derived& d : node.derived) {
    std::vector<Tensor> from;
    for (const size_t i : d.from) from.push_back(tensors[i]);
    tensors[d.operand] = run_reference(schema_of(d.op), d.attributes, from)[d.output];
  }
  Problem problem;
  problem.exact = node.exact;
  std::vector<Value> operands;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = "x" + std::to_string(i);
    if (node.operands[i].missing) {
      operands.emplace_back();
    } else if (node.operands[i].constant) {
      operands.push_back(problem.graph.constant(tensors[i], name));
    } else {
      operands.push_back(problem.graph.input(name, tensors[i].dtype(), tensors[i].shape()));
      problem.inputs.push_back(tensors[i]);
    }
  }
  const std::vector<Value> results = problem.graph.add(schema_of(node.op), operands, node.attributes);
  for (size_t i = 0; i < results.size(); ++i) problem.graph.output("y" + std::to_string(i), results[i]);
  return problem;
}

}  // namespace

const char* short_name(DType dtype) {
  static constexpr const char* names[] = {"?",   "f64", "f32", "bf16", "f16", "f8e4m3", "f8e5m2", "i8",
                                          "i16", "i32", "i64", "u8",   "u16", "u32",    "u64",    "bool"};
  return names[static_cast<size_t>(dtype)];
}

std::string short_name(const Shape& shape) {
  std::string text;
  for (const int64_t d : shape.dims()) text += (text.empty() ? "" : "x") + std::to_string(d);
  return text.empty() ? "scalar" : text;
}

void CaseList::add(NodeCase node, std::initializer_list<std::string> parts) {
  const auto shared = std::make_shared<const NodeCase>(std::move(node));
  std::string id = shared->op;
  for (const std::string& part : parts) id += "/" + part;
  add(shared->op, parts, [shared, id] { return make_problem(*shared, id); });
}

void CaseList::add(const std::string& op, std::initializer_list<std::string> parts,
                   std::function<Problem()> make) {
  std::string id = op;
  for (const std::string& part : parts) id += "/" + part;
  if (!ids_.insert(id).second) throw Error(ErrorCode::internal, "two conformance cases are called " + id);
  cases_.push_back({id, op, std::move(make)});
}

}  // namespace heddle::conformance
