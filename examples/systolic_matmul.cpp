// A kernel for the simulated NeuronCore, made faster in four steps as AWS's matmul tutorial does:
//   tiled    every product loads both of its tiles
//   hoisted  tiles are loaded in front of the inner loop: the left ones once a row, the right ones once a
//   tile blocked  two by two tiles of the result share what they load fully    K is cut into blocks too, so
//   that blocks of 2048 x 1024 of the result fit, and add up in SBUF
// Each step runs on tensors and is checked against a loop on the host, then is timed alone at M x N x K.
//   systolic_matmul [DEVICE [M N K]]     for example: systolic_matmul trn2 4096 8192 8192
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "heddle/systolic.h"

using heddle::bf16;
using heddle::f32;
using heddle::Tensor;
using namespace heddle::systolic;

namespace {

// result[M, N] = left[K, M]^T right[K, N] in tiles: K lies along the 128 partitions of both operands.
constexpr int tile_m = 128, tile_n = 512, tile_k = 128;

int tiles(const Hbm& x, int axis, int tile) { return static_cast<int>(x.size(axis)) / tile; }

void tiled(NeuronCore& nc, const Hbm& left, const Hbm& right, const Hbm& result) {
  const int tiles_k = tiles(left, 0, tile_k);
  // The pools' buffers are what overlaps: three tiles of each operand in flight, two results.
  TilePool lefts = nc.sbuf_pool("left", 3), rights = nc.sbuf_pool("right", 3),
           results = nc.sbuf_pool("result", 2);
  TilePool psum = nc.psum_pool("sum", 2);
  for (int m = 0; m < result.size(0); m += tile_m)
    for (int n = 0; n < result.size(1); n += tile_n) {
      const Tile sum = psum.tile(tile_m, {tile_n}, f32);
      for (int k = 0; k < tiles_k; ++k) {
        const Tile a = lefts.tile(tile_k, {tile_m}, left.dtype()),
                   b = rights.tile(tile_k, {tile_n}, right.dtype());
        nc.dma_load(a, left.rows(k * tile_k, tile_k).cols(m, tile_m));
        nc.dma_load(b, right.rows(k * tile_k, tile_k).cols(n, tile_n));
        nc.nc_matmul(sum, a, b, accumulate(k, tiles_k));
      }
      const Tile out = results.tile(tile_m, {tile_n}, result.dtype());
      nc.tensor_copy(out, sum);  // PSUM reaches HBM through SBUF
      nc.dma_store(result.rows(m, tile_m).cols(n, tile_n), out);
    }
}

// Rows k*128 .. of columns [begin, begin + count), one tile per k. Buffers beyond a column's tiles let the
// next column's loads run while this one is multiplied.
std::vector<Tile> load_column(NeuronCore& nc, TilePool& pool, const Hbm& from, int first_k, int count_k,
                              int begin, int count) {
  std::vector<Tile> column;
  for (int k = 0; k < count_k; ++k) {
    column.push_back(pool.tile(tile_k, {count}, from.dtype()));
    nc.dma_load(column.back(), from.rows((first_k + k) * tile_k, tile_k).cols(begin, count));
  }
  return column;
}

// One tile of the result, whose operands are in SBUF.
void multiply(NeuronCore& nc, const Tile& sum, std::span<const Tile> a, std::span<const Tile> b, int m,
              int n) {
  for (size_t k = 0; k < a.size(); ++k)
    nc.nc_matmul(sum, a[k].cols(m, tile_m), b[k].cols(n, tile_n),
                 accumulate(static_cast<int64_t>(k), static_cast<int64_t>(a.size())));
}

// Blocks of block_m x block_n of the result, with all of K in SBUF.
void blocked(NeuronCore& nc, const Hbm& left, const Hbm& right, const Hbm& result, int block_m, int block_n) {
  const int tiles_k = tiles(left, 0, tile_k);
  TilePool lefts = nc.sbuf_pool("left", tiles_k + 4), rights = nc.sbuf_pool("right", tiles_k + 4);
  TilePool results = nc.sbuf_pool("result", 2), psum = nc.psum_pool("sum", 2);
  for (int m = 0; m < result.size(0); m += block_m) {
    const std::vector<Tile> a = load_column(nc, lefts, left, 0, tiles_k, m, block_m);
    for (int n = 0; n < result.size(1); n += block_n) {
      const std::vector<Tile> b = load_column(nc, rights, right, 0, tiles_k, n, block_n);
      for (int i = 0; i < block_m; i += tile_m)
        for (int j = 0; j < block_n; j += tile_n) {
          const Tile sum = psum.tile(tile_m, {tile_n}, f32),
                     out = results.tile(tile_m, {tile_n}, result.dtype());
          multiply(nc, sum, a, b, i, j);
          nc.tensor_copy(out, sum);
          nc.dma_store(result.rows(m + i, tile_m).cols(n + j, tile_n), out);
        }
    }
  }
}

void hoisted(NeuronCore& nc, const Hbm& left, const Hbm& right, const Hbm& result) {
  blocked(nc, left, right, result, tile_m, tile_n);
}

void blocked_mn(NeuronCore& nc, const Hbm& left, const Hbm& right, const Hbm& result) {
  blocked(nc, left, right, result, 2 * tile_m, 2 * tile_n);
}

void fully_blocked(NeuronCore& nc, const Hbm& left, const Hbm& right, const Hbm& result) {
  const int block_m = std::min<int>(16 * tile_m, static_cast<int>(result.size(0)));
  const int block_n = std::min<int>(2 * tile_n, static_cast<int>(result.size(1)));
  const int tiles_k = tiles(left, 0, tile_k), block_k = std::min(8, tiles_k);
  const int rows = block_m / tile_m, columns = block_n / tile_n;
  TilePool lefts = nc.sbuf_pool("left", 2 * block_k), rights = nc.sbuf_pool("right", 2 * block_k);
  TilePool sums = nc.sbuf_pool("sums", rows + 2), results = nc.sbuf_pool("result", 2);
  TilePool psum = nc.psum_pool("sum", 4);
  for (int n = 0; n < result.size(1); n += block_n)
    for (int m = 0; m < result.size(0); m += block_m) {
      std::vector<Tile> sum;
      for (int i = 0; i < rows; ++i) sum.push_back(sums.tile(tile_m, {columns, tile_n}, f32));
      for (int k = 0; k < tiles_k; k += block_k) {
        const int count_k = std::min(block_k, tiles_k - k);
        const std::vector<Tile> b = load_column(nc, rights, right, k, count_k, n, block_n);
        const std::vector<Tile> a = load_column(nc, lefts, left, k, count_k, m, block_m);
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < columns; ++j) {
            const Tile part = psum.tile(tile_m, {tile_n}, f32);
            const Tile total = sum[static_cast<size_t>(i)].at(0, j);
            multiply(nc, part, a, b, i * tile_m, j * tile_n);
            if (k == 0)
              nc.tensor_copy(total, part);
            else
              nc.tensor_tensor(total, total, AluOp::add, part);
          }
      }
      for (int i = 0; i < rows; ++i) {
        const Tile out = results.tile(tile_m, {block_n}, result.dtype());
        nc.tensor_copy(out, sum[static_cast<size_t>(i)].reshape({block_n}), Engine::act);
        nc.dma_store(result.rows(m + i * tile_m, tile_m).cols(n, block_n), out);
      }
    }
}

