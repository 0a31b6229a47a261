// softmax, log_softmax and softmax_grad along one axis.
//
//   softmax:      y = exp(x - max) / sum(exp(x - max))     log_softmax:  y = x - max - log(sum(exp(x - max)))
//   softmax_grad: dx = y * (dy - sum(y * dy))
//
// float64, float32, bfloat16, float16; the arithmetic is float32 (float64 for float64). A line of minus
// infinities gives NaN. x and y may be the same memory, and so may dx and y or dy. Threads: called from the
// thread that may start parallel loops (threads.h). The same bits at any thread count.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// A dense tensor as [outer, length, inner], `length` being the axis.
struct SoftmaxLines {
  DType dtype;
  int64_t outer, length, inner;
};

void softmax(const SoftmaxLines& lines, Threads threads, const void* x, void* y);
void log_softmax(const SoftmaxLines& lines, Threads threads, const void* x, void* y);
void softmax_grad(const SoftmaxLines& lines, Threads threads, const void* y, const void* dy, void* dx);

}  // namespace heddle::cpu
