// Optimizer steps and gradient clipping over many tensors in one call.
//
//   sgd:   g += weight_decay * p; m = momentum * m + g; p -= lr * (nesterov ? g + momentum * m : m)
//   adam:  g += weight_decay * p; adamw (decoupled): p -= lr * weight_decay * p first
//          m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g * g
//          p -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon)
//   global_norm: sqrt(sum of squares of all elements)      clip: y = x * min(1, max_norm / (norm + 1e-6))
//
// p: float64, float32, bfloat16 or float16; g: any of these, whatever p is; states: float32 (float64 for
// float64 p). The arithmetic is float32 (float64 for float64 p), squares of the norm are summed in float64.
// One pass over memory; every result may be the operand of its name (in place). Tensors of any number and
// size are dealt to the threads as one line of elements. Threads: called from the thread that may start
// parallel loops (threads.h). The same bits at any thread count. Nothing is allocated.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// A rank-0 operand in float32 or float64, read when the step runs.
struct ScalarOperand {
  DType dtype;
  const void* data;
  double value() const {
    return dtype == DType::float64 ? *static_cast<const double*>(data) : *static_cast<const float*>(data);
  }
};

// One parameter with its gradient and states, before and after. sgd uses m when momentum is not 0, and never
// v.
struct ParameterTensor {
  DType dtype, gradient_dtype;
  int64_t elements;
  const void *p, *g, *m, *v;
  void *p_out, *m_out, *v_out;
};

struct SgdRule {
  double momentum = 0, weight_decay = 0;
  bool nesterov = false;
};
void sgd(const SgdRule& rule, Threads threads, ScalarOperand lr, std::span<const ParameterTensor> tensors);

struct AdamRule {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  bool decoupled = false;  // adamw
};
// step is 1 for the first update.
void adam(const AdamRule& rule, Threads threads, ScalarOperand lr, ScalarOperand step,
          std::span<const ParameterTensor> tensors);

// A tensor of any of the four float dtypes; y is written by clipping alone.
struct NormTensor {
  DType dtype;
  int64_t elements;
  const void* x;
  void* y;
};
// norm: one float32 or float64.
void global_norm(Threads threads, std::span<const NormTensor> tensors, DType norm_dtype, void* norm);
void clip_by_global_norm(double max_norm, Threads threads, std::span<const NormTensor> tensors,
                         DType norm_dtype, void* norm);

}  // namespace heddle::cpu