using Kernel = void (*)(NeuronCore&, const Hbm&, const Hbm&, const Hbm&);
struct Step {
  const char* name;
  Kernel kernel;
};

Program compile_step(Kernel kernel, const char* device, int64_t m, int64_t n, int64_t k, bool numerics) {
  NeuronCore nc(device);
  const Hbm left = nc.hbm("left", {k, m}, bf16), right = nc.hbm("right", {k, n}, bf16);
  kernel(nc, left, right, nc.hbm("result", {m, n}, bf16));
  return compile(std::move(nc), {.numerics = numerics});
}

// The largest error over what rounding explains: K float32 additions, and the result's 8 bits.
double worst_error(const Tensor& left, const Tensor& right, const Tensor& result) {
  const int64_t k = left.shape()[0], m = left.shape()[1], n = right.shape()[1];
  double worst = 0;
  for (int64_t i = 0; i < m; i += 31)
    for (int64_t j = 0; j < n; j += 17) {
      double sum = 0, magnitude = 0;
      for (int64_t l = 0; l < k; ++l) {
        const double product = left.at(l * m + i) * right.at(l * n + j);
        sum += product, magnitude += std::fabs(product);
      }
      const double allowed = static_cast<double>(k) * 0x1p-24 * magnitude + 0x1p-8 * std::fabs(sum);
      worst = std::max(worst, std::fabs(result.at(i * n + j) - sum) / allowed);
    }
  return worst;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 1 && argc != 2 && argc != 5) {
    std::fprintf(stderr, "usage: systolic_matmul [DEVICE [M N K]], multiples of 256, 1024 and 128\n");
    return 2;
  }
  const char* device = argc > 1 ? argv[1] : "trn1";
  const auto size = [&](int at, int64_t preset) {
    return argc > at ? std::strtoll(argv[at], nullptr, 10) : preset;
  };
  const int64_t m = size(2, 4096), n = size(3, 8192), k = size(4, 8192);
  const std::array<Step, 4> steps = {
      {{"tiled", tiled}, {"hoisted", hoisted}, {"blocked", blocked_mn}, {"fully", fully_blocked}}};

  Tensor left(bf16, {256, 512}), right(bf16, {256, 1024}), result(bf16, {512, 1024});
  for (int64_t i = 0; i < left.elements(); ++i) left.set(i, std::sin(static_cast<double>(i)));
  for (int64_t i = 0; i < right.elements(); ++i) right.set(i, std::cos(static_cast<double>(3 * i)));

  std::printf(
      "bfloat16 %lld x %lld x %lld on %s (simulated; calibrated on public figures, never run on Trainium)\n",
      static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(k), device);
  std::printf("%-8s %10s %8s %8s %10s   %s\n", "step", "time [ms]", "MFU [%]", "PE [%]", "HBM [MB]",
              "numbers");
  for (const Step& step : steps) {
    compile_step(step.kernel, device, 512, 1024, 256, true).run({left, right, result});
    const double error = worst_error(left, right, result);

    const Program program = compile_step(step.kernel, device, m, n, k, false);
    const Timing& t = program.timing();
    const PeDescription& pe = program.stream().device->pe;
    const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    const double peak = 2.0 * pe.rows * pe.columns * pe.ghz * 1e9;
    std::printf("%-8s %10.3f %8.1f %8.1f %10.0f   %s\n", step.name, t.seconds() * 1e3,
                100 * flops / (peak * t.seconds()), 100 * t.active(Engine::pe),
                static_cast<double>(t.hbm_bytes()) * 1e-6,
                error <= 1 ? "equal the host's within rounding" : "WRONG");
    if (error > 1) return 1;
  }
  return 0;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "systolic_matmul: %s\n", e.what());
  return 1;
}
