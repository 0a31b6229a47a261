// cross_entropy of logits against class numbers, and its gradient.
//
//   lse_i = log(sum_c exp(logits_ic)), loss_i = lse_i - logits_i[target_i]
//   dlogits_ic = (exp(logits_ic - lse_i) - (c == target_i)) * dloss_i
//
// A target equal to ignore_index gives loss 0 and gradient 0; any other target outside [0, classes) gives
// NaN. logits, dlogits: float64, float32, bfloat16, float16. targets: any integer dtype. loss, lse, dloss:
// float32 (float64 for float64). One pass over memory: a row is read once and stays in cache. Threads: called
// from the thread that may start parallel loops (threads.h). The same bits at any thread count.
#pragma once

#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

struct LossRows {
  DType dtype, target_dtype;
  int64_t rows, classes;
  int64_t ignore_index = -100;
};

void cross_entropy(const LossRows& r, Threads threads, const void* logits, const void* targets, void* loss,
                   void* lse);
void cross_entropy_grad(const LossRows& r, Threads threads, const void* dloss, const void* logits,
                        const void* targets, const void* lse, void* dlogits);

}  // namespace heddle::cpu
