#include "heddle/ops/loss.h"

#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "heddle/ops/layout.h"
#include "heddle/ops/reduce.h"
#include "kernels/catalogue.h"
#include "kernels/formula.h"
#include "kernels/lines.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

const OpSchema& cross_entropy_op();
const OpSchema& cross_entropy_grad_op();

// ---- shapes and cost --------------------------------------------------------------------------

ValueType loss_of(const ValueType& logits) {
  return {accumulation_dtype(logits.dtype), without_last(logits.dims)};
}

void expect_logits(const ValueType& logits, const ValueType& targets) {
  expect_float("logits", logits);
  expect_rank_at_least("logits", logits, 1);
  expect_integer("targets", targets);
  expect_dims("targets", targets, without_last(logits.dims), "logits without their last axis");
}

std::vector<ValueType> infer_cross_entropy(const InferCall& call) {
  expect_logits(*call.inputs[0], *call.inputs[1]);
  const ValueType loss = loss_of(*call.inputs[0]);
  return {loss, loss};
}

std::vector<ValueType> infer_cross_entropy_grad(const InferCall& call) {
  const ValueType &dloss = *call.inputs[0], &logits = *call.inputs[1], &lse = *call.inputs[3];
  expect_logits(logits, *call.inputs[2]);
  const ValueType loss = loss_of(logits);
  expect_dtype("dloss", dloss, loss.dtype, "the dtype of the loss");
  expect_dims("dloss", dloss, loss.dims, "logits without their last axis");
  expect_dtype("lse", lse, loss.dtype, "the dtype of the loss");
  expect_dims("lse", lse, loss.dims, "logits without their last axis");
  return {logits};
}

// max, subtract, exp (8), sum; and subtract, exp, subtract, product.
Cost cost_cross_entropy(const CostCall& call) {
  return streaming_cost(call, 11 * elements_of(*call.inputs[0]));
}
Cost cost_cross_entropy_grad(const CostCall& call) {
  return streaming_cost(call, 11 * elements_of(*call.inputs[1]));
}
double classes(const CostCall& call) { return static_cast<double>(call.inputs[0]->dims.shape().at(-1)); }

// ---- meaning in core ops ----------------------------------------------------------------------

Dims with_axis(Value x) {
  Dims dims = x.dims();
  dims.push_back(1);
  return dims;
}

// 0, 1, .. C-1 along the last axis, in the targets' dtype widened to hold C.
Value class_numbers(Graph graph, const Dims& logits, DType dtype) {
  return iota(graph, {logits[logits.rank() - 1]}, 0, dtype);
}
// Narrow targets cannot number many classes; 64-bit ones keep their range.
DType number_dtype(DType targets) {
  return size_of(targets) == 8 || targets == u32 ? DType::int64 : DType::int32;
}

// Neither ignored nor a class; `target` is signed.
Scalar is_wrong(Scalar target, double ignore, double count) {
  return (target < 0.0 || target >= count) && target != target.constant(ignore);
}

std::vector<Value> decompose_cross_entropy(const DecomposeCall& call) {
  const Value logits = call.inputs[0];
  const DType sums = accumulation_dtype(logits.dtype()), numbers = number_dtype(call.inputs[1].dtype());
  const auto ignore = static_cast<double>(call.node.attributes.get<int64_t>("ignore_index"));
  const int64_t axis = logits.rank() - 1;
  const Value targets = reshape(call.inputs[1], with_axis(call.inputs[1]));
  const Value top = max(logits, {axis}, true);
  // The target's distance from the maximum is picked by comparison: a target out of range reads nothing.
  const std::vector<Value> parts =
      formula({logits, top, targets, class_numbers(call.graph, logits.dims(), numbers)}, sums,
              [&](const Scalars& in) {
                const Scalar distance = in[0] - in[1];
                return Scalars{exp(distance), select(in[2].as(numbers) == in[3], distance, 0.0)};
              });
  const Value total = sum(parts[0], {axis}, true), picked = sum(parts[1], {axis}, true);
  const auto count = static_cast<double>(logits.dims()[logits.rank() - 1].number());
  const std::vector<Value> results = formula({top, total, picked, targets}, sums, [&](const Scalars& in) {
    const Scalar target = in[3].as(numbers), spread = log(in[1]);
    const Scalar loss =
        select(is_wrong(target, ignore, count), std::numeric_limits<double>::quiet_NaN(), spread - in[2]);
    return Scalars{select(target == ignore, 0.0, loss), in[0] + spread};
  });
  const Dims dims = call.inputs[1].dims();
  return {reshape(results[0], dims), reshape(results[1], dims)};
}

