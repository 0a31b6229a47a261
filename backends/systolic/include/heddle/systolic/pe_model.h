// Closed forms of a matrix product's time on a weight-stationary array, for comparison with other simulators.
//
// c[M, N] = a[M, K] b[K, N] on an array of R rows (the contraction) and C columns. The K x N operand is
// stationary, in tiles of R x C: folds = ceil(K/R) * ceil(N/C). Cycles are of the array's clock, for one
// pass; float32 takes `passes` of them (device file, pe.passes_fp32).
//
//   scalesim  folds * (2R + C + M - 2) - 1
//             SCALE-Sim v2 (Samajdar et al., ISPASS 2020), weight stationary, operands resident: each fold
//             loads R rows of weights, streams M rows, fills and drains, and no two folds overlap.
//   overlap   (2R - 1) + (F - 1) * max(T, R) + (R + C - 2) + max(T_last, 4), F = folds * ceil(M/R)
//             M in blocks of at most R rows: all but the last have T = R, the last T_last. The next weights
//             are loaded behind the rows that stream, so only the first load and the last drain are exposed.
//   trn       sum over tiles of max(min(min_interval, N_tile), M_tile), M in tiles of moving_max
//             the documented issue intervals of nc_matmul (aws-neuron-sdk v2.26.1, nki.isa): loading and
//             drain hide behind the multiply before.
//
// Throws Error (invalid_argument) for sizes below 1 or so large that cycles leave 64 bits.
#pragma once

#include <cstdint>

#include "heddle/dtype.h"
#include "heddle/systolic/description.h"

namespace heddle::systolic {

enum class PeModel : uint8_t { trn, overlap, scalesim };

struct Gemm {
  int64_t m = 1, n = 1, k = 1;
  double macs() const { return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

// Passes of one product over the array: float32 pe.passes_fp32, float8 pe.passes_fp8, 16-bit floats 1.
// Throws Error (invalid_argument) for other dtypes.
double pe_passes(DType dtype, const PeDescription& pe);

// Cycles of the whole product, rounded to nearest.
int64_t pe_cycles(PeModel model, const Gemm& gemm, DType dtype, const PeDescription& pe);
// Of them, those in which rows of the moving operand enter the array.
int64_t pe_streaming_cycles(PeModel model, const Gemm& gemm, DType dtype, const PeDescription& pe);

}  // namespace heddle::systolic
