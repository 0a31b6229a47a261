#include "heddle/systolic/pe_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "heddle/error.h"

namespace heddle::systolic {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// Rows of the last of the tiles that `size` is cut into.
constexpr int64_t last_tile(int64_t size, int64_t tile) { return size - (ceil_div(size, tile) - 1) * tile; }

void check(const Gemm& gemm) {
  // Each model needs less than 4 * ceil(M) * ceil(K) * ceil(N) cycles per element of 2^20 at most.
  constexpr int64_t largest = int64_t{1} << 20;
  for (const int64_t size : {gemm.m, gemm.n, gemm.k}) {
    if (size < 1 || size > largest)
      throw Error(ErrorCode::invalid_argument, "the sizes of a product must be 1 to " +
                                                   std::to_string(largest) + ", got " +
                                                   std::to_string(gemm.m) + " x " + std::to_string(gemm.n) +
                                                   " x " + std::to_string(gemm.k));
  }
}

int64_t folds_of(const Gemm& gemm, const PeDescription& pe) {
  return ceil_div(gemm.k, pe.rows) * ceil_div(gemm.n, pe.columns);
}

int64_t scalesim(const Gemm& gemm, const PeDescription& pe) {
  return folds_of(gemm, pe) * (2 * int64_t{pe.rows} + pe.columns + gemm.m - 2) - 1;
}

int64_t overlap(const Gemm& gemm, const PeDescription& pe) {
  const int64_t rows = pe.rows;
  const int64_t blocks = folds_of(gemm, pe) * ceil_div(gemm.m, rows);
  constexpr int64_t shortest_drain = 4;
  // A block of fewer than R rows waits for the next weights as long as a full one: max(T, R) = R.
  return (2 * rows - 1) + (blocks - 1) * rows + (rows + pe.columns - 2) +
         std::max(last_tile(gemm.m, rows), shortest_drain);
}

// Of one stationary tile with `columns` columns: its M in moving tiles.
double trn_tile(const Gemm& gemm, const PeDescription& pe, int64_t columns) {
  const int64_t tiles = ceil_div(gemm.m, pe.moving_max);
  const double least = std::min(pe.min_interval, static_cast<double>(columns));
  const double full = std::max(least, static_cast<double>(pe.moving_max));
  return static_cast<double>(tiles - 1) * full +
         std::max(least, static_cast<double>(last_tile(gemm.m, pe.moving_max)));
}

double trn(const Gemm& gemm, const PeDescription& pe) {
  const int64_t columns = ceil_div(gemm.n, pe.columns);
  const double per_k = static_cast<double>(columns - 1) * trn_tile(gemm, pe, pe.columns) +
                       trn_tile(gemm, pe, last_tile(gemm.n, pe.columns));
  return static_cast<double>(ceil_div(gemm.k, pe.rows)) * per_k;
}

int64_t in_passes(double cycles, double passes) { return std::llround(cycles * passes); }

}  // namespace

double pe_passes(DType dtype, const PeDescription& pe) {
  switch (dtype) {
    case DType::float32:
      return pe.passes_fp32;
    case DType::bfloat16:
    case DType::float16:
      return 1;
    case DType::float8_e4m3:
    case DType::float8_e5m2:
      return pe.passes_fp8;
    default:
      throw Error(
          ErrorCode::invalid_argument,
          std::string("the tensor engine multiplies floats of 32 bits and less, not ") + dtype_name(dtype));
  }
}

int64_t pe_cycles(PeModel model, const Gemm& gemm, DType dtype, const PeDescription& pe) {
  check(gemm);
  const double passes = pe_passes(dtype, pe);
  switch (model) {
    case PeModel::scalesim:
      return in_passes(static_cast<double>(scalesim(gemm, pe)), passes);
    case PeModel::overlap:
      return in_passes(static_cast<double>(overlap(gemm, pe)), passes);
    case PeModel::trn:
      break;
  }
  return in_passes(trn(gemm, pe), passes);
}

int64_t pe_streaming_cycles(PeModel model, const Gemm& gemm, DType dtype, const PeDescription& pe) {
  if (model == PeModel::trn) return pe_cycles(model, gemm, dtype, pe);
  check(gemm);
  return in_passes(static_cast<double>(folds_of(gemm, pe) * gemm.m), pe_passes(dtype, pe));
}

}  // namespace heddle::systolic