std::vector<Value> decompose_cross_entropy_grad(const DecomposeCall& call) {
  const Value logits = call.inputs[1];
  const DType sums = accumulation_dtype(logits.dtype()), numbers = number_dtype(call.inputs[2].dtype());
  const auto ignore = static_cast<double>(call.node.attributes.get<int64_t>("ignore_index"));
  const auto count = static_cast<double>(logits.dims()[logits.rank() - 1].number());
  const Dims column = with_axis(call.inputs[2]);
  const Value dloss = reshape(call.inputs[0], column), targets = reshape(call.inputs[2], column);
  const Value lse = reshape(call.inputs[3], column);
  return {formula({dloss, logits, targets, lse, class_numbers(call.graph, logits.dims(), numbers)}, sums,
                  [&](const Scalars& in) {
                    const Scalar target = in[2].as(numbers), p = exp(in[1] - in[3]);
                    const Scalar gradient = select(target == in[4], p - 1.0, p) * in[0];
                    const Scalar checked = select(is_wrong(target, ignore, count),
                                                  std::numeric_limits<double>::quiet_NaN(), gradient);
                    return select(target == ignore, 0.0, checked).as(logits.dtype());
                  })};
}

// ---- gradient ---------------------------------------------------------------------------------

// dlogits = (softmax - onehot) * dloss, 0 where ignored, + softmax * dlse.
std::vector<Value> gradient_cross_entropy(const GradientCall& call) {
  const Value logits = call.inputs[0], targets = call.inputs[1], lse = call.outputs[1];
  const Value dloss = call.output_gradients[0], dlse = call.output_gradients[1];
  Value dlogits;
  if (dloss) {
    dlogits =
        Graph(call.graph)
            .add(cross_entropy_grad_op(), std::array{dloss, logits, targets, lse}, call.node.attributes)[0];
  }
  if (dlse) {
    std::vector<Value> operands = {logits, reshape(lse, with_axis(lse)), reshape(dlse, with_axis(dlse))};
    if (dlogits) operands.push_back(dlogits);
    dlogits = formula(operands, lse.dtype(), [&](const Scalars& in) {
      const Scalar extra = exp(in[0] - in[1]) * in[2];
      return (in.size() == 4 ? extra + in[3] : extra).as(logits.dtype());
    });
  }
  return {dlogits, Value()};
}

// ---- the oracle -------------------------------------------------------------------------------

