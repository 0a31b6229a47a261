// DMA: strides, broadcasts, casts, transposes, accumulation, indices, offsets; and loads that are views.
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

Tensor numbered(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, static_cast<double>(i));
  return t;
}

}  // namespace

TEST_CASE("strided, permuted and broadcast loads and stores") {
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Tensor x = numbered(f32, {6, 8, 10});
  const Hbm hx = run.value(x), a = run.value(Tensor(f32, {8, 6, 5})), b = run.value(Tensor(f32, {16, 10})),
            c = run.value(Tensor::full(-1, f32, {8, 20}));
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    Tile t = pool.tile(8, {6, 5}, f32);
    nc.dma_load(t, hx.permute({1, 0, 2}).slice(2, 1, 5, 2));
    nc.dma_store(a, t);
    Tile u = pool.tile(16, {10}, f32);
    nc.dma_load(u, hx.at(0, 2).at(0, 3).repeat(0, 16));
    nc.dma_store(b, u);
    Tile v = pool.tile(8, {10}, f32);
    nc.dma_load(v, hx.at(0, 5));
    nc.dma_store(c.slice(1, 0, 10, 2), v);
  }
  run.run();
  for (int64_t p = 0; p < 8; ++p) {
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t j = 0; j < 5; ++j)
        CHECK(run.tensors[1].at(p * 30 + i * 5 + j) == x.at(i * 80 + p * 10 + 1 + 2 * j));
    for (int64_t i = 0; i < 20; ++i)
      CHECK(run.tensors[3].at(p * 20 + i) == (i % 2 ? -1 : x.at(400 + p * 10 + i / 2)));
  }
  for (int64_t p = 0; p < 16; ++p)
    for (int64_t i = 0; i < 10; ++i) CHECK(run.tensors[2].at(p * 10 + i) == x.at(190 + i));
}

TEST_CASE("casting, accumulating and transposing DMA") {
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Tensor ids = Tensor::of<int64_t>({5, -1, 1LL << 31, 7}, {4, 1});
  const Tensor x = numbered(bf16, {20, 12});
  const Hbm hid = run.value(ids), hi = run.value(Tensor(i32, {4, 1})), hx = run.value(x),
            sum = run.value(Tensor::full(100, f32, {12, 20}));
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    Tile i = pool.tile(4, {1}, i32);
    nc.dma_load(i, hid);
    nc.dma_store(hi, i);
    Tile t = pool.tile(12, {20}, bf16);
    nc.dma_load_transposed(t, hx);
    nc.dma_store(sum, t, {.accumulate = AluOp::add});
    nc.dma_store(sum, t, {.accumulate = AluOp::add});
  }
  run.run();
  CHECK(run.tensors[1].at(0) == 5);
  CHECK(run.tensors[1].at(1) == -1);
  CHECK(run.tensors[1].at(2) == -2147483648.0);  // integers keep their low bits
  for (int64_t p = 0; p < 12; ++p)
    for (int64_t i = 0; i < 20; ++i) CHECK(run.tensors[3].at(p * 20 + i) == 100 + 2 * x.at(i * 12 + p));
}

TEST_CASE("gather, scatter and offsets from tiles") {
  const auto build = [](Bounds bounds, int32_t last) {
    auto run = std::make_unique<KernelRun>();
    NeuronCore& nc = run->nc;
    const Hbm table = run->value(numbered(f32, {10, 6})),
              index = run->value(Tensor::of<int32_t>({3, 9, 3, last}, {4, 1})),
              out = run->value(Tensor(f32, {4, 6})), into = run->value(Tensor(f32, {10, 6})),
              window = run->value(Tensor(f32, {3, 6}));
    TilePool pool = nc.sbuf_pool("io", 4);
    Tile i = pool.tile(4, {1}, i32), t = pool.tile(4, {6}, f32), w = pool.tile(3, {6}, f32);
    nc.dma_load(i, index);
    nc.memset(t, -1);
    nc.dma_gather(t, table, i, bounds);
    nc.dma_store(out, t);
    nc.dma_scatter(into, i, t, Scatter::add, bounds);
    nc.dma_load(w, table.rows(0, 3).dynamic(0, i.rows(1, 1), 7));  // 9 is clamped to 7
    nc.dma_store(window, w);
    return run;
  };
  auto run = build(Bounds::error, 0);
  run->run();
  for (int64_t j = 0; j < 6; ++j) {
    CHECK(run->tensors[2].at(j) == 18 + static_cast<double>(j));
    CHECK(run->tensors[2].at(6 + j) == 54 + static_cast<double>(j));
    CHECK(run->tensors[3].at(3 * 6 + j) == 2 * (18 + static_cast<double>(j)));  // index 3 came twice
    CHECK(run->tensors[3].at(5 * 6 + j) == 0);
    CHECK(run->tensors[4].at(j) == 42 + static_cast<double>(j));
  }
  expect_error(ErrorCode::device, "dma_gather at systolic/dma.cpp", [&] { build(Bounds::error, 10)->run(); });
  auto skipped = build(Bounds::skip, -4);
  skipped->run();
  for (int64_t j = 0; j < 6; ++j) CHECK(skipped->tensors[2].at(18 + j) == -1);
}

