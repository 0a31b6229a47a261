// Composites of gather and scatter: embedding, its gradient, one_hot.
#include <array>
#include <cmath>

#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "kernels/catalogue.h"
#include "kernels/gather.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

Attributes along_rows() { return {{"axis", int64_t{0}}}; }
Attributes add_along_rows() { return {{"axis", int64_t{0}}, {"mode", std::string("add")}}; }

// The operands of the scatter that embedding_grad stands for, for its rules: zeros, indices, dy.
ValueType table_type(const ValueType& dy, const Attributes& attributes) {
  return {dy.dtype, {Dim(attributes.get<int64_t>("rows")), dy.dims[dy.dims.rank() - 1]}};
}

std::vector<ValueType> infer_embedding(const InferCall& call) {
  const ValueType& table = operand(call, 0);
  if (table.dims.rank() != 2)
    refuse_shape("table is " + to_string(table.dims) + ", but must be [rows, columns]");
  return gather_op().infer({call.inputs, along_rows()});
}
Cost cost_embedding(const CostCall& call) {
  return gather_op().cost({call.inputs, call.outputs, along_rows()});
}
void reference_embedding(const ReferenceCall& call) {
  gather_op().reference({along_rows(), call.inputs, call.outputs});
}
std::vector<Value> decompose_embedding(const DecomposeCall& call) {
  return {gather(call.inputs[0], call.inputs[1])};
}

std::vector<Value> gradient_embedding(const GradientCall& call) {
  const Value table = call.inputs[0], indices = call.inputs[1], g = call.output_gradients[0];
  if (!table.dims()[0].is_number()) {
    return {scatter_add(zeros(call.graph, table.dims(), table.dtype()), indices, g), {}};
  }
  Graph graph = call.graph;
  return {graph.add(embedding_grad_op(), std::array{g, indices}, {{"rows", table.dims()[0].number()}})[0],
          {}};
}

std::vector<ValueType> infer_embedding_grad(const InferCall& call) {
  const ValueType &dy = operand(call, 0), &indices = operand(call, 1);
  expect_float("dy", dy);
  expect_rank_at_least("dy", dy, 1);
  if (call.attributes.get<int64_t>("rows") < 0) refuse_argument("rows must not be negative");
  const ValueType table = table_type(dy, call.attributes);
  return scatter_op().infer({std::array{&table, &indices, &dy}, add_along_rows()});
}
Cost cost_embedding_grad(const CostCall& call) { return streaming_cost(call, elements_of(*call.inputs[0])); }

void reference_embedding_grad(const ReferenceCall& call) {
  const Tensor table(call.outputs[0].dtype(), call.outputs[0].shape());
  scatter_op().reference({add_along_rows(), std::array{table, call.inputs[1], call.inputs[0]}, call.outputs});
}
void magnitude_embedding_grad(const ReferenceCall& call) {
  const Tensor table(call.inputs[0].dtype(), call.outputs[0].shape());
  scatter_op().accuracy.magnitude(
      {add_along_rows(), std::array{table, call.inputs[1], call.inputs[0]}, call.outputs});
}
double embedding_grad_length(const CostCall& call) { return elements_of(*call.inputs[1]); }

std::vector<Value> decompose_embedding_grad(const DecomposeCall& call) {
  const Value dy = call.inputs[0];
  const Dims dims = {Dim(call.node.attributes.get<int64_t>("rows")), dy.dims()[dy.rank() - 1]};
  return {scatter_add(zeros(call.graph, dims, dy.dtype()), call.inputs[1], dy)};
}
std::vector<Value> gradient_embedding_grad(const GradientCall& call) {
  const Value indices = call.inputs[1];
  const Value kept = in_range(indices, call.node.attributes.get<int64_t>("rows"));
  return {select(unsqueeze(kept, kept.rank()), gather(call.output_gradients[0], indices), 0.0), {}};
}

