// One step of an optimizer over a list of tensors, as one node. `minimize` (heddle/optimizer.h) is the usual
// way to use these. Per tensor: parameter p and gradient g of one shape, any float dtypes; state m, v like p
// but float32 (float64 for float64 p), which is also what the step is computed in. The learning rate and the
// step number are values of rank 0, float32 or float64. Every function throws Error (dtype_mismatch,
// shape_mismatch, invalid_argument) naming the op and the operands.
#pragma once

#include <span>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

struct SgdOptions {
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
};
struct SgdStep {
  std::vector<Value> parameters, momenta;
};
// g += weight_decay * p; m = momentum * m + g; p -= learning_rate * (nesterov ? g + momentum * m : m).
// `momenta` is empty when momentum is 0: then p -= learning_rate * g.
SgdStep sgd(Value learning_rate, std::span<const Value> parameters, std::span<const Value> gradients,
            std::span<const Value> momenta, const SgdOptions& options = {});

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};
struct AdamStep {
  std::vector<Value> parameters, m, v;
};
// g += weight_decay * p; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
// p -= learning_rate * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon). `step` is 1 at the
// first step (Kingma, Ba: Adam, 2015).
AdamStep adam(Value learning_rate, Value step, std::span<const Value> parameters,
              std::span<const Value> gradients, std::span<const Value> m, std::span<const Value> v,
              const AdamOptions& options = {});
// The same with decoupled decay: p -= learning_rate * weight_decay * p first, g stays (Loshchilov, Hutter:
// Decoupled Weight Decay Regularization, 2019).
AdamStep adamw(Value learning_rate, Value step, std::span<const Value> parameters,
               std::span<const Value> gradients, std::span<const Value> m, std::span<const Value> v,
               const AdamOptions& options = {});

// sqrt of the sum of the squares of every element of every tensor: float32 (float64 when one of them is),
// rank 0. Its gradient at 0 is 0.
Value global_norm(std::span<const Value> tensors);

struct Clipped {
  std::vector<Value> tensors;
  Value norm;  // before clipping
};
// y = x * min(1, max_norm / (norm + 1e-6)) with norm = global_norm of all; a NaN norm makes everything NaN.
Clipped clip_by_global_norm(std::span<const Value> tensors, double max_norm);

}  // namespace heddle
