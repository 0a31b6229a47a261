#include "heddle/ops/normalize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "heddle/ops/convert.h"
#include "heddle/ops/reduce.h"
#include "kernels/catalogue.h"
#include "kernels/formula.h"
#include "kernels/lines.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

const OpSchema& layer_norm_op();
const OpSchema& layer_norm_grad_op();
const OpSchema& rms_norm_op();
const OpSchema& rms_norm_grad_op();

// ---- shapes -----------------------------------------------------------------------------------

// One value per row, kept as an axis of size 1.
ValueType statistic_of(const ValueType& x) { return {accumulation_dtype(x.dtype), with_last(x.dims, 1)}; }

void expect_weight(const ValueType& weight, const char* name, const ValueType& x) {
  expect_dims(name, weight, {x.dims[x.dims.rank() - 1]}, "the size of x's last axis");
  if (weight.dtype != x.dtype) {
    expect_dtype(name, weight, accumulation_dtype(x.dtype), "or the dtype of x");
  }
}

void expect_statistic(const ValueType& type, const char* name, const ValueType& x) {
  const ValueType wanted = statistic_of(x);
  expect_dtype(name, type, wanted.dtype, "statistics are kept wide");
  expect_dims(name, type, wanted.dims, "one value per row of x");
}

std::vector<ValueType> infer_layer_norm(const InferCall& call) {
  const ValueType &x = *call.inputs[0], &scale = *call.inputs[1], &bias = *call.inputs[2];
  expect_float("x", x);
  expect_rank_at_least("x", x, 1);
  expect_weight(scale, "scale", x);
  expect_weight(bias, "bias", x);
  expect_same_dtype("scale", scale, "bias", bias);
  return {x, statistic_of(x), statistic_of(x)};
}

std::vector<ValueType> infer_rms_norm(const InferCall& call) {
  const ValueType& x = *call.inputs[0];
  expect_float("x", x);
  expect_rank_at_least("x", x, 1);
  expect_weight(*call.inputs[1], "scale", x);
  return {x, statistic_of(x)};
}

// dy, x, scale and the statistics, of which layer_norm has two.
std::vector<ValueType> infer_grad(const InferCall& call) {
  const ValueType &dy = *call.inputs[0], &x = *call.inputs[1], &scale = *call.inputs[2];
  expect_float("x", x);
  expect_rank_at_least("x", x, 1);
  expect_same_dtype("x", x, "dy", dy);
  expect_dims("dy", dy, x.dims, "the shape of x");
  expect_weight(scale, "scale", x);
  const bool centred = call.inputs.size() == 5;
  if (centred) expect_statistic(*call.inputs[3], "mean", x);
  expect_statistic(*call.inputs.back(), "rstd", x);
  return centred ? std::vector<ValueType>{x, scale, scale} : std::vector<ValueType>{x, scale};
}

// ---- cost -------------------------------------------------------------------------------------

// Operations per element, counted from the equations.
Cost cost_layer_norm(const CostCall& call) { return streaming_cost(call, 7 * elements_of(*call.inputs[0])); }
Cost cost_layer_norm_grad(const CostCall& call) {
  return streaming_cost(call, 13 * elements_of(*call.inputs[0]));
}
Cost cost_rms_norm(const CostCall& call) { return streaming_cost(call, 4 * elements_of(*call.inputs[0])); }
Cost cost_rms_norm_grad(const CostCall& call) {
  return streaming_cost(call, 9 * elements_of(*call.inputs[0]));
}

double row_length(const CostCall& call) { return static_cast<double>(call.inputs[0]->dims.shape().at(-1)); }
// The gradients of scale and bias are sums over the rows.
double row_length_or_count(const CostCall& call) {
  const reference::Lines lines(call.inputs[0]->dims.shape());
  return static_cast<double>(std::max(lines.length, lines.outer));
}

// ---- meaning in core ops ----------------------------------------------------------------------

Value row_mean(Value x) { return heddle::mean(x, {-1}, true); }

// Sums over every axis but the last, as `dtype`.
Value sum_of_rows(Value x, DType dtype) {
  std::vector<int64_t> axes(static_cast<size_t>(x.rank() - 1));
  std::iota(axes.begin(), axes.end(), 0);
  return convert(axes.empty() ? x : sum(x, axes), dtype);
}

