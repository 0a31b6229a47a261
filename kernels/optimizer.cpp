#include "heddle/ops/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "heddle/ops/layout.h"
#include "heddle/ops/reduce.h"
#include "kernels/catalogue.h"
#include "kernels/formula.h"
#include "kernels/optimizer_oracle.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

const OpSchema& sgd_op();
const OpSchema& adam_op();
const OpSchema& adamw_op();
const OpSchema& global_norm_op();
const OpSchema& clip_by_global_norm_op();

// ---- shapes -----------------------------------------------------------------------------------

void expect_scalar(const char* name, const ValueType& type) {
  expect_rank(name, type, 0);
  if (type.dtype != DType::float32 && type.dtype != DType::float64) {
    refuse_dtype(std::string(name) + " must be float32 or float64, but got " + to_string(type) +
                 "; use convert");
  }
}

// 0 <= value < 1: beyond, the averages never settle or the correction 1 - beta^step vanishes.
void expect_fraction(const Attributes& attributes, const char* name) {
  const double value = attributes.get<double>(name);
  if (!(value >= 0 && value < 1)) {
    refuse_argument(std::string(name) + " must be in [0, 1), but got " + std::to_string(value));
  }
}

// Checks the lists; returns the types of the results: the parameters, then each kind of state.
std::vector<ValueType> infer_step(const InferCall& call, TensorLists at, size_t states) {
  const size_t wanted = at.head + (2 + states) * at.count;
  if (call.attributes.get<int64_t>("count") < 1 || call.inputs.size() != wanted) {
    refuse_argument("count is " + std::to_string(call.attributes.get<int64_t>("count")) + " and there are " +
                    std::to_string(call.inputs.size()) + " operands; it takes " + std::to_string(at.head) +
                    " scalars, and count each of parameters, gradients" +
                    (states > 0 ? " and every state" : ""));
  }
  expect_scalar("lr", operand(call, 0));
  if (at.head == 2) expect_scalar("step", operand(call, 1));
  std::vector<ValueType> results;
  for (size_t i = 0; i < at.count; ++i) {
    const ValueType& p = operand(call, at.parameter(i));
    const std::string number = " " + std::to_string(i);
    expect_float(("parameter" + number).c_str(), p);
    const ValueType& g = operand(call, at.gradient(i));
    expect_float(("gradient" + number).c_str(), g);
    expect_dims(("gradient" + number).c_str(), g, p.dims, "the shape of its parameter");
    results.push_back(p);
  }
  for (size_t kind = 0; kind < states; ++kind) {
    for (size_t i = 0; i < at.count; ++i) {
      const ValueType &p = operand(call, at.parameter(i)), &state = operand(call, at.state(kind, i));
      const std::string name = "state " + std::to_string(kind) + " of parameter " + std::to_string(i);
      expect_dtype(name.c_str(), state, accumulation_dtype(p.dtype), "state is kept wide");
      expect_dims(name.c_str(), state, p.dims, "the shape of its parameter");
      results.push_back(state);
    }
  }
  return results;
}

std::vector<ValueType> infer_sgd(const InferCall& call) {
  expect_fraction(call.attributes, "momentum");
  const bool momentum = call.attributes.get<double>("momentum") != 0;
  if (call.attributes.get<bool>("nesterov") && !momentum)
    refuse_argument("nesterov needs a momentum above 0");
  return infer_step(call, sgd_lists(call.attributes), momentum ? 1 : 0);
}

std::vector<ValueType> infer_adam(const InferCall& call) {
  expect_fraction(call.attributes, "beta1");
  expect_fraction(call.attributes, "beta2");
  return infer_step(call, adam_lists(call.attributes), 2);
}

std::vector<ValueType> infer_global_norm(const InferCall& call) {
  if (call.inputs.empty()) refuse_argument("there is no tensor to take the norm of");
  DType dtype = DType::float32;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    expect_float(("tensor " + std::to_string(i)).c_str(), operand(call, i));
    if (call.inputs[i]->dtype == DType::float64) dtype = DType::float64;
  }
  return {{dtype, Dims()}};
}

