#include "heddle/ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "heddle/ops/convert.h"
#include "heddle/ops/reduce.h"
#include "kernels/catalogue.h"
#include "kernels/formula.h"
#include "kernels/lines.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

const OpSchema& softmax_op();
const OpSchema& log_softmax_op();
const OpSchema& softmax_grad_op();

// ---- shapes and cost --------------------------------------------------------------------------

std::vector<ValueType> infer_softmax(const InferCall& call) {
  expect_float("x", *call.inputs[0]);
  checked_axis(call.attributes, "axis", call.inputs[0]->dims.rank());
  return {*call.inputs[0]};
}

std::vector<ValueType> infer_softmax_grad(const InferCall& call) {
  const ValueType &y = *call.inputs[0], &dy = *call.inputs[1];
  expect_float("y", y);
  expect_same_dtype("y", y, "dy", dy);
  expect_dims("dy", dy, y.dims, "the shape of y");
  checked_axis(call.attributes, "axis", y.dims.rank());
  return {y};
}

// max, subtract, exp (8, the catalogue's assumption), sum, divide.
Cost cost_softmax(const CostCall& call) { return streaming_cost(call, 12 * elements_of(*call.inputs[0])); }
// multiply, sum, subtract, multiply.
Cost cost_softmax_grad(const CostCall& call) {
  return streaming_cost(call, 4 * elements_of(*call.inputs[0]));
}

double line_length(const CostCall& call) {
  return static_cast<double>(
      call.inputs[0]->dims.shape()[static_cast<int>(call.attributes.get<int64_t>("axis"))]);
}

// ---- meaning in core ops ----------------------------------------------------------------------

std::vector<Value> decompose_softmax(const DecomposeCall& call) {
  const Value x = call.inputs[0];
  const DType sums = accumulation_dtype(x.dtype());
  const int64_t axis = call.node.attributes.get<int64_t>("axis");
  const Value top = max(x, {axis}, true);
  const Value e = formula({x, top}, sums, [](const Scalars& in) { return exp(in[0] - in[1]); });
  const Value total = sum(e, {axis}, true);
  return {formula({e, total}, sums, [&](const Scalars& in) { return (in[0] / in[1]).as(x.dtype()); })};
}

std::vector<Value> decompose_log_softmax(const DecomposeCall& call) {
  const Value x = call.inputs[0];
  const DType sums = accumulation_dtype(x.dtype());
  const int64_t axis = call.node.attributes.get<int64_t>("axis");
  const Value top = max(x, {axis}, true);
  const Value e = formula({x, top}, sums, [](const Scalars& in) { return exp(in[0] - in[1]); });
  const Value total = sum(e, {axis}, true);
  return {formula({x, top, total}, sums,
                  [&](const Scalars& in) { return (in[0] - in[1] - log(in[2])).as(x.dtype()); })};
}

std::vector<Value> decompose_softmax_grad(const DecomposeCall& call) {
  const Value y = call.inputs[0], dy = call.inputs[1];
  const DType sums = accumulation_dtype(y.dtype());
  const Value product = formula({y, dy}, sums, [](const Scalars& in) { return in[0] * in[1]; });
  const Value total = sum(product, {call.node.attributes.get<int64_t>("axis")}, true);
  return {formula({y, dy, total}, sums,
                  [&](const Scalars& in) { return (in[0] * (in[1] - in[2])).as(y.dtype()); })};
}

// ---- gradients --------------------------------------------------------------------------------

std::vector<Value> gradient_softmax(const GradientCall& call) {
  return {softmax_grad(call.outputs[0], call.output_gradients[0], call.node.attributes.get<int64_t>("axis"))};
}

// dx = dy - exp(y) * sum(dy).
std::vector<Value> gradient_log_softmax(const GradientCall& call) {
  const Value y = call.outputs[0], dy = call.output_gradients[0];
  const DType sums = accumulation_dtype(y.dtype());
  const Value total = sum(convert(dy, sums), {call.node.attributes.get<int64_t>("axis")}, true);
  return {formula({y, dy, total}, sums,
                  [&](const Scalars& in) { return (in[1] - exp(in[0]) * in[2]).as(y.dtype()); })};
}

