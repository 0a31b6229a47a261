// The own matmul kernels, for any processor. matmul.h says what they compute. They check nothing: shapes have
// no zero size, and each function says what else it takes. The bits of y do not depend on the thread count.
#pragma once

#include <cstdint>

#include "cpu/kernels/matmul.h"

namespace heddle::cpu {

// Where the operands of one call are.
struct MatmulPointers {
  const void* a;
  const void* b;
  void* y;
  void* scratch;
};

// Any float shape: tiles of y in registers, operands packed into panels where that pays.
uint64_t tiled_matmul_scratch(const MatmulShape& shape, Threads threads);
void tiled_matmul(const MatmulShape& shape, Threads threads, const MatmulPointers& at,
                  const MatmulEpilogue& epilogue);

// Float shapes with few rows, b not transposed: b is streamed once, row after row. Also matrix times vector
// (N = 1) with a transposed.
bool streamed_matmul_takes(const MatmulShape& shape);
uint64_t streamed_matmul_scratch(const MatmulShape& shape, Threads threads);
void streamed_matmul(const MatmulShape& shape, Threads threads, const MatmulPointers& at,
                     const MatmulEpilogue& epilogue);

// Float shapes with few rows, b transposed: dot products of rows of a and b. Also matrix times vector with a
// not transposed.
bool dot_matmul_takes(const MatmulShape& shape);
uint64_t dot_matmul_scratch(const MatmulShape& shape, Threads threads);
void dot_matmul(const MatmulShape& shape, Threads threads, const MatmulPointers& at,
                const MatmulEpilogue& epilogue);

// int8.
uint64_t integer_matmul_scratch(const MatmulShape& shape, Threads threads);
void integer_matmul(const MatmulShape& shape, Threads threads, const MatmulPointers& at,
                    const MatmulEpilogue& epilogue);

}  // namespace heddle::cpu
