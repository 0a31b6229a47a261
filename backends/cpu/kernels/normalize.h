// layer_norm and rms_norm over the last axis, and their gradients.
//
//   layer_norm: y = (x - mean) * rstd * scale + bias        mean = sum(x)/D, rstd = 1/sqrt(sum((x -
//   mean)^2)/D + epsilon) rms_norm:   y = x * rstd * scale                        rstd = 1/sqrt(sum(x^2)/D +
//   epsilon) gradients, with n = (x - mean) * rstd and g = dy * scale (rms_norm: mean = 0, and no mean(g)):
//     dx = rstd * (g - mean(g) - n * mean(g * n)), dscale = sum over rows of dy * n, dbias = sum over rows of
//     dy
//
// x, y, dy, dx: float64, float32, bfloat16 or float16. scale, bias and their gradients: weight_dtype, which
// is x's or float32 (float64 for float64). mean, rstd: float32 (float64 for float64). One pass over memory: a
// row is read once and stays in cache. y may be x, dx may be dy. Threads: called from the thread that may
// start parallel loops (threads.h). The same bits at one thread count; up to 16 threads, at any.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/threads.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

struct NormRows {
  DType dtype, weight_dtype;
  int64_t rows, length;
  double epsilon = 0;  // not read by the gradients
};

void layer_norm(const NormRows& n, Threads threads, const void* x, const void* scale, const void* bias,
                void* y, void* mean, void* rstd);
void rms_norm(const NormRows& n, Threads threads, const void* x, const void* scale, void* y, void* rstd);

// Of the gradients: sums of dscale and dbias per group of rows. 64-byte aligned.
size_t norm_grad_scratch_bytes(const NormRows& n, Threads threads);
void layer_norm_grad(const NormRows& n, Threads threads, const void* dy, const void* x, const void* scale,
                     const void* mean, const void* rstd, void* dx, void* dscale, void* dbias, void* scratch);
void rms_norm_grad(const NormRows& n, Threads threads, const void* dy, const void* x, const void* scale,
                   const void* rstd, void* dx, void* dscale, void* scratch);

}  // namespace heddle::cpu