std::vector<ValueType> infer_one_hot(const InferCall& call) {
  const ValueType& indices = operand(call, 0);
  expect_integer("indices", indices);
  const int64_t depth = call.attributes.get<int64_t>("depth");
  if (depth < 0) refuse_argument("depth is " + std::to_string(depth) + ", but must not be negative");
  Dims dims = indices.dims;
  dims.push_back(depth);
  return {{call.attributes.get<DType>("dtype"), dims}};
}
Cost cost_one_hot(const CostCall& call) { return streaming_cost(call); }

void reference_one_hot(const ReferenceCall& call) {
  const Ints indices = reference::integers(call.inputs[0]);
  const int64_t depth = call.attributes.get<int64_t>("depth");
  Ints y(static_cast<size_t>(call.outputs[0].elements()), 0);
  for (size_t i = 0; i < indices.size(); ++i)
    if (indices[i] >= 0 && indices[i] < depth)
      y[i * static_cast<size_t>(depth) + static_cast<size_t>(indices[i])] = 1;
  reference::store(call.outputs[0], y);
}

std::vector<Value> decompose_one_hot(const DecomposeCall& call) {
  const Value indices = convert(call.inputs[0], DType::int64);
  const Value positions =
      iota(call.graph, {Dim(call.node.attributes.get<int64_t>("depth"))}, 0, DType::int64);
  return {convert(equal(unsqueeze(indices, indices.rank()), positions),
                  call.node.attributes.get<DType>("dtype"))};
}

}  // namespace

Value embedding(Value table, Value indices) {
  return table.graph().add(embedding_op(), std::array{table, indices})[0];
}

Value one_hot(Value indices, int64_t depth, DType dtype) {
  return indices.graph().add(one_hot_op(), std::array{indices}, {{"depth", depth}, {"dtype", dtype}})[0];
}

const OpSchema& embedding_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "embedding",
      .family = "gather",
      .summary = "y[..., :] = table[indices[...], :]",
      .inputs = {{"table", "[rows, columns], any dtype"}, {"indices", "integers in [-rows, rows)"}},
      .outputs = {{"y",
                   "the sizes of the indices, then columns. A row that does not exist is NaN (integers: 0)"}},
      .attributes = {},
      .infer = infer_embedding,
      .cost = cost_embedding,
      .gradient = gradient_embedding,
      .decompose = decompose_embedding,
      .reference = reference_embedding,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& embedding_grad_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "embedding_grad",
      .family = "gather",
      .summary = "dtable[indices[...], :] += dy[..., :], starting from zeros",
      .inputs = {{"dy", "floats: the sizes of the indices, then columns"},
                 {"indices", "integers; rows that do not exist are skipped"}},
      .outputs = {{"dtable", "[rows, columns]"}},
      .attributes = {{"rows", "int", nullptr, "of the table"}},
      .infer = infer_embedding_grad,
      .cost = cost_embedding_grad,
      .gradient = gradient_embedding_grad,
      .decompose = decompose_embedding_grad,
      .reference = reference_embedding_grad,
      .accuracy = {.c = 2, .depth = embedding_grad_length, .magnitude = magnitude_embedding_grad},
  };
  return *op;
}

const OpSchema& one_hot_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "one_hot",
      .family = "gather",
      .summary = "y[..., i] = indices[...] == i",
      .inputs = {{"indices", "integers"}},
      .outputs = {{"y",
                   "the sizes of the indices, then depth; 0 and 1. An index outside [0, depth) gives zeros"}},
      .attributes = {{"depth", "int", nullptr, "size of the new last axis"},
                     {"dtype", "dtype", "float32", "of the result"}},
      .infer = infer_one_hot,
      .cost = cost_one_hot,
      .no_gradient = "the operand is an index",
      .decompose = decompose_one_hot,
      .reference = reference_one_hot,
      .accuracy = {.exact = true},
  };
  return *op;
}

}  // namespace heddle
