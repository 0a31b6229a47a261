// Matrix multiplication: y = a' @ b', over batches.
//
//   y[..., i, j] = sum over p of a'[..., i, p] * b'[..., p, j]
//
// a' is a [..., M, K], or a [..., K, M] with transpose_a; b' is b [..., K, N], or b [..., N, K] with
// transpose_b. Everything is dense and row-major. float64, float32, bfloat16, float16 give y of the same
// dtype, summed in float64 (float64) or float32 (the others) and rounded once; int8 gives int32, exactly
// (modulo 2^32). K = 0 gives zeros. Batch dimensions broadcast as in NumPy.
//
// Steps: matmul_shape() checks and normalises, matmul_table.h chooses an implementation, Matmul prepares it,
// and run() computes. Same plan, same bits.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "cpu/threads.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

namespace onednn {
class MatmulPrimitive;
}

// One multiplication. Batch dimensions are merged where they can be, and folded into M where that is the same
// (all batches share b, and a is not transposed).
struct MatmulShape {
  DType dtype = DType::float32;      // of a and b
  DType out_dtype = DType::float32;  // of y
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int batch_rank = 0;
  std::array<int64_t, max_rank> batch{};   // outermost first; y is dense over it
  std::array<int64_t, max_rank> a_step{};  // matrices of a from one index to the next; 0 where a is broadcast
  std::array<int64_t, max_rank> b_step{};

  int64_t batches() const;
  double flops() const;  // 2 M N K per batch
};

// Throws dtype_mismatch (a dtype that is not listed above) and shape_mismatch, naming both shapes.
MatmulShape matmul_shape(DType dtype, const Shape& a, const Shape& b, bool transpose_a, bool transpose_b);

// The matrices of a and b that batch `index` of y multiplies.
struct MatmulOperands {
  int64_t a = 0, b = 0;
};
MatmulOperands matmul_operands(const MatmulShape& shape, int64_t index);

enum class MatmulKind : uint8_t {
  nothing,   // y is empty
  zero,      // K = 0
  tiled,     // own kernels: any float shape,
  streamed,  //   few rows times b,
  dot,       //   few rows times a transposed b,
  integer,   //   int8
  onednn,
  openblas,
};

// What will run, as the table chose it.
struct MatmulPlan {
  MatmulKind kind = MatmulKind::nothing;
  Threads threads;             // that it uses; 1 when the work is too small to share
  const char* name = "";       // "cpu.matmul.onednn"
  uint64_t scratch_bytes = 0;  // that run() needs, 64-byte aligned
};

// Called after a block of y is complete, from any of the threads, several at once, each element in one block
// exactly once: rows [row, row + rows) of the batches stacked on top of each other, columns [column, column +
// columns).
struct MatmulEpilogue {
  void (*run)(void* context, int64_t row, int64_t rows, int64_t column, int64_t columns) = nullptr;
  void* context = nullptr;
};

// A prepared multiplication. Preparation may allocate, generate code and take milliseconds; run() does none
// of this.
class Matmul {
 public:
  // By the table, for this machine.
  Matmul(const MatmulShape& shape, Threads threads);
  // As asked, for tests, benchmarks and tuning. Throws unsupported with the reason when `kind` cannot.
  Matmul(const MatmulShape& shape, Threads threads, MatmulKind kind);
  ~Matmul();
  Matmul(Matmul&&) noexcept;
  Matmul& operator=(Matmul&&) noexcept;

  const MatmulShape& shape() const { return shape_; }
  const MatmulPlan& plan() const { return plan_; }

  // Computes y. Nothing overlaps y. One call at a time for each Matmul; parallel loops start from the caller.
  // Allocates nothing itself; oneDNN and OpenBLAS may. Throws device when a library fails.
  void run(const void* a, const void* b, void* y, void* scratch, const MatmulEpilogue& epilogue = {});

 private:
  MatmulShape shape_;
  MatmulPlan plan_;
  std::unique_ptr<onednn::MatmulPrimitive> primitive_;
};

}  // namespace heddle::cpu