std::vector<ValueType> infer_clip(const InferCall& call) {
  const double max_norm = call.attributes.get<double>("max_norm");
  if (!(max_norm > 0)) refuse_argument("max_norm must be above 0, but got " + std::to_string(max_norm));
  std::vector<ValueType> results;
  const ValueType norm = infer_global_norm(call)[0];
  for (const ValueType* x : call.inputs) results.push_back(*x);
  results.push_back(norm);
  return results;
}

// ---- cost -------------------------------------------------------------------------------------

double parameter_elements(const CostCall& call, TensorLists at) {
  double n = 0;
  for (size_t i = 0; i < at.count; ++i) n += elements_of(*call.inputs[at.parameter(i)]);
  return n;
}

Cost cost_sgd(const CostCall& call) {
  const Attributes& a = call.attributes;
  const double flops = 2 + (a.get<double>("weight_decay") != 0 ? 2 : 0) +
                       (a.get<double>("momentum") != 0 ? 2 : 0) + (a.get<bool>("nesterov") ? 2 : 0);
  return streaming_cost(call, flops * parameter_elements(call, sgd_lists(a)));
}

// m 3, v 4, root, correction, epsilon, quotient, rate, difference: 13; decay 2.
Cost cost_adam(const CostCall& call) {
  const double flops = 13 + (call.attributes.get<double>("weight_decay") != 0 ? 2 : 0);
  return streaming_cost(call, flops * parameter_elements(call, adam_lists(call.attributes)));
}

double all_elements(const CostCall& call) {
  double n = 0;
  for (const ValueType* x : call.inputs) n += elements_of(*x);
  return n;
}
Cost cost_global_norm(const CostCall& call) { return streaming_cost(call, 2 * all_elements(call)); }
// The operands are read twice: the factor is known after the last of them.
Cost cost_clip(const CostCall& call) {
  Cost cost = streaming_cost(call, 3 * all_elements(call));
  for (const ValueType* x : call.inputs)
    cost.bytes += elements_of(*x) * static_cast<double>(size_of(x->dtype));
  return cost;
}

// ---- meaning in core ops ----------------------------------------------------------------------

// Gathers the results of one pointwise node per tensor: `kinds` each, into the order of the op's outputs.
std::vector<Value> by_kind(const std::vector<std::vector<Value>>& per_tensor) {
  std::vector<Value> results;
  for (size_t kind = 0; kind < per_tensor[0].size(); ++kind)
    for (const std::vector<Value>& tensor : per_tensor) results.push_back(tensor[kind]);
  return results;
}

std::vector<Value> decompose_sgd(const DecomposeCall& call) {
  const Attributes& attributes = call.node.attributes;
  const TensorLists at = sgd_lists(attributes);
  const double momentum = attributes.get<double>("momentum"), decay = attributes.get<double>("weight_decay");
  const bool nesterov = attributes.get<bool>("nesterov");
  std::vector<std::vector<Value>> results;
  for (size_t i = 0; i < at.count; ++i) {
    const Value p = call.inputs[at.parameter(i)];
    std::vector<Value> operands = {call.inputs[0], p, call.inputs[at.gradient(i)]};
    if (momentum != 0) operands.push_back(call.inputs[at.state(0, i)]);
    results.push_back(formula(operands, accumulation_dtype(p.dtype()), [&](const Scalars& in) {
      Scalar step = decay != 0 ? in[2] + in[1] * decay : in[2];
      Scalars out(1);
      if (momentum != 0) {
        const Scalar m = in[3] * momentum + step;
        step = nesterov ? step + m * momentum : m;
        out.push_back(m);
      }
      out[0] = (in[1] - in[0] * step).as(p.dtype());
      return out;
    }));
  }
  return by_kind(results);
}

// 1 - beta^step without cancellation: with y = -step * ln(beta), 1 - exp(-y) = 2 t / (1 + t), t = tanh(y /
// 2). (In float32 the difference itself would lose four digits of 1 - 0.999.)
Scalar bias_correction(Scalar step, double beta) {
  const Scalar t = tanh(step * (-std::log(beta) / 2));
  return 2.0 * t / (t + 1.0);
}

