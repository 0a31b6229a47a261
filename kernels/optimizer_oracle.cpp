#include "kernels/optimizer_oracle.h"

#include <cmath>

#include "kernels/reference_math.h"

namespace heddle {
namespace {

using reference::reals;

void sgd_tensor(const ReferenceCall& call, size_t i, bool magnitude) {
  const TensorLists at = sgd_lists(call.attributes);
  const double momentum = call.attributes.get<double>("momentum");
  const double decay = call.attributes.get<double>("weight_decay");
  const bool nesterov = call.attributes.get<bool>("nesterov");
  const double rate = call.inputs[0].at(0);
  std::vector<double> p = reals(call.inputs[at.parameter(i)]), g = reals(call.inputs[at.gradient(i)]);
  std::vector<double> m = momentum != 0 ? reals(call.inputs[at.state(0, i)]) : std::vector<double>();
  // The magnitude: the same sums with every term positive.
  const double sign = magnitude ? 1 : -1;
  if (magnitude) {
    for (std::vector<double>* v : {&p, &g, &m})
      for (double& e : *v) e = std::fabs(e);
  }
  for (size_t e = 0; e < p.size(); ++e) {
    double step = decay == 0 ? g[e] : g[e] + decay * p[e];
    if (momentum != 0) {
      m[e] = momentum * m[e] + step;
      step = nesterov ? step + momentum * m[e] : m[e];
    }
    p[e] += sign * rate * step;
  }
  reference::store(call.outputs[i], p);
  if (momentum != 0) reference::store(call.outputs[at.count + i], m);
}

void adam_tensor(const ReferenceCall& call, size_t i, bool decoupled, bool magnitude) {
  const Attributes& attributes = call.attributes;
  const TensorLists at = adam_lists(attributes);
  const double beta1 = attributes.get<double>("beta1"), beta2 = attributes.get<double>("beta2");
  const double epsilon = attributes.get<double>("epsilon"), decay = attributes.get<double>("weight_decay");
  const double rate = call.inputs[0].at(0), step = call.inputs[1].at(0);
  const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
  std::vector<double> p = reals(call.inputs[at.parameter(i)]), g = reals(call.inputs[at.gradient(i)]);
  std::vector<double> m = reals(call.inputs[at.state(0, i)]), v = reals(call.inputs[at.state(1, i)]);
  for (size_t e = 0; e < p.size(); ++e) {
    const bool coupled = decay != 0 && !decoupled;
    const double grad = coupled ? g[e] + decay * p[e] : g[e];
    const double grad_size = std::fabs(g[e]) + (coupled ? std::fabs(decay * p[e]) : 0);
    const double m_size = beta1 * std::fabs(m[e]) + (1 - beta1) * grad_size;
    const double v_size = beta2 * std::fabs(v[e]) + (1 - beta2) * grad_size * grad_size;
    m[e] = beta1 * m[e] + (1 - beta1) * grad;
    v[e] = beta2 * v[e] + (1 - beta2) * grad * grad;
    const double shrink = decay != 0 && decoupled ? rate * decay * p[e] : 0;
    const double root = std::sqrt(v[e] / correction2), bottom = root + epsilon;
    if (!magnitude) {
      p[e] = p[e] - shrink - rate * (m[e] / correction1) / bottom;
      continue;
    }
    // A quotient's error: that of its top, and that of its bottom times top / bottom^2; a root halves its
    // operand's.
    const double bottom_size = bottom + (root > 0 ? v_size / correction2 / (2 * root) : 0);
    const double quotient =
        m_size / correction1 / bottom + std::fabs(m[e]) / correction1 * bottom_size / (bottom * bottom);
    p[e] = std::fabs(p[e]) + std::fabs(shrink) + std::fabs(rate) * quotient;
    m[e] = m_size;
    v[e] = v_size;
  }
  reference::store(call.outputs[i], p);
  reference::store(call.outputs[at.count + i], m);
  reference::store(call.outputs[2 * at.count + i], v);
}

double norm_of(std::span<const Tensor> tensors) {
  double squares = 0;
  for (const Tensor& t : tensors)
    for (const double e : reals(t)) squares += e * e;
  return std::sqrt(squares);
}

size_t count_of(const ReferenceCall& call) {
  return static_cast<size_t>(call.attributes.get<int64_t>("count"));
}

}  // namespace

TensorLists sgd_lists(const Attributes& attributes) {
  return {.head = 1, .count = static_cast<size_t>(attributes.get<int64_t>("count"))};
}
TensorLists adam_lists(const Attributes& attributes) {
  return {.head = 2, .count = static_cast<size_t>(attributes.get<int64_t>("count"))};
}

void reference_sgd(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) sgd_tensor(call, i, false);
}
void magnitude_sgd(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) sgd_tensor(call, i, true);
}
void reference_adam(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) adam_tensor(call, i, false, false);
}
void magnitude_adam(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) adam_tensor(call, i, false, true);
}
void reference_adamw(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) adam_tensor(call, i, true, false);
}
void magnitude_adamw(const ReferenceCall& call) {
  for (size_t i = 0; i < count_of(call); ++i) adam_tensor(call, i, true, true);
}

void reference_global_norm(const ReferenceCall& call) {
  reference::store(call.outputs[0], std::vector<double>{norm_of(call.inputs)});
}

void reference_clip_by_global_norm(const ReferenceCall& call) {
  const double norm = norm_of(call.inputs), room = call.attributes.get<double>("max_norm") / (norm + 1e-6);
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    std::vector<double> x = reals(call.inputs[i]);
    for (double& e : x) e *= room > 1 ? 1 : room;  // NaN stays
    reference::store(call.outputs[i], x);
  }
  reference::store(call.outputs.back(), std::vector<double>{norm});
}

}  // namespace heddle