std::vector<Value> decompose_layer_norm(const DecomposeCall& call) {
  const Value x = call.inputs[0], scale = call.inputs[1], bias = call.inputs[2];
  const DType sums = accumulation_dtype(x.dtype());
  const double epsilon = call.node.attributes.get<double>("epsilon");
  const Value mean = row_mean(convert(x, sums));
  // Two passes: the mean of squares minus the squared mean would cancel.
  const Value squares = formula({x, mean}, sums, [](const Scalars& in) { return square(in[0] - in[1]); });
  const Value rstd =
      formula({row_mean(squares)}, sums, [&](const Scalars& in) { return rsqrt(in[0] + epsilon); });
  const Value y = formula({x, mean, rstd, scale, bias}, sums, [&](const Scalars& in) {
    return ((in[0] - in[1]) * in[2] * in[3] + in[4]).as(x.dtype());
  });
  return {y, mean, rstd};
}

std::vector<Value> decompose_rms_norm(const DecomposeCall& call) {
  const Value x = call.inputs[0], scale = call.inputs[1];
  const DType sums = accumulation_dtype(x.dtype());
  const double epsilon = call.node.attributes.get<double>("epsilon");
  const Value squares = formula({x}, sums, [](const Scalars& in) { return square(in[0]); });
  const Value rstd =
      formula({row_mean(squares)}, sums, [&](const Scalars& in) { return rsqrt(in[0] + epsilon); });
  const Value y = formula({x, rstd, scale}, sums,
                          [&](const Scalars& in) { return (in[0] * in[1] * in[2]).as(x.dtype()); });
  return {y, rstd};
}

// With n = (x - mean) * rstd and g = dy * scale: dx = rstd * (g - mean(g) - n * mean(g * n)).
std::vector<Value> decompose_layer_norm_grad(const DecomposeCall& call) {
  const std::span<const Value> in = call.inputs;
  const Value dy = in[0], x = in[1], scale = in[2], mean = in[3], rstd = in[4];
  const DType sums = accumulation_dtype(x.dtype());
  const std::vector<Value> parts = formula({dy, x, scale, mean, rstd}, sums, [](const Scalars& s) {
    const Scalar n = (s[1] - s[3]) * s[4], g = s[0] * s[2];
    return Scalars{g, g * n, s[0] * n, s[0]};
  });
  const Value dx = formula({dy, x, scale, mean, rstd, row_mean(parts[0]), row_mean(parts[1])}, sums,
                           [&](const Scalars& s) {
                             const Scalar n = (s[1] - s[3]) * s[4], g = s[0] * s[2];
                             return (s[4] * (g - s[5] - n * s[6])).as(x.dtype());
                           });
  return {dx, sum_of_rows(parts[2], scale.dtype()), sum_of_rows(parts[3], scale.dtype())};
}

std::vector<Value> decompose_rms_norm_grad(const DecomposeCall& call) {
  const Value dy = call.inputs[0], x = call.inputs[1], scale = call.inputs[2], rstd = call.inputs[3];
  const DType sums = accumulation_dtype(x.dtype());
  const std::vector<Value> parts = formula({dy, x, scale, rstd}, sums, [](const Scalars& s) {
    const Scalar n = s[1] * s[3];
    return Scalars{s[0] * s[2] * n, s[0] * n};
  });
  const Value dx = formula({dy, x, scale, rstd, row_mean(parts[0])}, sums, [&](const Scalars& s) {
    return (s[3] * (s[0] * s[2] - s[1] * s[3] * s[4])).as(x.dtype());
  });
  return {dx, sum_of_rows(parts[1], scale.dtype())};
}

// ---- gradients --------------------------------------------------------------------------------

void refuse_statistics(const GradientCall& call) {
  for (size_t i = 1; i < call.output_gradients.size(); ++i) {
    if (call.output_gradients[i]) {
      refuse(ErrorCode::unsupported,
             std::string(call.node.op->name) +
                 " has a gradient for y alone; compute statistics that are part of the loss with reduce");
    }
  }
}

std::vector<Value> gradient_layer_norm(const GradientCall& call) {
  refuse_statistics(call);
  return Graph(call.graph)
      .add(layer_norm_grad_op(), std::array{call.output_gradients[0], call.inputs[0], call.inputs[1],
                                            call.outputs[1], call.outputs[2]});
}

std::vector<Value> gradient_rms_norm(const GradientCall& call) {
  refuse_statistics(call);
  return Graph(call.graph)
      .add(rms_norm_grad_op(),
           std::array{call.output_gradients[0], call.inputs[0], call.inputs[1], call.outputs[1]});
}

// ---- the oracle -------------------------------------------------------------------------------