std::vector<Value> decompose_adams(const DecomposeCall& call, bool decoupled) {
  const Attributes& attributes = call.node.attributes;
  const TensorLists at = adam_lists(attributes);
  const double beta1 = attributes.get<double>("beta1"), beta2 = attributes.get<double>("beta2");
  const double epsilon = attributes.get<double>("epsilon"), decay = attributes.get<double>("weight_decay");
  // lr / (1 - beta1^step) and 1 / (1 - beta2^step), once per dtype and not per element.
  std::map<DType, std::vector<Value>> corrections;
  std::vector<std::vector<Value>> results;
  for (size_t i = 0; i < at.count; ++i) {
    const Value p = call.inputs[at.parameter(i)];
    const DType sums = accumulation_dtype(p.dtype());
    std::vector<Value>& correction = corrections[sums];
    if (correction.empty()) {
      correction = formula({call.inputs[0], call.inputs[1]}, sums, [&](const Scalars& in) {
        return Scalars{in[0] / bias_correction(in[1], beta1), 1.0 / bias_correction(in[1], beta2),
                       in[0] * decay};
      });
    }
    const std::array operands = {correction[0],
                                 correction[1],
                                 correction[2],
                                 p,
                                 call.inputs[at.gradient(i)],
                                 call.inputs[at.state(0, i)],
                                 call.inputs[at.state(1, i)]};
    results.push_back(formula(operands, sums, [&](const Scalars& in) {
      Scalar old = in[3], g = in[4];
      if (decay != 0 && decoupled) old = old - in[2] * old;
      if (decay != 0 && !decoupled) g = g + old * decay;
      const Scalar m = in[5] * beta1 + g * (1 - beta1), v = in[6] * beta2 + square(g) * (1 - beta2);
      return Scalars{(old - in[0] * m / (sqrt(v * in[1]) + epsilon)).as(p.dtype()), m, v};
    }));
  }
  return by_kind(results);
}
std::vector<Value> decompose_adam(const DecomposeCall& call) { return decompose_adams(call, false); }
std::vector<Value> decompose_adamw(const DecomposeCall& call) { return decompose_adams(call, true); }

std::vector<Value> decompose_global_norm(const DecomposeCall& call) {
  std::vector<Value> squares;
  DType dtype = DType::float32;
  for (const Value& x : call.inputs)
    if (x.dtype() == DType::float64) dtype = DType::float64;
  for (const Value& x : call.inputs) {
    std::vector<int64_t> axes(static_cast<size_t>(x.rank()));
    std::iota(axes.begin(), axes.end(), 0);
    const Value square_of = formula({x}, dtype, [](const Scalars& in) { return square(in[0]); });
    squares.push_back(reshape(axes.empty() ? square_of : sum(square_of, axes), Dims{1}));
  }
  const Value all = squares.size() == 1 ? squares[0] : concat(squares, 0);
  return {formula({sum(all)}, dtype, [](const Scalars& in) { return sqrt(in[0]); })};
}

std::vector<Value> decompose_clip(const DecomposeCall& call) {
  const double max_norm = call.node.attributes.get<double>("max_norm");
  const Value norm = global_norm(call.inputs);
  const Value factor = formula({norm}, norm.dtype(), [&](const Scalars& in) {
    const Scalar room = max_norm / (in[0] + 1e-6);
    return select(room > 1.0, 1.0, room);  // NaN stays
  });
  std::vector<Value> results;
  for (const Value& x : call.inputs) {
    results.push_back(formula({x, factor}, accumulation_dtype(x.dtype()),
                              [&](const Scalars& in) { return (in[0] * in[1]).as(x.dtype()); }));
  }
  results.push_back(norm);
  return results;
}

// ---- gradient ---------------------------------------------------------------------------------

// dx = dnorm * x / norm, and 0 at norm 0.
std::vector<Value> gradient_global_norm(const GradientCall& call) {
  std::vector<Value> gradients;
  for (const Value& x : call.inputs) {
    gradients.push_back(formula(
        {x, call.outputs[0], call.output_gradients[0]}, accumulation_dtype(x.dtype()),
        [&](const Scalars& in) { return select(in[1] == 0.0, 0.0, in[2] * in[0] / in[1]).as(x.dtype()); }));
  }
  return gradients;
}

