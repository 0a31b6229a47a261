// A kernel for the simulated NeuronCore: the softmax of every row, with the sum of a row for free.
//   systolic_softmax [DEVICE [ROWS COLUMNS]]     for example: systolic_softmax trn2 4096 2048
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "heddle/systolic.h"

using heddle::f32;
using heddle::Tensor;
using namespace heddle::systolic;

namespace {

// y[r, :] = exp(x[r, :] - max) / sum: rows lie on partitions, so everything along a row is one instruction.
void softmax(NeuronCore& nc, const Hbm& x, const Hbm& y) {
  const int columns = static_cast<int>(x.size(1));
  TilePool io = nc.sbuf_pool("io", 3), statistics = nc.sbuf_pool("statistics", 6);
  for (int row = 0; row < x.size(0); row += 128) {
    const int rows = std::min(128, static_cast<int>(x.size(0)) - row);
    const Tile in = io.tile(rows, {columns}, f32), out = io.tile(rows, {columns}, f32);
    const Tile minus_max = statistics.tile(rows, {1}, f32), sum = statistics.tile(rows, {1}, f32);
    nc.dma_load(in, x.rows(row, rows));
    nc.tensor_reduce(minus_max, AluOp::maximum, in);
    nc.tensor_scalar(minus_max, minus_max, {AluOp::multiply, -1});
    // ACT computes exp(1*in + minus_max) and adds the row up as it goes.
    nc.activation_reduce(out, sum, Function::exp, in, 1, minus_max);
    nc.reciprocal(sum, sum);
    nc.tensor_scalar(out, out, {AluOp::multiply, sum});
    nc.dma_store(y.rows(row, rows), out);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 1 && argc != 2 && argc != 4) {
    std::fprintf(stderr, "usage: systolic_softmax [DEVICE [ROWS COLUMNS]]\n");
    return 2;
  }
  const char* device = argc > 1 ? argv[1] : "trn1";
  const int64_t rows = argc > 2 ? std::strtoll(argv[2], nullptr, 10) : 1000;
  const int64_t columns = argc > 3 ? std::strtoll(argv[3], nullptr, 10) : 2048;

  NeuronCore nc(device);
  const Hbm in = nc.hbm("x", {rows, columns}, f32), out = nc.hbm("y", {rows, columns}, f32);
  softmax(nc, in, out);
  const Program program = compile(std::move(nc));

  Tensor x(f32, {rows, columns}), y(f32, {rows, columns});
  for (int64_t i = 0; i < x.elements(); ++i) x.set(i, 9 * std::sin(static_cast<double>(i)));
  program.run({x, y});

  double worst = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::exp(x.at(r * columns + c) - 9);
    for (int64_t c = 0; c < columns; ++c) {
      const double want = std::exp(x.at(r * columns + c) - 9) / sum;
      worst = std::max(worst, std::fabs(y.at(r * columns + c) - want) / want);
    }
  }
  std::printf("largest relative difference from the host: %.1e\n", worst);
  std::printf("simulated time %.1f us\n\n%s", program.timing().seconds() * 1e6, program.table().c_str());
  return worst < 2e-5 ? 0 : 1;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "systolic_softmax: %s\n", e.what());
  return 1;
}