// Both norms; `centred` is layer_norm. Writes the results, or their magnitudes.
void normalise(const ReferenceCall& call, bool centred, bool magnitude) {
  const std::vector<double> x = reference::reals(call.inputs[0]), scale = reference::reals(call.inputs[1]);
  const std::vector<double> bias =
      centred ? reference::reals(call.inputs[2]) : std::vector<double>(scale.size());
  const double epsilon = call.attributes.get<double>("epsilon");
  const reference::Lines rows(call.inputs[0].shape());
  const auto size = static_cast<double>(rows.length);
  std::vector<double> y(x.size()), means(static_cast<size_t>(rows.outer)), rstds(means.size());
  for (int64_t row = 0; row < rows.outer; ++row) {
    double mean = 0, spread = 0, absolute = 0;
    for (int64_t i = 0; i < rows.length; ++i) {
      if (centred) mean += x[rows.at(row, i)] / size;
      absolute += std::fabs(x[rows.at(row, i)]) / size;
    }
    for (int64_t i = 0; i < rows.length; ++i) {
      const double distance = x[rows.at(row, i)] - mean;
      spread += distance * distance / size;
    }
    const double rstd = 1 / std::sqrt(spread + epsilon);
    for (int64_t i = 0; i < rows.length; ++i) {
      const size_t at = rows.at(row, i), column = static_cast<size_t>(i);
      const double n = (x[at] - mean) * rstd;
      // The mean's error, relative to mean |x|, is as if x had it.
      const double reach = std::fabs(n) + (centred ? absolute * rstd : 0);
      y[at] = magnitude ? std::fabs(scale[column]) * reach + std::fabs(bias[column])
                        : n * scale[column] + bias[column];
    }
    means[static_cast<size_t>(row)] = magnitude ? absolute : mean;
    rstds[static_cast<size_t>(row)] = rstd;
  }
  reference::store(call.outputs[0], y);
  if (centred) reference::store(call.outputs[1], means);
  reference::store(call.outputs.back(), rstds);
}
void reference_layer_norm(const ReferenceCall& call) { normalise(call, true, false); }
void magnitude_layer_norm(const ReferenceCall& call) { normalise(call, true, true); }
void reference_rms_norm(const ReferenceCall& call) { normalise(call, false, false); }
void magnitude_rms_norm(const ReferenceCall& call) { normalise(call, false, true); }

// The gradients of both; the magnitude replaces every term of every sum by its absolute value.
void grade(const ReferenceCall& call, bool centred, bool magnitude) {
  const std::vector<double> dy = reference::reals(call.inputs[0]), x = reference::reals(call.inputs[1]),
                            scale = reference::reals(call.inputs[2]);
  const std::vector<double> mean = centred ? reference::reals(call.inputs[3]) : std::vector<double>();
  const std::vector<double> rstd = reference::reals(call.inputs.back());
  const reference::Lines rows(call.inputs[0].shape());
  const auto size = static_cast<double>(rows.length);
  const double sign = magnitude ? 1 : -1;
  const auto term = [&](double v) { return magnitude ? std::fabs(v) : v; };
  std::vector<double> dx(x.size()), dscale(scale.size()), dbias(scale.size());
  for (int64_t row = 0; row < rows.outer; ++row) {
    const double r = rstd[static_cast<size_t>(row)], m = centred ? mean[static_cast<size_t>(row)] : 0;
    double g_mean = 0, gn_mean = 0;
    for (int64_t i = 0; i < rows.length; ++i) {
      const size_t at = rows.at(row, i), column = static_cast<size_t>(i);
      const double n = (x[at] - m) * r, g = dy[at] * scale[column];
      if (centred) g_mean += term(g) / size;
      gn_mean += term(g * n) / size;
      dscale[column] += term(dy[at] * n);
      dbias[column] += term(dy[at]);
    }
    for (int64_t i = 0; i < rows.length; ++i) {
      const size_t at = rows.at(row, i);
      const double n = (x[at] - m) * r, g = dy[at] * scale[static_cast<size_t>(i)];
      dx[at] = r * (term(g) + sign * g_mean + sign * term(n) * gn_mean);
    }
  }
  reference::store(call.outputs[0], dx);
  reference::store(call.outputs[1], dscale);
  if (centred) reference::store(call.outputs[2], dbias);
}
void reference_layer_norm_grad(const ReferenceCall& call) { grade(call, true, false); }
void magnitude_layer_norm_grad(const ReferenceCall& call) { grade(call, true, true); }
void reference_rms_norm_grad(const ReferenceCall& call) { grade(call, false, false); }
void magnitude_rms_norm_grad(const ReferenceCall& call) { grade(call, false, true); }

// ---- schemas ----------------------------------------------------------------------------------

const AttributeDoc epsilon_doc = {"epsilon", "float", nullptr, "added under the root"};
const OperandDoc x_doc = {"x", "any float [..., D]"};
const OperandDoc scale_doc = {"scale", "[D], in x's dtype or float32 (float64 for float64)"};
const OperandDoc rstd_doc = {"rstd", "float32 (float64 for float64) [..., 1]: 1 / sqrt(... + epsilon)"};
const OperandDoc mean_doc = {"mean", "float32 (float64 for float64) [..., 1]: the mean of each row"};
const OperandDoc dy_doc = {"dy", "like x: the gradient of y"};
constexpr const char* second_derivatives =
    "second derivatives of a fused norm are not defined; build the norm from reduce and pointwise ops to get "
    "them";