void lose(const ReferenceCall& call, bool magnitude) {
  const std::vector<double> logits = reference::reals(call.inputs[0]),
                            targets = reference::reals(call.inputs[1]);
  const auto ignore = static_cast<double>(call.attributes.get<int64_t>("ignore_index"));
  const reference::Lines rows(call.inputs[0].shape());
  std::vector<double> loss(targets.size()), lse(targets.size());
  for (int64_t row = 0; row < rows.outer; ++row) {
    const auto at = static_cast<size_t>(row);
    double top = -INFINITY, total = 0;
    for (int64_t c = 0; c < rows.length; ++c) top = std::fmax(top, logits[rows.at(row, c)]);
    for (int64_t c = 0; c < rows.length; ++c) total += std::exp(logits[rows.at(row, c)] - top);
    const double target = targets[at], spread = std::log(total);
    lse[at] = magnitude ? 1 + std::fabs(top) + spread : top + spread;
    if (target == ignore) continue;
    if (target < 0 || target >= static_cast<double>(rows.length)) {
      loss[at] = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    const double logit = logits[rows.at(row, static_cast<int64_t>(target))];
    // lse - logit, from large numbers of either sign.
    loss[at] = magnitude ? lse[at] + (std::isinf(logit) ? 0 : std::fabs(logit)) : spread - (logit - top);
  }
  reference::store(call.outputs[0], loss);
  reference::store(call.outputs[1], lse);
}
void reference_cross_entropy(const ReferenceCall& call) { lose(call, false); }
void magnitude_cross_entropy(const ReferenceCall& call) { lose(call, true); }

void grade(const ReferenceCall& call, bool magnitude) {
  const std::vector<double> dloss = reference::reals(call.inputs[0]),
                            logits = reference::reals(call.inputs[1]);
  const std::vector<double> targets = reference::reals(call.inputs[2]),
                            lse = reference::reals(call.inputs[3]);
  const auto ignore = static_cast<double>(call.attributes.get<int64_t>("ignore_index"));
  const reference::Lines rows(call.inputs[1].shape());
  std::vector<double> dlogits(logits.size());
  for (int64_t row = 0; row < rows.outer; ++row) {
    const auto at = static_cast<size_t>(row);
    const double target = targets[at];
    if (target == ignore) continue;
    const bool wrong = target < 0 || target >= static_cast<double>(rows.length);
    for (int64_t c = 0; c < rows.length; ++c) {
      const double distance = logits[rows.at(row, c)] - lse[at], p = std::exp(distance);
      const double hot = static_cast<double>(c) == target ? 1 : 0;
      double& d = dlogits[rows.at(row, c)];
      // The distance from lse is rounded relative to itself, which exp makes relative.
      if (magnitude)
        d = (p * (1 + (p == 0 ? 0 : std::fabs(distance))) + hot) * std::fabs(dloss[at]);
      else
        d = wrong ? std::numeric_limits<double>::quiet_NaN() : (p - hot) * dloss[at];
    }
  }
  reference::store(call.outputs[0], dlogits);
}
void reference_cross_entropy_grad(const ReferenceCall& call) { grade(call, false); }
void magnitude_cross_entropy_grad(const ReferenceCall& call) { grade(call, true); }

// ---- schemas ----------------------------------------------------------------------------------

const AttributeDoc ignore_doc = {"ignore_index", "int", "-100", "the target whose positions do not count"};
const OperandDoc logits_doc = {"logits", "any float [..., C]"};
const OperandDoc targets_doc = {"targets", "integers [...]; out of [0, C) and not ignored gives NaN"};
const OperandDoc lse_doc = {"lse", "like loss: log(sum(exp(logits)))"};

const OpSchema& cross_entropy_op() {
  static const auto* const op = new OpSchema{
      .name = "cross_entropy",
      .family = "loss",
      .summary = "lse = log(sum(exp(logits))), loss = lse - logits[target]; 0 where target == ignore_index",
      .inputs = {logits_doc, targets_doc},
      .outputs = {{"loss", "float32 (float64 for float64) [...]"}, lse_doc},
      .attributes = {ignore_doc},
      .infer = infer_cross_entropy,
      .cost = cost_cross_entropy,
      .gradient = gradient_cross_entropy,
      .decompose = decompose_cross_entropy,
      .reference = reference_cross_entropy,
      // exp 2, subtraction 1, sum, log 2, subtraction 1: 6.
      .accuracy = {.c = 6, .depth = classes, .magnitude = magnitude_cross_entropy},
  };
  return *op;
}

const OpSchema& cross_entropy_grad_op() {
  static const auto* const op = new OpSchema{
      .name = "cross_entropy_grad",
      .family = "loss",
      .summary = "dlogits = (exp(logits - lse) - onehot(target)) * dloss; 0 where target == ignore_index",
      .inputs = {{"dloss", "like loss: its gradient"}, logits_doc, targets_doc, lse_doc},
      .outputs = {{"dlogits", "like logits"}},
      .attributes = {ignore_doc},
      .infer = infer_cross_entropy_grad,
      .cost = cost_cross_entropy_grad,
      .no_gradient =
          "second derivatives of fused cross_entropy are not defined; build it from log_softmax to get them",
      .decompose = decompose_cross_entropy_grad,
      .reference = reference_cross_entropy_grad,
      // Subtraction 1 (in the magnitude), exp 2, subtraction 1, product 1.
      .accuracy = {.c = 4, .magnitude = magnitude_cross_entropy_grad},
  };
  return *op;
}

}  // namespace

Value cross_entropy_per_position(Value logits, Value targets, int64_t ignore_index) {
  return logits.graph().add(cross_entropy_op(), std::array{logits, targets},
                            {{"ignore_index", ignore_index}})[0];
}

Value cross_entropy(Value logits, Value targets, int64_t ignore_index) {
  const Value loss = cross_entropy_per_position(logits, targets, ignore_index);
  std::vector<int64_t> axes(static_cast<size_t>(loss.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  const auto total = [&](Value x) { return axes.empty() ? x : sum(x, axes, false); };
  const DType numbers = number_dtype(targets.dtype());
  const Value kept = formula({targets}, loss.dtype(), [&](const Scalars& in) {
    const Scalar target = in[0].as(numbers);
    return (target != target.constant(static_cast<double>(ignore_index))).as(loss.dtype());
  });
  return formula({total(loss), total(kept)}, loss.dtype(), [](const Scalars& in) { return in[0] / in[1]; });
}

OpList loss_ops() {
  static const OpSchema* const ops[] = {&cross_entropy_op(), &cross_entropy_grad_op()};
  return ops;
}

}  // namespace heddle
