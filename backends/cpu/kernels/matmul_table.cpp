#include "cpu/kernels/matmul_table.h"

#include <algorithm>
#include <limits>

#include "cpu/kernels/matmul_own.h"
#include "cpu/onednn.h"
#include "cpu/openblas.h"

namespace heddle::cpu {
namespace {

bool openblas_takes(const MatmulShape& s) {
  constexpr int64_t largest = std::numeric_limits<int>::max();
  return (s.dtype == DType::float32 || s.dtype == DType::float64) && s.m <= largest && s.n <= largest &&
         s.k <= largest;
}

}  // namespace

const MatmulLibraries& matmul_libraries() {
  static const MatmulLibraries libraries{!onednn::version().empty(), openblas::status().available};
  return libraries;
}

Threads matmul_threads(const MatmulShape& s, Threads threads) {
  const double batches = static_cast<double>(s.batches());
  const double bytes =
      batches * static_cast<double>(size_of(s.dtype)) * static_cast<double>(s.m * s.k + s.k * s.n);
  // Some 80 microseconds of one thread's work for each thread: with less, a thread that another program has
  // taken off its core costs more than it brings.
  const double worth = std::max(s.flops() / 16e6, bytes / 4e6);
  return {static_cast<int>(std::clamp(worth, 1.0, static_cast<double>(threads.count)))};
}

// Measured on a Zen 5 core with AVX-512 (FMA peak 250 GF/s float32, 500 bfloat16), oneDNN 2.6 and OpenBLAS
// 0.3.21 with its SkylakeX kernels; GF/s with one thread.
//
//   float32, M = 1, 4096 x 4096   oneDNN 5, OpenBLAS 5, streamed b 9 and more: bound by memory either way
//   float32, 64 cubed             oneDNN 193, OpenBLAS 225, tiled 205, and no library call
//   float32, 256 cubed            oneDNN 243, OpenBLAS 225, tiled 242
//   float32, 512 cubed            oneDNN 216, OpenBLAS 200, tiled 218
//   float32, 1024, 2048 cubed     oneDNN 205, 185; OpenBLAS 215, 220; tiled 200, 190
//     b transposed                oneDNN 177, 216; OpenBLAS 195, 223; with two threads 419, 424 and 419, 390
//     a transposed                oneDNN 140, 163; OpenBLAS 167, 221; with two threads 393, 361 and 427, 399
//   bfloat16, 64 .. 2048 cubed    oneDNN 340 .. 470; tiled 150 .. 210: it multiplies in float32
//   float64                       OpenBLAS 90 .. 95
MatmulKind choose_matmul(const MatmulShape& s, Threads threads, Isa isa, const MatmulLibraries& libraries) {
  if (s.m == 0 || s.n == 0 || s.batches() == 0) return MatmulKind::nothing;
  if (s.k == 0) return MatmulKind::zero;
  if (s.dtype == DType::int8) return MatmulKind::integer;

  // Few rows: reading b is the work.
  if (streamed_matmul_takes(s)) return MatmulKind::streamed;
  if (dot_matmul_takes(s)) return MatmulKind::dot;

  const double one = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  constexpr double cube_64 = 2.0 * 64 * 64 * 64;
  switch (s.dtype) {
    case DType::float32: {
      if (one <= cube_64) return MatmulKind::tiled;
      constexpr double cube_768 = 2.0 * 768 * 768 * 768;
      const bool onednn_shares_well = s.transpose_b && !s.transpose_a && threads.count > 1;
      if (libraries.openblas && s.batches() == 1 && one > cube_768 && !onednn_shares_well &&
          openblas_takes(s))
        return MatmulKind::openblas;
      if (libraries.onednn) return MatmulKind::onednn;
      return MatmulKind::tiled;
    }
    case DType::bfloat16:
      // Without the bfloat16 instructions oneDNN emulates them, or falls back to its reference.
      if (libraries.onednn && isa == Isa::avx512_bf16) return MatmulKind::onednn;
      return MatmulKind::tiled;
    case DType::float64:
      if (libraries.openblas && one > cube_64 && openblas_takes(s)) return MatmulKind::openblas;
      return MatmulKind::tiled;
    default:
      return MatmulKind::tiled;
  }
}

}  // namespace heddle::cpu
