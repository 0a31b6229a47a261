// gather and scatter. embedding.cpp has the composites made of them.
#include "kernels/gather.h"

#include <array>
#include <cmath>
#include <limits>

#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "kernels/catalogue.h"
#include "kernels/dim_value.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

void expect_indices(const ValueType& indices) {
  expect_integer("indices", indices);
  if (indices.dtype == DType::uint64) refuse_dtype("indices are uint64; use convert to int64");
}

// The sizes of x with those of the indices in place of the axis.
Dims gathered_dims(const Dims& x, const Dims& indices, int axis) {
  std::vector<Dim> dims(x.begin(), x.begin() + axis);
  dims.insert(dims.end(), indices.begin(), indices.end());
  dims.insert(dims.end(), x.begin() + axis + 1, x.end());
  return Dims(std::move(dims));
}

// The row an index names, or -1.
int64_t row_of(int64_t index, int64_t size) {
  if (index < -size || index >= size) return -1;
  return index < 0 ? index + size : index;
}

std::vector<ValueType> infer_gather(const InferCall& call) {
  const ValueType &x = operand(call, 0), &indices = operand(call, 1);
  expect_indices(indices);
  return {
      {x.dtype, gathered_dims(x.dims, indices.dims, checked_axis(call.attributes, "axis", x.dims.rank()))}};
}

// Only the rows that are read move.
Cost cost_gather(const CostCall& call) {
  const double row_bytes = elements_of(call.outputs[0]) * static_cast<double>(size_of(call.outputs[0].dtype));
  const ValueType& indices = *call.inputs[1];
  return {0, 2 * row_bytes + elements_of(indices) * static_cast<double>(size_of(indices.dtype))};
}

std::vector<Value> gradient_gather(const GradientCall& call) {
  const Value x = call.inputs[0];
  return {scatter_add(zeros(call.graph, x.dims(), x.dtype()), call.inputs[1], call.output_gradients[0],
                      call.node.attributes.get<int64_t>("axis")),
          {}};
}

void reference_gather(const ReferenceCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& y = call.outputs[0];
  const reference::AxisView rows(x.shape(), static_cast<int>(call.attributes.get<int64_t>("axis")));
  const Ints indices = reference::integers(call.inputs[1]);
  const double nothing = is_float(y.dtype()) ? std::numeric_limits<double>::quiet_NaN() : 0;
  const Tensor missing = Tensor::full(nothing, y.dtype(), {rows.inner});
  int64_t to = 0;
  for (int64_t o = 0; o < rows.outer; ++o) {
    for (const int64_t index : indices) {
      const int64_t row = row_of(index, rows.length);
      if (row < 0)
        reference::copy_element(y, to, missing, 0, rows.inner);
      else
        reference::copy_element(y, to, x, rows.at(o, row, 0), rows.inner);
      to += rows.inner;
    }
  }
}

std::vector<ValueType> infer_scatter(const InferCall& call) {
  const ValueType &x = operand(call, 0), &indices = operand(call, 1), &updates = operand(call, 2);
  expect_indices(indices);
  expect_same_dtype("x", x, "updates", updates);
  expect_dims("updates", updates,
              gathered_dims(x.dims, indices.dims, checked_axis(call.attributes, "axis", x.dims.rank())));
  const auto& mode = call.attributes.get<std::string>("mode");
  if (mode != "set" && mode != "add") refuse_argument("mode is '" + mode + "', but must be set or add");
  if (mode == "add" && x.dtype == DType::boolean)
    refuse_dtype("x is bool, which cannot be added; convert it to a number");
  return {x};
}

Cost cost_scatter(const CostCall& call) {
  return streaming_cost(call,
                        call.attributes.get<std::string>("mode") == "add" ? elements_of(*call.inputs[2]) : 0);
}

std::vector<Value> gradient_scatter(const GradientCall& call) {
  const Value g = call.output_gradients[0], indices = call.inputs[1], updates = call.inputs[2];
  const int64_t axis = call.node.attributes.get<int64_t>("axis");
  const bool add = call.node.attributes.get<std::string>("mode") == "add";
  const Value dx =
      add ? g : scatter_set(g, indices, zeros(call.graph, updates.dims(), updates.dtype()), axis);
  // Skipped updates have no part in the result.
  Value kept = in_range(indices, g.dims()[static_cast<int>(axis)]);
  Dims aligned = kept.dims();
  for (int i = static_cast<int>(axis) + 1; i < g.rank(); ++i) aligned.push_back(1);
  return {dx, {}, select(reshape(kept, aligned), gather(g, indices, axis), 0.0)};
}

// y += updates, row by row; T is double, or int64_t for integers, where sums wrap.
template <class T>
void add_rows(std::vector<T>& y, const std::vector<T>& updates, const Ints& indices,
              const reference::AxisView& rows) {
  size_t from = 0;
  for (int64_t o = 0; o < rows.outer; ++o) {
    for (const int64_t index : indices) {
      const int64_t row = row_of(index, rows.length);
      for (int64_t n = 0; n < rows.inner; ++n, ++from)
        if (row >= 0) y[static_cast<size_t>(rows.at(o, row, n))] += updates[from];
    }
  }
}