// ---- schemas ----------------------------------------------------------------------------------

constexpr auto variadic = OperandDoc::Arity::variadic;
constexpr const char* not_differentiated = "an optimizer step is the end of a graph, not part of a loss";
const OperandDoc lr_doc = {"lr", "float32 or float64 []: the learning rate"};
const OperandDoc step_doc = {"step", "float32 or float64 []: 1 at the first step"};
const OperandDoc tensors_doc = {"x", "any floats", variadic};
const AttributeDoc count_doc = {"count", "int", nullptr, "how many parameters"};
const AttributeDoc decay_doc = {"weight_decay", "float", "0", "pull towards 0"};

double norm_depth(const CostCall& call) { return all_elements(call); }

const OpSchema& sgd_op() {
  static const auto* const op = new OpSchema{
      .name = "sgd",
      .family = "optimizer",
      .summary = "g += weight_decay * p; m = momentum * m + g; p -= lr * (nesterov ? g + momentum * m : m)",
      .inputs = {lr_doc,
                 {"tensors", "all parameters, all gradients, and with momentum all m (float32)", variadic}},
      .outputs = {{"tensors", "all parameters, and with momentum all m", variadic}},
      .attributes = {{"momentum", "float", "0", "share of m that stays; 0: there is no m"},
                     decay_doc,
                     {"nesterov", "bool", "false", "look ahead along m"},
                     count_doc},
      .infer = infer_sgd,
      .cost = cost_sgd,
      .no_gradient = not_differentiated,
      .decompose = decompose_sgd,
      .reference = reference_sgd,
      // Decay 2, momentum 2, look-ahead 2, step 2.
      .accuracy = {.c = 8, .magnitude = magnitude_sgd},
  };
  return *op;
}

const std::vector<AttributeDoc>& adam_attributes() {
  static const auto* const docs = new std::vector<AttributeDoc>{
      {"beta1", "float", "0.9", "share of m that stays"},
      {"beta2", "float", "0.999", "share of v that stays"},
      {"epsilon", "float", "1e-8", "added to the root of v"},
      decay_doc,
      count_doc,
  };
  return *docs;
}

OpSchema adam_like(const char* name, const char* summary) {
  return {
      .name = name,
      .family = "optimizer",
      .summary = summary,
      .inputs = {lr_doc,
                 step_doc,
                 {"tensors", "all parameters, all gradients, all m, all v (float32)", variadic}},
      .outputs = {{"tensors", "all parameters, all m, all v", variadic}},
      .attributes = adam_attributes(),
      .infer = infer_adam,
      .cost = cost_adam,
      .no_gradient = not_differentiated,
      // Corrections 4 each (1 - beta^step must not cancel), m 3, v 4 halved by the root, root, quotient,
      // rate, difference, decay 2: 16 at most.
      .accuracy = {.c = 16},
  };
}

const OpSchema& adam_op() {
  static const auto* const op = [] {
    auto* adam = new OpSchema(adam_like(
        "adam",
        "g += weight_decay * p; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2; "
        "p -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)"));
    adam->decompose = decompose_adam;
    adam->reference = reference_adam;
    adam->accuracy.magnitude = magnitude_adam;
    return adam;
  }();
  return *op;
}

const OpSchema& adamw_op() {
  static const auto* const op = [] {
    auto* adamw = new OpSchema(adam_like(
        "adamw",
        "p -= lr * weight_decay * p; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2; "
        "p -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)"));
    adamw->decompose = decompose_adamw;
    adamw->reference = reference_adamw;
    adamw->accuracy.magnitude = magnitude_adamw;
    return adamw;
  }();
  return *op;
}

const OpSchema& global_norm_op() {
  static const auto* const op = new OpSchema{
      .name = "global_norm",
      .family = "optimizer",
      .summary = "norm = sqrt(sum of the squares of every element of every tensor)",
      .inputs = {tensors_doc},
      .outputs = {{"norm", "float32 (float64 when a tensor is) []"}},
      .attributes = {},
      .infer = infer_global_norm,
      .cost = cost_global_norm,
      .gradient = gradient_global_norm,
      .decompose = decompose_global_norm,
      .reference = reference_global_norm,
      // Square, sum (both halved by the root), root.
      .accuracy = {.c = 3, .depth = norm_depth},
  };
  return *op;
}

