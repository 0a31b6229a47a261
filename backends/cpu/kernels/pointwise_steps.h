// One step of a pointwise program over a block of elements, per instruction set.
#pragma once

#include <cstdint>

#include "cpu/kernels/pointwise.h"
#include "heddle/dtype.h"

namespace heddle::cpu {

// out[i] = step(a[i], b[i], c[i]) for i < n; bools are 0 and 1.
void run_step(ScalarOp op, const float* a, const float* b, const float* c, float* out, int64_t n);
void run_step(ScalarOp op, const double* a, const double* b, const double* c, double* out, int64_t n);

// Elements of `dtype` to lanes and back, `n` of them; sixteen-bit floats round to nearest even, bools are 0
// and 1.
void load_elements(DType dtype, const void* from, float* to, int64_t n);
void store_elements(DType dtype, const float* from, void* to, int64_t n);
void load_elements(DType dtype, const void* from, double* to, int64_t n);
void store_elements(DType dtype, const double* from, void* to, int64_t n);

}  // namespace heddle::cpu
