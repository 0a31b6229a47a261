// Layout ops that keep every element: reshape, transpose, broadcast, contiguous; and iota. layout_window.cpp
// has those that cut and join.
#include "kernels/layout.h"

#include <algorithm>
#include <numeric>

#include "heddle/ops/layout.h"
#include "kernels/catalogue.h"
#include "kernels/pointwise.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

Cost cost_move(const CostCall& call) { return streaming_cost(call); }
// Nothing moves: the result has the bytes of the operand.
Cost cost_view(const CostCall&) { return {}; }

std::vector<ValueType> infer_reshape(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const Dims& dims = call.attributes.get<Dims>("shape");
  if (x.dims.elements() != dims.elements()) {
    refuse_shape(to_string(x.dims) + " has " + to_string(x.dims.elements()) + " elements, but " +
                 to_string(dims) + " has " + to_string(dims.elements()));
  }
  return {{x.dtype, dims}};
}
std::vector<Value> gradient_reshape(const GradientCall& call) {
  return {reshape(call.output_gradients[0], call.inputs[0].dims())};
}
void reference_copy(const ReferenceCall& call) {
  reference::copy_element(call.outputs[0], 0, call.inputs[0], 0, call.outputs[0].elements());
}

std::vector<ValueType> infer_transpose(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const auto& order = call.attributes.get<Ints>("order");
  Ints sorted = order;
  std::sort(sorted.begin(), sorted.end());
  Ints axes(static_cast<size_t>(x.dims.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  if (sorted != axes) {
    refuse_argument("order " + to_string(AttributeValue(order)) + " does not name every axis of " +
                    to_string(x.dims) + " once");
  }
  Dims dims;
  for (const int64_t axis : order) dims.push_back(x.dims[static_cast<int>(axis)]);
  return {{x.dtype, dims}};
}
std::vector<Value> gradient_transpose(const GradientCall& call) {
  const auto& order = call.node.attributes.get<Ints>("order");
  Ints inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i) inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return {transpose(call.output_gradients[0], inverse)};
}
void reference_transpose(const ReferenceCall& call) {
  reference::copy_view(call.outputs[0], call.inputs[0].transpose(call.attributes.get<Ints>("order")));
}

std::vector<ValueType> infer_broadcast(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const Dims& dims = call.attributes.get<Dims>("shape");
  if (!broadcasts_to(x.dims, dims)) {
    refuse_shape(to_string(x.dims) + " does not broadcast to " + to_string(dims) +
                 ": aligned at the end, each size must be equal or 1");
  }
  return {{x.dtype, dims}};
}
std::vector<Value> gradient_broadcast(const GradientCall& call) {
  return {sum_to(call.output_gradients[0], call.inputs[0].dims())};
}
void reference_broadcast(const ReferenceCall& call) {
  reference::copy_view(call.outputs[0], call.inputs[0].broadcast(call.outputs[0].shape()));
}

std::vector<ValueType> infer_contiguous(const InferCall& call) { return {operand(call, 0)}; }
std::vector<Value> gradient_contiguous(const GradientCall& call) { return {call.output_gradients[0]}; }

std::vector<ValueType> infer_iota(const InferCall& call) {
  const Dims& dims = call.attributes.get<Dims>("shape");
  const auto dtype = call.attributes.get<DType>("dtype");
  checked_axis(call.attributes, "axis", dims.rank());
  if (dtype == DType::boolean) refuse_dtype("dtype is bool; iota makes numbers");
  return {{dtype, dims}};
}
void reference_iota(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  const auto axis = static_cast<size_t>(call.attributes.get<int64_t>("axis"));
  Ints values;
  reference::for_each_index(y.shape(),
                            [&](std::span<const int64_t> index) { values.push_back(index[axis]); });
  reference::store(y, values);
}

}  // namespace

const OpSchema& reshape_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "reshape",
      .family = "layout",
      .summary = "y = the elements of x in row-major order, with other sizes",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "of the given sizes"}},
      .attributes = {{"shape", "dims", nullptr, "as many elements as x"}},
      .infer = infer_reshape,
      .cost = cost_view,
      .gradient = gradient_reshape,
      .reference = reference_copy,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& transpose_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "transpose",
      .family = "layout",
      .summary = "axis i of y is axis order[i] of x",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "the sizes of x in that order"}},
      .attributes = {{"order", "ints", nullptr, "every axis once"}},
      .infer = infer_transpose,
      .cost = cost_move,
      .gradient = gradient_transpose,
      .reference = reference_transpose,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& broadcast_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "broadcast",
      .family = "layout",
      .summary = "y = x repeated along axes of size 1 and new leading axes",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "of the given sizes"}},
      .attributes = {{"shape", "dims", nullptr,
                      "aligned with x at the end, each size equal to that of x or x's is 1"}},
      .infer = infer_broadcast,
      .cost = cost_move,
      .gradient = gradient_broadcast,
      .reference = reference_broadcast,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& contiguous_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "contiguous",
      .family = "layout",
      .summary = "y = a dense copy of x",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "like x"}},
      .attributes = {},
      .infer = infer_contiguous,
      .cost = cost_move,
      .gradient = gradient_contiguous,
      .reference = reference_copy,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& iota_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "iota",
      .family = "layout",
      .summary = "y[..., i, ...] = i along axis",
      .inputs = {},
      .outputs =
          {{"y", "of the given sizes; values that the dtype cannot hold are rounded or keep their low bits"}},
      .attributes = {{"shape", "dims", nullptr, "sizes of the result"},
                     {"axis", "int", "0", "not negative"},
                     {"dtype", "dtype", "int64", "a number dtype"}},
      .infer = infer_iota,
      .cost = cost_move,
      .no_gradient = "there are no operands",
      .reference = reference_iota,
      .accuracy = {.exact = true},
  };
  return *op;
}

OpList layout_ops() {
  static const OpSchema* const ops[] = {
      &reshape_op(), &transpose_op(), &broadcast_op(),  &slice_op(),         &concat_op(),
      &pad_op(),     &iota_op(),      &contiguous_op(), &dynamic_slice_op(), &dynamic_update_slice_op()};
  return ops;
}

}  // namespace heddle
