// The kernel of backends/systolic/README.md.
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

void matmul(NeuronCore& nc, const Hbm& a, const Hbm& b, const Hbm& c) {
  const int m = static_cast<int>(a.size(1)), n = static_cast<int>(b.size(1)),
            k = static_cast<int>(a.size(0)) / 128;
  TilePool stationary = nc.sbuf_pool("a", 3), moving = nc.sbuf_pool("b", 3), result = nc.sbuf_pool("c", 2);
  TilePool psum = nc.psum_pool("acc", 2);
  for (int i = 0; i < m; i += 128)
    for (int j = 0; j < n; j += 512) {
      Tile acc = psum.tile(128, {512}, heddle::f32);
      for (int t = 0; t < k; ++t) {
        Tile ta = stationary.tile(128, {128}, a.dtype()), tb = moving.tile(128, {512}, b.dtype());
        nc.dma_load(ta, a.rows(t * 128, 128).cols(i, 128));
        nc.dma_load(tb, b.rows(t * 128, 128).cols(j, 512));
        nc.nc_matmul(acc, ta, tb, accumulate(t, k));
      }
      Tile out = result.tile(128, {512}, c.dtype());
      nc.tensor_copy(out, acc);
      nc.dma_store(c.rows(i, 128).cols(j, 512), out);
    }
}

}  // namespace

TEST_CASE("the kernel of the README multiplies, and its profile says what bounds it") {
  std::mt19937_64 random(1);
  KernelRun run;
  const Tensor a = random_tensor(random, f32, {256, 256}), b = random_tensor(random, f32, {256, 1024});
  const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(f32, {256, 1024}));
  matmul(run.nc, ha, hb, hc);
  const Program program = run.run();
  for (int64_t i = 0; i < 256; i += 37)
    for (int64_t j = 0; j < 1024; j += 51) {
      double sum = 0;
      for (int64_t k = 0; k < 256; ++k) sum += a.at(k * 256 + i) * b.at(k * 1024 + j);
      CHECK(run.tensors[2].at(i * 1024 + j) == Approx(sum).margin(1e-4));
    }
  CHECK(program.timing().total > 0);
  CHECK_THAT(program.report(), ContainsSubstring("bottleneck"));
}