const OpSchema& clip_by_global_norm_op() {
  static const auto* const op = new OpSchema{
      .name = "clip_by_global_norm",
      .family = "optimizer",
      .summary = "y = x * min(1, max_norm / (norm + 1e-6)); norm = global_norm of all x",
      .inputs = {tensors_doc},
      .outputs = {{"y", "like each x, then norm: float32 (float64 when a tensor is) []", variadic}},
      .attributes = {{"max_norm", "float", nullptr, "the norm that the results do not exceed; above 0"}},
      .infer = infer_clip,
      .cost = cost_clip,
      .no_gradient = "clip what gradients() returned, not what it differentiates",
      .decompose = decompose_clip,
      .reference = reference_clip_by_global_norm,
      // The norm 3, the sum with 1e-6, the quotient, the product.
      .accuracy = {.c = 6, .depth = norm_depth},
  };
  return *op;
}

// ---- builders ---------------------------------------------------------------------------------

std::vector<Value> joined(std::initializer_list<Value> head,
                          std::initializer_list<std::span<const Value>> lists) {
  std::vector<Value> all(head);
  for (const std::span<const Value>& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<Value> part(const std::vector<Value>& all, size_t begin, size_t count) {
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

AdamStep add_adam(const OpSchema& op, Value learning_rate, Value step, std::span<const Value> parameters,
                  std::span<const Value> gradients, std::span<const Value> m, std::span<const Value> v,
                  const AdamOptions& options) {
  const size_t n = parameters.size();
  const std::vector<Value> results =
      learning_rate.graph().add(op, joined({learning_rate, step}, {parameters, gradients, m, v}),
                                {{"beta1", options.beta1},
                                 {"beta2", options.beta2},
                                 {"epsilon", options.epsilon},
                                 {"weight_decay", options.weight_decay},
                                 {"count", static_cast<int64_t>(n)}});
  return {part(results, 0, n), part(results, n, n), part(results, 2 * n, n)};
}

}  // namespace

SgdStep sgd(Value learning_rate, std::span<const Value> parameters, std::span<const Value> gradients,
            std::span<const Value> momenta, const SgdOptions& options) {
  const size_t n = parameters.size();
  const std::vector<Value> results =
      learning_rate.graph().add(sgd_op(), joined({learning_rate}, {parameters, gradients, momenta}),
                                {{"momentum", options.momentum},
                                 {"weight_decay", options.weight_decay},
                                 {"nesterov", options.nesterov},
                                 {"count", static_cast<int64_t>(n)}});
  return {part(results, 0, n), part(results, n, results.size() - n)};
}

AdamStep adam(Value learning_rate, Value step, std::span<const Value> parameters,
              std::span<const Value> gradients, std::span<const Value> m, std::span<const Value> v,
              const AdamOptions& options) {
  return add_adam(adam_op(), learning_rate, step, parameters, gradients, m, v, options);
}

AdamStep adamw(Value learning_rate, Value step, std::span<const Value> parameters,
               std::span<const Value> gradients, std::span<const Value> m, std::span<const Value> v,
               const AdamOptions& options) {
  return add_adam(adamw_op(), learning_rate, step, parameters, gradients, m, v, options);
}

Value global_norm(std::span<const Value> tensors) {
  if (tensors.empty()) refuse_argument("global_norm: there is no tensor to take the norm of");
  return tensors[0].graph().add(global_norm_op(), tensors)[0];
}

Clipped clip_by_global_norm(std::span<const Value> tensors, double max_norm) {
  if (tensors.empty()) refuse_argument("clip_by_global_norm: there is no tensor to clip");
  std::vector<Value> results =
      tensors[0].graph().add(clip_by_global_norm_op(), tensors, {{"max_norm", max_norm}});
  const Value norm = results.back();
  results.pop_back();
  return {std::move(results), norm};
}

OpList optimizer_ops() {
  static const OpSchema* const ops[] = {&sgd_op(), &adam_op(), &adamw_op(), &global_norm_op(),
                                        &clip_by_global_norm_op()};
  return ops;
}

}  // namespace heddle