std::vector<uint64_t> words(const Tensor& tensor) {
  const Ints bits = reference::integers(tensor);
  return {bits.begin(), bits.end()};
}

void reference_scatter(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  const Tensor x = call.inputs[0].to(y.dtype()), updates = call.inputs[2].to(y.dtype());
  const reference::AxisView rows(x.shape(), static_cast<int>(call.attributes.get<int64_t>("axis")));
  const Ints indices = reference::integers(call.inputs[1]);
  if (call.attributes.get<std::string>("mode") == "set") {
    reference::copy_view(y, x);
    int64_t from = 0;
    for (int64_t o = 0; o < rows.outer; ++o) {
      for (const int64_t index : indices) {
        const int64_t row = row_of(index, rows.length);
        if (row >= 0) reference::copy_element(y, rows.at(o, row, 0), updates, from, rows.inner);
        from += rows.inner;
      }
    }
  } else if (is_float(y.dtype())) {
    std::vector<double> sums = reference::reals(x);
    add_rows(sums, reference::reals(updates), indices, rows);
    reference::store(y, sums);
  } else {
    std::vector<uint64_t> sums = words(x);
    add_rows(sums, words(updates), indices, rows);
    reference::store(y, Ints(sums.begin(), sums.end()));
  }
}

// Adding: |x| + |updates|. Setting moves values.
void magnitude_scatter(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  std::vector<double> sums(static_cast<size_t>(y.elements()), 0);
  if (call.attributes.get<std::string>("mode") == "add") {
    sums = reference::reals(call.inputs[0]);
    std::vector<double> updates = reference::reals(call.inputs[2]);
    for (double& v : sums) v = std::fabs(v);
    for (double& v : updates) v = std::fabs(v);
    add_rows(sums, updates, reference::integers(call.inputs[1]),
             reference::AxisView(y.shape(), static_cast<int>(call.attributes.get<int64_t>("axis"))));
  }
  reference::store(y, sums);
}

double scatter_length(const CostCall& call) { return 1 + elements_of(*call.inputs[1]); }

Value add_scatter(Value x, Value indices, Value updates, int64_t axis, const char* mode) {
  return x.graph().add(scatter_op(), std::array{x, indices, updates},
                       {{"axis", int64_t{normalise_axis(axis, x.rank())}}, {"mode", std::string(mode)}})[0];
}

}  // namespace

Value in_range(Value indices, const Dim& size) {
  const Value wide = convert(indices, DType::int64);
  if (size.is_number()) {
    const auto n = static_cast<double>(size.number());
    return logical_and(greater_equal(wide, -n), less(wide, n));
  }
  const Value n = dim_value(indices.graph(), size);
  return logical_and(greater_equal(wide, neg(n)), less(wide, n));
}

Value gather(Value x, Value indices, int64_t axis) {
  return x.graph().add(gather_op(), std::array{x, indices},
                       {{"axis", int64_t{normalise_axis(axis, x.rank())}}})[0];
}
Value scatter_set(Value x, Value indices, Value updates, int64_t axis) {
  return add_scatter(x, indices, updates, axis, "set");
}
Value scatter_add(Value x, Value indices, Value updates, int64_t axis) {
  return add_scatter(x, indices, updates, axis, "add");
}

const OpSchema& gather_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "gather",
      .family = "gather",
      .summary = "y = rows of x: y[..., i, ...] = x[..., indices[i], ...] along axis",
      .inputs = {{"x", "any dtype"},
                 {"indices",
                  "integers in [-n, n), n the size of the axis; negative ones count from the end"}},
      .outputs =
          {{"y",
            "the sizes of x with those of the indices in place of the axis. A row that does not exist is "
            "NaN (integers, bool: 0)"}},
      .attributes = {{"axis", "int", "0", "not negative"}},
      .infer = infer_gather,
      .cost = cost_gather,
      .gradient = gradient_gather,
      .reference = reference_gather,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& scatter_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "scatter",
      .family = "gather",
      .summary = "y = x; y[..., indices[i], ...] = (or +=) updates[..., i, ...] in the order of i",
      .inputs = {{"x", "any dtype; add: numbers"},
                 {"indices", "integers in [-n, n), n the size of the axis; others are skipped"},
                 {"updates",
                  "the dtype of x, the sizes of x with those of the indices in place of the axis"}},
      .outputs = {{"y", "like x. Of equal indices the last wins (set) or all are added (add)"}},
      .attributes = {{"axis", "int", "0", "not negative"}, {"mode", "string", "set", "set or add"}},
      .infer = infer_scatter,
      .cost = cost_scatter,
      .gradient = gradient_scatter,
      .reference = reference_scatter,
      .accuracy = {.c = 2, .depth = scatter_length, .magnitude = magnitude_scatter},
  };
  return *op;
}

OpList gather_ops() {
  static const OpSchema* const ops[] = {&gather_op(), &scatter_op(), &embedding_op(), &embedding_grad_op(),
                                        &one_hot_op()};
  return ops;
}

}  // namespace heddle
