// Training: adds the backward pass, an optimizer step and the updates of every parameter to a graph, so that
// one run is one step.
//
//   heddle::Value loss = heddle::cross_entropy(logits, labels);
//   heddle::minimize(loss, heddle::AdamW{.learning_rate = heddle::schedule::warmup_cosine(3e-4, 100, 10000),
//                                        .weight_decay = 0.1},
//                    {.max_grad_norm = 1});
//
// State lives in variables beside the parameters ("w.adam_m"), so checkpoints hold it. Threads: one at a time
// per graph. Everything throws heddle::Error (invalid_argument, dtype_mismatch, shape_mismatch, unsupported).
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

// A learning rate as a value of the graph, made from the number of the update: rank 0, 1 at the first update,
// float32 (float64 when a parameter is float64). The result has the dtype of the step.
using Schedule = std::function<Value(Value step)>;

// Rates of update t = 1, 2, ...; step counts may be fractions of runs only when gradients accumulate.
namespace schedule {
// rate
Schedule constant(double rate);
// Rises as peak * t / warmup until t = warmup, then falls to `last` along half a cosine until t = total, and
// stays.
Schedule warmup_cosine(double peak, int64_t warmup, int64_t total, double last = 0);
// The same with a straight line down.
Schedule warmup_linear(double peak, int64_t warmup, int64_t total, double last = 0);
// rate * factor^floor((t - 1) / every)
Schedule step_decay(double rate, double factor, int64_t every);
}  // namespace schedule

// A number or a schedule.
class LearningRate {
 public:
  LearningRate(double rate) : schedule_(schedule::constant(rate)) {}           // NOLINT: a number is a rate
  LearningRate(Schedule rate_of_step) : schedule_(std::move(rate_of_step)) {}  // NOLINT: so is a schedule
  template <std::invocable<Value> F>
  LearningRate(F rate_of_step) : schedule_(std::move(rate_of_step)) {}  // NOLINT
  // Throws invalid_argument for an empty schedule.
  Value at(Value step) const;

 private:
  Schedule schedule_;
};

// The equations are in heddle/ops/optimizer.h.
struct Sgd {
  LearningRate learning_rate = 0.01;
  double momentum = 0;  // with momentum, state "<parameter>.momentum"
  double weight_decay = 0;
  bool nesterov = false;
};
// State "<parameter>.adam_m" and "<parameter>.adam_v".
struct Adam {
  LearningRate learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  // added to the gradient
};
struct AdamW {
  LearningRate learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  // decoupled: taken from the parameter
};
using Optimizer = std::variant<Sgd, Adam, AdamW>;

using NamePredicate = std::function<bool(const std::string& variable)>;

// Parameters that are treated otherwise: biases and norms without decay, say.
struct ParameterGroup {
  NamePredicate matches = {};
  std::optional<double> weight_decay = {};  // instead of the optimizer's
  double learning_rate_scale = 1;
};

struct MinimizeOptions {
  std::vector<ParameterGroup> groups = {};  // the first that matches a parameter counts
  NamePredicate frozen = {};                // variables that stay as they are
  double max_grad_norm = 0;  // above 0: gradients are scaled so that their global norm does not exceed it
  // Above 1: gradients of this many runs are averaged before one step is taken. Every run adds gradient /
  // accumulate to the variable "<parameter>.grad_sum" and computes the step; select keeps the old parameters
  // and state in all runs but each accumulate-th, whose step is taken and whose sum starts again at 0.
  // "<name>.micro_step" counts.
  int64_t accumulate = 1;
  // bfloat16, float16 and float8 parameters are stepped in float32: "<parameter>.master" holds the exact
  // value, and the parameter is its rounding. Until the first step is taken the master is the parameter, so
  // that a model may be loaded into the parameters alone.
  bool master_weights = false;
  // Prefix of the nodes, and of the variable "<name>.step": the number of updates so far, float32, exact up
  // to 2^24, where it stops.
  std::string name = "optimizer";
};

struct Minimized {
  std::vector<std::string> parameters;  // the variables that are trained
  Value step;                           // number of this update, 1 at the first
  Value learning_rate;                  // of this update
  Value gradient_norm;  // before clipping; no value unless max_grad_norm is above 0. While gradients
                        // accumulate: of the average so far
};

// Trains every float variable that the loss depends on, that is not frozen, and that has no update yet.
// `loss` is a float of rank 0. One optimizer node serves all parameters with the same weight decay and
// learning rate. Throws invalid_argument when there is nothing to train, unsupported where a gradient is not
// defined.
Minimized minimize(Value loss, const Optimizer& optimizer, const MinimizeOptions& options = {});

}  // namespace heddle