TEST_CASE("a load is a view only while its HBM keeps still") {
  // y = x; x = 2*x; y2 = the tile loaded before x changed.
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(Tensor::full(1, f32, {8, 4})), y = run.value(Tensor(f32, {8, 4}));
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    Tile before = pool.tile(8, {4}, f32), twice = pool.tile(8, {4}, f32);
    nc.dma_load(before, x);
    nc.tensor_scalar(twice, before, {AluOp::multiply, 2});
    nc.dma_store(x, twice);
    nc.tensor_scalar(twice, before, {AluOp::add, 10});
    nc.dma_store(y, twice);
  }
  run.run();
  for (int64_t i = 0; i < 32; ++i) {
    CHECK(run.tensors[0].at(i) == 2);
    CHECK(run.tensors[1].at(i) == 11);
  }
}

TEST_CASE("scratch values and aliases") {
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(numbered(f32, {16, 32}));
  const Hbm a = nc.hbm_scratch("a", {16, 32}, f32), b = nc.hbm_scratch("b", {32, 16}, f32),
            c = nc.hbm_scratch("c", {16, 32}, f32);
  {
    TilePool pool = nc.sbuf_pool("io", 2);
    const auto copy = [&](const Hbm& to, const Hbm& from, double add) {
      Tile t = pool.tile(16, {32}, f32), u = pool.tile(16, {32}, f32);
      nc.dma_load(t, from);
      nc.tensor_scalar(u, t, {AluOp::add, add});
      nc.dma_store(to, u);
    };
    copy(a, x, 1);
    copy(b.reshape({16, 32}), a, 1);
    copy(c, b.reshape({16, 32}), 1);
    nc.dma_copy(x, c);
  }
  const Program program = run.run();
  // Each is last read while the next is computed, in its place: two places in turn serve all three.
  CHECK(program.scratch_bytes() == 2 * 16 * 32 * 4);
  for (int64_t i = 0; i < 512; ++i) CHECK(run.tensors[0].at(i) == static_cast<double>(i + 3));
}

TEST_CASE("a scratch value keeps its memory while a tile that was loaded from it is used") {
  // w is loaded once and used in every round, after other scratch values have been written.
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(numbered(f32, {16, 32})), y = run.value(Tensor(f32, {16, 32}));
  const Hbm w = nc.hbm_scratch("w", {16, 32}, f32), z = nc.hbm_scratch("z", {16, 32}, f32);
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    Tile loaded = pool.tile(16, {32}, f32), weights = pool.tile(16, {32}, f32),
         sum = pool.tile(16, {32}, f32);
    nc.dma_load(loaded, x);
    nc.tensor_scalar(sum, loaded, {AluOp::add, 1});
    nc.dma_store(w, sum);
    nc.dma_load(weights, w);
    nc.tensor_scalar(sum, weights, {AluOp::multiply, 100});
    nc.dma_store(z, sum);
    nc.tensor_scalar(sum, weights, {AluOp::add, 10});
    nc.dma_store(y, sum);
    nc.dma_copy(x, z);
  }
  run.run();
  for (int64_t i = 0; i < 512; ++i) {
    CHECK(run.tensors[1].at(i) == static_cast<double>(i + 11));
    CHECK(run.tensors[0].at(i) == static_cast<double>(100 * (i + 1)));
  }
}
