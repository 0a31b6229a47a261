// The tensor engine against a plain fma loop, bit by bit, and its transposes.
#include <cmath>
#include <limits>

#include "tests/catch.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// The stated rule: per tile of at most 128 rows acc = fma chain from 0, then added to what is there.
float product_of(const Tensor& a, const Tensor& b, int64_t m, int64_t n, const std::vector<int>& tiles) {
  float psum = 0;
  int64_t k = 0;
  for (size_t t = 0; t < tiles.size(); ++t) {
    float acc = 0;
    for (int r = 0; r < tiles[t]; ++r, ++k)
      acc = std::fma(static_cast<float>(a.at(k * a.shape()[1] + m)),
                     static_cast<float>(b.at(k * b.shape()[1] + n)), acc);
    psum = t == 0 ? acc : psum + acc;
  }
  return psum;
}

uint32_t bits(float v) {
  uint32_t b;
  std::memcpy(&b, &v, sizeof b);
  return b;
}

}  // namespace

TEST_CASE("matmul has the bits of a scalar fma loop on random tiles") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 60; ++trial) {
    const int m = static_cast<int>(draw(random, 1, 128)),
              n = static_cast<int>(draw(random, 1, trial % 4 ? 96 : 512));
    const DType dtype = trial % 3 == 0 ? f32 : trial % 3 == 1 ? bf16 : f16;
    std::vector<int> tiles;
    for (int64_t t = draw(random, 1, trial % 5 ? 3 : 11); t > 0; --t)
      tiles.push_back(static_cast<int>(draw(random, 1, 128)));
    int k = 0;
    for (int t : tiles) k += t;
    CAPTURE(m, n, k, static_cast<int>(dtype));
    KernelRun run;
    NeuronCore& nc = run.nc;
    const Tensor a = random_tensor(random, dtype, {k, m}), b = random_tensor(random, dtype, {k, n});
    const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(f32, {m, n}));
    {
      TilePool sbuf = nc.sbuf_pool("operands", 4), psum = nc.psum_pool("acc", 1),
               out = nc.sbuf_pool("out", 1);
      Tile acc = psum.tile(m, {n}, f32);
      int row = 0;
      for (size_t t = 0; t < tiles.size(); ++t) {
        // Every second trial the operands are parts of wider tiles, so that loads are copies and rows are
        // strided.
        const bool wide = trial % 2 == 1;
        Tile ta = sbuf.tile(tiles[t], {m + (wide ? 3 : 0)}, dtype),
             tb = sbuf.tile(tiles[t], {n + (wide ? 5 : 0)}, dtype);
        if (wide) {
          ta = ta.slice(0, 2, m);
          tb = tb.slice(0, 4, n);
        }
        nc.dma_load(ta, ha.rows(row, tiles[t]));
        nc.dma_load(tb, hb.rows(row, tiles[t]));
        nc.nc_matmul(acc, ta, tb, accumulate(static_cast<int64_t>(t), static_cast<int64_t>(tiles.size())));
        row += tiles[t];
      }
      Tile result = out.tile(m, {n}, f32);
      nc.tensor_copy(result, acc);
      nc.dma_store(hc, result);
    }
    run.run();
    const Tensor& c = run.tensors[2];
    int wrong = 0;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        wrong +=
            bits(c.values<float>()[static_cast<size_t>(i * n + j)]) != bits(product_of(a, b, i, j, tiles));
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("matmul reads and writes strided views") {
  std::mt19937_64 random(7);
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Tensor a = random_tensor(random, f32, {16, 24}), b = random_tensor(random, f32, {16, 4, 10});
  const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(f32, {12, 40}));
  {
    TilePool sbuf = nc.sbuf_pool("operands", 3), psum = nc.psum_pool("acc", 1);
    Tile ta = sbuf.tile(16, {24}, f32), tb = sbuf.tile(16, {4, 10}, f32);
    nc.dma_load(ta, ha);
    nc.dma_load(tb, hb);
    // Every second column is stationary; the moving operand is [10, 4] by exchanging its free dimensions.
    Tile acc = psum.tile(12, {4, 10}, f32);
    nc.nc_matmul(acc.permute({1, 0}), ta.slice(0, 1, 12, 2), tb.permute({1, 0}));
    Tile out = sbuf.tile(12, {4, 10}, f32);
    nc.tensor_copy(out, acc);
    nc.dma_store(hc.reshape({12, 4, 10}), out);
  }
  run.run();
  for (int64_t m = 0; m < 12; ++m)
    for (int64_t n = 0; n < 40; ++n) {
      float acc = 0;
      for (int64_t k = 0; k < 16; ++k)
        acc =
            std::fma(static_cast<float>(a.at(k * 24 + 1 + 2 * m)), static_cast<float>(b.at(k * 40 + n)), acc);
      REQUIRE(run.tensors[2].values<float>()[static_cast<size_t>(m * 40 + n)] == acc);
    }
}

TEST_CASE("transposes of every width, on both engines") {
  std::mt19937_64 random(11);
  for (const DType dtype : {f32, bf16, f8e4m3})
    for (const auto& [p, f] :
         std::vector<std::pair<int, int>>{{128, 128}, {1, 128}, {77, 45}, {32, 32}, {5, 31}}) {
      CAPTURE(static_cast<int>(dtype), p, f);
      KernelRun run("trn2");
      NeuronCore& nc = run.nc;
      const Tensor x = random_tensor(random, dtype, {p, f});
      const Hbm hx = run.value(x), hy = run.value(Tensor(dtype, {f, p}));
      {
        TilePool sbuf = nc.sbuf_pool("io", 2), psum = nc.psum_pool("t", 1);
        Tile in = sbuf.tile(p, {f}, dtype), out = sbuf.tile(f, {p}, dtype);
        nc.dma_load(in, hx);
        if (p <= 32 && f <= 32) {
          nc.nc_transpose(out, in, Engine::dve);
        } else {
          Tile t = psum.tile(f, {p}, dtype);
          nc.nc_transpose(t, in);
          nc.tensor_copy(out, t);
        }
        nc.dma_store(hy, out);
      }
      run.run();
      for (int64_t i = 0; i < p; ++i)
        for (int64_t j = 0; j < f; ++j) REQUIRE(run.tensors[1].at(j * p + i) == x.at(i * f + j));
    }
}

TEST_CASE("trn1 spreads NaN and infinity when it transposes, trn2 does not") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const char* device : {"trn1", "trn2"}) {
    KernelRun run(device);
    NeuronCore& nc = run.nc;
    Tensor x = Tensor::full(2, f32, {4, 3});
    x.set(1 * 3 + 0, static_cast<double>(inf));  // column 0 has one infinity
    const Hbm hx = run.value(x), hy = run.value(Tensor(f32, {3, 4}));
    {
      TilePool sbuf = nc.sbuf_pool("io", 2), psum = nc.psum_pool("t", 1);
      Tile in = sbuf.tile(4, {3}, f32), out = sbuf.tile(3, {4}, f32), t = psum.tile(3, {4}, f32);
      nc.dma_load(in, hx);
      nc.nc_transpose(t, in);
      nc.tensor_copy(out, t);
      nc.dma_store(hy, out);
    }
    run.run();
    const auto y = run.tensors[1].values<float>();
    CHECK(y[1] == inf);
    CHECK(std::isnan(y[0]) == (device == std::string("trn1")));
    CHECK(std::isnan(y[3]) == (device == std::string("trn1")));
    for (size_t i = 4; i < 12; ++i) CHECK(y[i] == 2);  // the other columns are untouched
  }
}