const OpSchema& layer_norm_op() {
  static const auto* const op = new OpSchema{
      .name = "layer_norm",
      .family = "normalize",
      .summary = "y = (x - mean) * rstd * scale + bias over the last axis; rstd = 1 / sqrt(var + epsilon)",
      .inputs = {x_doc, scale_doc, {"bias", "like scale"}},
      .outputs = {{"y", "like x"}, mean_doc, rstd_doc},
      .attributes = {epsilon_doc},
      .infer = infer_layer_norm,
      .cost = cost_layer_norm,
      .gradient = gradient_layer_norm,
      .decompose = decompose_layer_norm,
      .reference = reference_layer_norm,
      // Mean 1, distance 1, square and sum 2 (halved by the root), root 2, two products, bias: 8 of unit
      // magnitude. A variance computed as the mean of squares minus the squared mean is outside this bound.
      .accuracy = {.c = 8, .depth = row_length, .magnitude = magnitude_layer_norm},
  };
  return *op;
}

const OpSchema& layer_norm_grad_op() {
  static const auto* const op = new OpSchema{
      .name = "layer_norm_grad",
      .family = "normalize",
      .summary =
          "dx = rstd * (g - mean(g) - n * mean(g * n)), dscale = sum(dy * n), dbias = sum(dy); "
          "n = (x - mean) * rstd, g = dy * scale; sums over the rows",
      .inputs = {dy_doc, x_doc, scale_doc, mean_doc, rstd_doc},
      .outputs = {{"dx", "like x"}, {"dscale", "like scale"}, {"dbias", "like scale"}},
      .attributes = {},
      .infer = infer_grad,
      .cost = cost_layer_norm_grad,
      .no_gradient = second_derivatives,
      .decompose = decompose_layer_norm_grad,
      .reference = reference_layer_norm_grad,
      // n 2 and g 1, their product 1, the mean 1, product and subtraction 2, rstd 1: 8.
      .accuracy = {.c = 8, .depth = row_length_or_count, .magnitude = magnitude_layer_norm_grad},
  };
  return *op;
}

const OpSchema& rms_norm_op() {
  static const auto* const op = new OpSchema{
      .name = "rms_norm",
      .family = "normalize",
      .summary = "y = x * rstd * scale over the last axis; rstd = 1 / sqrt(mean(x^2) + epsilon)",
      .inputs = {x_doc, scale_doc},
      .outputs = {{"y", "like x"}, rstd_doc},
      .attributes = {epsilon_doc},
      .infer = infer_rms_norm,
      .cost = cost_rms_norm,
      .gradient = gradient_rms_norm,
      .decompose = decompose_rms_norm,
      .reference = reference_rms_norm,
      // Square and sum 2 (halved by the root), root 2, two products: 5, and one spare.
      .accuracy = {.c = 6, .depth = row_length, .magnitude = magnitude_rms_norm},
  };
  return *op;
}

const OpSchema& rms_norm_grad_op() {
  static const auto* const op = new OpSchema{
      .name = "rms_norm_grad",
      .family = "normalize",
      .summary =
          "dx = rstd * (g - n * mean(g * n)), dscale = sum(dy * n); n = x * rstd, g = dy * scale; "
          "sum over the rows",
      .inputs = {dy_doc, x_doc, scale_doc, rstd_doc},
      .outputs = {{"dx", "like x"}, {"dscale", "like scale"}},
      .attributes = {},
      .infer = infer_grad,
      .cost = cost_rms_norm_grad,
      .no_gradient = second_derivatives,
      .decompose = decompose_rms_norm_grad,
      .reference = reference_rms_norm_grad,
      // As layer_norm_grad.
      .accuracy = {.c = 8, .depth = row_length_or_count, .magnitude = magnitude_rms_norm_grad},
  };
  return *op;
}

}  // namespace

Value layer_norm(Value x, Value scale, Value bias, double epsilon) {
  return x.graph().add(layer_norm_op(), std::array{x, scale, bias}, {{"epsilon", epsilon}})[0];
}

Value rms_norm(Value x, Value scale, double epsilon) {
  return x.graph().add(rms_norm_op(), std::array{x, scale}, {{"epsilon", epsilon}})[0];
}

OpList normalize_ops() {
  static const OpSchema* const ops[] = {&layer_norm_op(), &layer_norm_grad_op(), &rms_norm_op(),
                                        &rms_norm_grad_op()};
  return ops;
}

}  // namespace heddle