// With s = sum(y * dy) and t = sum(y * g): d/dy = g * (dy - s) - t * dy; d/ddy = softmax_grad(y, g).
std::vector<Value> gradient_softmax_grad(const GradientCall& call) {
  const Value y = call.inputs[0], dy = call.inputs[1], g = call.output_gradients[0];
  const DType sums = accumulation_dtype(y.dtype());
  const int64_t axis = call.node.attributes.get<int64_t>("axis");
  const std::vector<Value> products = formula({y, dy, g}, sums, [](const Scalars& in) {
    return Scalars{in[0] * in[1], in[0] * in[2]};
  });
  const Value s = sum(products[0], {axis}, true), t = sum(products[1], {axis}, true);
  return {formula({dy, g, s, t}, sums,
                  [&](const Scalars& in) { return (in[1] * (in[0] - in[2]) - in[3] * in[0]).as(y.dtype()); }),
          softmax_grad(y, g, axis)};
}

// ---- the oracle -------------------------------------------------------------------------------

// Per line of `x`, hands f the maximum and the sum of exp(x - maximum).
template <class F>
void over_lines(const std::vector<double>& x, const reference::Lines& lines, const F& f) {
  for (int64_t o = 0; o < lines.outer; ++o) {
    for (int64_t n = 0; n < lines.inner; ++n) {
      double top = -INFINITY, total = 0;
      for (int64_t i = 0; i < lines.length; ++i) top = std::fmax(top, x[lines.at(o, i, n)]);
      for (int64_t i = 0; i < lines.length; ++i) total += std::exp(x[lines.at(o, i, n)] - top);
      for (int64_t i = 0; i < lines.length; ++i) f(lines.at(o, i, n), top, total);
    }
  }
}

reference::Lines lines_of(const ReferenceCall& call) {
  return reference::Lines(call.inputs[0].shape(), static_cast<int>(call.attributes.get<int64_t>("axis")));
}

void reference_softmax(const ReferenceCall& call) {
  const std::vector<double> x = reference::reals(call.inputs[0]);
  std::vector<double> y(x.size());
  over_lines(x, lines_of(call),
             [&](size_t at, double top, double total) { y[at] = std::exp(x[at] - top) / total; });
  reference::store(call.outputs[0], y);
}

void reference_log_softmax(const ReferenceCall& call) {
  const std::vector<double> x = reference::reals(call.inputs[0]);
  std::vector<double> y(x.size());
  over_lines(x, lines_of(call),
             [&](size_t at, double top, double total) { y[at] = x[at] - top - std::log(total); });
  reference::store(call.outputs[0], y);
}

// Writes y * (dy - s), or its magnitude |y| * (|dy| + sum |y * dy|).
void grade_softmax(const ReferenceCall& call, bool magnitude) {
  std::vector<double> y = reference::reals(call.inputs[0]), dy = reference::reals(call.inputs[1]),
                      dx(y.size());
  if (magnitude) {
    for (double& v : y) v = std::fabs(v);
    for (double& v : dy) v = -std::fabs(v);
  }
  const reference::Lines lines = lines_of(call);
  for (int64_t o = 0; o < lines.outer; ++o) {
    for (int64_t n = 0; n < lines.inner; ++n) {
      double s = 0;
      for (int64_t i = 0; i < lines.length; ++i) s += y[lines.at(o, i, n)] * dy[lines.at(o, i, n)];
      for (int64_t i = 0; i < lines.length; ++i) {
        const size_t at = lines.at(o, i, n);
        dx[at] = magnitude ? -y[at] * (dy[at] + s) : y[at] * (dy[at] - s);
      }
    }
  }
  reference::store(call.outputs[0], dx);
}
void reference_softmax_grad(const ReferenceCall& call) { grade_softmax(call, false); }
void magnitude_softmax_grad(const ReferenceCall& call) { grade_softmax(call, true); }

// x - max is rounded relative to d = max - x, which exp turns into a relative error of d. The sum's own error
// of this kind is the mean of d under y, at most log(length) <= sqrt(length).
void magnitude_softmax(const ReferenceCall& call) {
  const std::vector<double> x = reference::reals(call.inputs[0]);
  std::vector<double> m(x.size());
  over_lines(x, lines_of(call), [&](size_t at, double top, double total) {
    const double y = std::exp(x[at] - top) / total;
    m[at] = y == 0 ? 0 : y * (1 + top - x[at]);
  });
  reference::store(call.outputs[0], m);
}

