// Kernels on one row of at most row_max elements, compiled for several instruction sets and chosen once.
//
// A row holds 32-bit "registers": float32, or int32/uint32 for the integer arithmetic of GpSimd. Loaders
// bring elements of any dtype and stride into registers, storers write them back, as the `convert` op
// converts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heddle/systolic/operation.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

inline constexpr size_t row_max = 1024;

// out[i] = f(a[i], b[i], c[i]); operands a kernel does not have are ignored. out may be a, b or c. Returns a
// fault when an argument lies outside a checked range.
using RowKernel = Fault (*)(void* out, const void* a, const void* b, const void* c, size_t n);

// Which operands of a binary operator are one element for the whole row.
enum class Form : uint8_t { vector_vector, vector_scalar, scalar_vector };
enum class Arithmetic : uint8_t { float32, int32, uint32 };

RowKernel binary_kernel(AluOp op, Form form, Arithmetic arithmetic);
// out = a*b + c, rounded twice; b and c one element.
RowKernel scale_bias_kernel();
// `checked`: faults outside function_range(f). b is alpha, one element.
RowKernel function_kernel(Function f, bool checked);
// out = b != 0 ? a : c; with the registers of any arithmetic. c a vector or one element.
RowKernel select_kernel(bool c_is_scalar);

using RowLoader = void (*)(void* registers, const std::byte* from, int64_t stride, size_t n);
using RowStorer = void (*)(std::byte* to, int64_t stride, const void* registers, size_t n);
RowLoader row_loader(DType dtype, bool dense, Arithmetic arithmetic);
RowStorer row_storer(DType dtype, bool dense, Arithmetic arithmetic);
// Whether elements of the dtype are registers as they lie in memory.
bool is_register(DType dtype, Arithmetic arithmetic);

// A reduction keeps 32 partial results: element i of the row goes to partial i % 32. Rows of one reduction
// follow each other at multiples of 32 elements, except the last. `finish` combines them in a fixed tree: the
// result does not depend on the instruction set.
inline constexpr size_t partial_count = 32;
struct Reduction {
  float identity;
  void (*row)(float* partial, const float* a, size_t n);
  float (*finish)(const float* partial);
  float (*whole)(const float* a, size_t n);  // the same for a row that is all there is
};
Reduction reduction(AluOp op);  // add, multiply, maximum, minimum

}  // namespace heddle::systolic