// The sum's relative error becomes absolute in its logarithm: 1; the subtractions round relative to what they
// take.
void magnitude_log_softmax(const ReferenceCall& call) {
  const std::vector<double> x = reference::reals(call.inputs[0]);
  std::vector<double> m(x.size());
  over_lines(x, lines_of(call), [&](size_t at, double top, double total) {
    m[at] = std::isinf(x[at]) ? 0 : 1 + (top - x[at]) + std::log(total);
  });
  reference::store(call.outputs[0], m);
}

// ---- schemas ----------------------------------------------------------------------------------

const AttributeDoc axis_doc = {"axis", "int", nullptr, "the axis that sums to 1, counted from the front"};

const OpSchema& softmax_op() {
  static const auto* const op = new OpSchema{
      .name = "softmax",
      .family = "softmax",
      .summary = "y = exp(x - max(x)) / sum(exp(x - max(x))) along an axis",
      .inputs = {{"x", "any float [...]; a line of minus infinities gives NaN"}},
      .outputs = {{"y", "like x"}},
      .attributes = {axis_doc},
      .infer = infer_softmax,
      .cost = cost_softmax,
      .gradient = gradient_softmax,
      .decompose = decompose_softmax,
      .reference = reference_softmax,
      // exp 2, subtraction 1 (times d, in the magnitude), sum 1 per term, division 1: 4 with two spare for
      // the sum's error in d.
      .accuracy = {.c = 6, .depth = line_length, .magnitude = magnitude_softmax},
  };
  return *op;
}

const OpSchema& log_softmax_op() {
  static const auto* const op = new OpSchema{
      .name = "log_softmax",
      .family = "softmax",
      .summary = "y = x - max(x) - log(sum(exp(x - max(x)))) along an axis",
      .inputs = {{"x", "any float [...]"}},
      .outputs = {{"y", "like x"}},
      .attributes = {axis_doc},
      .infer = infer_softmax,
      .cost = cost_softmax,
      .gradient = gradient_log_softmax,
      .decompose = decompose_log_softmax,
      .reference = reference_log_softmax,
      // As softmax, with the logarithm (2) and two subtractions.
      .accuracy = {.c = 6, .depth = line_length, .magnitude = magnitude_log_softmax},
  };
  return *op;
}

const OpSchema& softmax_grad_op() {
  static const auto* const op = new OpSchema{
      .name = "softmax_grad",
      .family = "softmax",
      .summary = "dx = y * (dy - sum(y * dy)) along an axis",
      .inputs = {{"y", "any float [...]: the result of softmax"}, {"dy", "like y: its gradient"}},
      .outputs = {{"dx", "like y"}},
      .attributes = {axis_doc},
      .infer = infer_softmax_grad,
      .cost = cost_softmax_grad,
      .gradient = gradient_softmax_grad,
      .decompose = decompose_softmax_grad,
      .reference = reference_softmax_grad,
      // Product, sum, subtraction, product: one each.
      .accuracy = {.c = 4, .depth = line_length, .magnitude = magnitude_softmax_grad},
  };
  return *op;
}

}  // namespace

Value softmax(Value x, int64_t axis) {
  return x.graph().add(softmax_op(), std::array{x}, {{"axis", axis_from_front("softmax", axis, x)}})[0];
}

Value log_softmax(Value x, int64_t axis) {
  return x.graph().add(log_softmax_op(), std::array{x},
                       {{"axis", axis_from_front("log_softmax", axis, x)}})[0];
}

Value softmax_grad(Value y, Value dy, int64_t axis) {
  return y.graph().add(softmax_grad_op(), std::array{y, dy},
                       {{"axis", axis_from_front("softmax_grad", axis, y)}})[0];
}

OpList softmax_ops() {
  static const OpSchema* const ops[] = {&softmax_op(), &log_softmax_op(), &softmax_grad_op()};
  return ops;
}

}  // namespace heddle
