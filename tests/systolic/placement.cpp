// Copies that are not made must not be missed: tiles that lie in each other's memory or in HBM from the
// start.
#include "systolic/engines/placement.h"

#include <cmath>

#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

Tensor counting(const Shape& shape, double from = 0) {
  Tensor t(f32, shape);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, from + static_cast<double>(i));
  return t;
}

Placement placed(const NeuronCore& nc) {
  std::vector<uint32_t> order(nc.stream().instructions.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  return place_tiles(nc.stream(), order);
}

}  // namespace

TEST_CASE("load, compute, store needs no copy") {
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(counting({16, 32})), y = run.value(Tensor(f32, {16, 64}));
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    const Tile t = pool.tile(16, {32}, f32), u = pool.tile(16, {32}, f32), v = pool.tile(16, {32}, f32);
    nc.dma_load(t, x);
    nc.tensor_scalar(u, t, {AluOp::add, 1.0});
    nc.tensor_copy(v, u);
    nc.dma_store(y.cols(32, 32), v);
  }
  CHECK(placed(nc).views == 3);  // the load, the copy and the store
  run.run();
  for (int64_t i = 0; i < 16 * 64; ++i)
    CHECK(run.tensors[1].at(i) == (i % 64 < 32 ? 0 : static_cast<double>(i / 64 * 32 + i % 32 + 1)));
}

TEST_CASE("a result does not reach HBM before what it overwrites was read") {
  // y is computed before the old y is loaded, and stored after: the old values must still be there.
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(counting({32, 32})), y = run.value(counting({16, 32}, 1000)),
            old = run.value(Tensor(f32, {16, 32}));
  {
    TilePool pool = nc.sbuf_pool("io", 4);
    const Tile t = pool.tile(16, {32}, f32), u = pool.tile(16, {32}, f32), before = pool.tile(16, {32}, f32),
               twice = pool.tile(16, {32}, f32);
    nc.dma_load(t, x.rows(0, 16));  // of another size: no operand that y may lie in
    nc.tensor_scalar(u, t, {AluOp::multiply, 2.0});
    nc.dma_load(before, y);
    nc.tensor_scalar(twice, before, {AluOp::multiply, 2.0});
    nc.dma_store(y, u);
    nc.dma_store(old, twice);
  }
  run.run();
  for (int64_t i = 0; i < 16 * 32; ++i) {
    CHECK(run.tensors[1].at(i) == static_cast<double>(2 * i));
    CHECK(run.tensors[2].at(i) == static_cast<double>(2 * (1000 + i)));
  }
}

TEST_CASE("a tile that is read after its store keeps its values when the place is written again") {
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(counting({32, 32})), y = run.value(Tensor(f32, {16, 32})),
            z = run.value(Tensor(f32, {16, 32}));
  {
    TilePool pool = nc.sbuf_pool("io", 4);
    const Tile t = pool.tile(16, {32}, f32), u = pool.tile(16, {32}, f32), v = pool.tile(16, {32}, f32),
               w = pool.tile(16, {32}, f32);
    nc.dma_load(t, x.rows(0, 16));  // of another size: no operand that y may lie in
    nc.tensor_scalar(u, t, {AluOp::add, 1.0});
    nc.dma_store(y, u);
    nc.tensor_scalar(v, t, {AluOp::add, 5.0});
    nc.dma_store(y, v);  // over what u was stored to
    nc.tensor_scalar(w, u, {AluOp::add, 10.0});
    nc.dma_store(z, w);
  }
  run.run();
  for (int64_t i = 0; i < 16 * 32; ++i) {
    CHECK(run.tensors[1].at(i) == static_cast<double>(i + 5));
    CHECK(run.tensors[2].at(i) == static_cast<double>(i + 11));
  }
}

TEST_CASE("a copy and its source are two tiles when one of them changes") {
  const bool change_copy = GENERATE(true, false);
  CAPTURE(change_copy);
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm x = run.value(counting({16, 32})), y = run.value(Tensor(f32, {16, 32})),
            z = run.value(Tensor(f32, {16, 32}));
  {
    TilePool pool = nc.sbuf_pool("io", 3);
    const Tile t = pool.tile(16, {32}, f32), source = pool.tile(16, {32}, f32),
               copy = pool.tile(16, {32}, f32);
    nc.dma_load(t, x);
    nc.tensor_scalar(source, t, {AluOp::add, 1.0});
    nc.tensor_copy(copy, source);
    const Tile& changed = change_copy ? copy : source;
    nc.tensor_scalar(changed, changed, {AluOp::multiply, 3.0});
    nc.dma_store(y, source);
    nc.dma_store(z, copy);
  }
  run.run();
  for (int64_t i = 0; i < 16 * 32; ++i) {
    CHECK(run.tensors[1].at(i) == static_cast<double>(change_copy ? i + 1 : 3 * (i + 1)));
    CHECK(run.tensors[2].at(i) == static_cast<double>(change_copy ? 3 * (i + 1) : i + 1));
  }
}

TEST_CASE("a result may be given the memory of an operand of its size") {
  // What the runtime does with a variable and its update: the operand is read to the end.
  NeuronCore nc(load_description("trn1"));
  const Hbm p = nc.hbm("p", {16, 32}, f32), m = nc.hbm("m", {16, 32}, f32),
            m_new = nc.hbm("m_new", {16, 32}, f32), p_new = nc.hbm("p_new", {16, 32}, f32);
  {
    TilePool pool = nc.sbuf_pool("io", 5);
    const Tile tp = pool.tile(16, {32}, f32), tm = pool.tile(16, {32}, f32), a = pool.tile(16, {32}, f32),
               b = pool.tile(16, {32}, f32), c = pool.tile(16, {32}, f32);
    nc.dma_load(tp, p);
    nc.dma_load(tm, m);
    nc.tensor_tensor(a, tm, AluOp::add, tp);       // m_new = m + p
    nc.tensor_tensor(b, tm, AluOp::multiply, tp);  // reads m again
    nc.tensor_tensor(c, b, AluOp::add, a);         // p_new = m * p + m_new
    nc.dma_store(p_new, c);
    nc.dma_store(m_new, a);
  }
  const Program program = compile(std::move(nc).finish());
  Tensor tp = counting({16, 32}), tm = counting({16, 32}, 3);
  WorkingMemory memory(program.memory_bytes());
  auto* const at_p = static_cast<std::byte*>(tp.data());
  auto* const at_m = static_cast<std::byte*>(tm.data());
  const std::vector<std::byte*> values = {at_p, at_m, at_m, at_p};
  program.run(values, memory.data());
  for (int64_t i = 0; i < 16 * 32; ++i) {
    const auto x = static_cast<double>(i);
    CHECK(tm.at(i) == x + 3 + x);
    CHECK(tp.at(i) == (x + 3) * x + x + 3 + x);
  }
}

TEST_CASE("transposed loads are multiplied where they lie, whatever they are used for besides") {
  const bool also_read = GENERATE(false, true);
  const DType dtype = GENERATE(f32, bf16);
  CAPTURE(also_read, static_cast<int>(dtype));
  std::mt19937_64 random(7);
  KernelRun run;
  NeuronCore& nc = run.nc;
  // c[m, n] = a[m, k] b[n, k]': both operands turned, n more than two panels wide.
  const Tensor a = random_tensor(random, dtype, {40, 64}), b = random_tensor(random, dtype, {150, 64});
  const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(f32, {40, 150})),
            hd = run.value(Tensor(dtype, {64, 40}));
  {
    TilePool sbuf = nc.sbuf_pool("operands", 3), psum = nc.psum_pool("acc", 1);
    const Tile ta = sbuf.tile(64, {40}, dtype), tb = sbuf.tile(64, {150}, dtype),
               out = sbuf.tile(40, {150}, f32), acc = psum.tile(40, {150}, f32);
    nc.dma_load_transposed(ta, ha);
    nc.dma_load_transposed(tb, hb);
    nc.nc_matmul(acc, ta, tb);
    nc.tensor_copy(out, acc);
    nc.dma_store(hc, out);
    if (also_read) nc.dma_store(hd, ta);
  }
  run.run();
  int wrong = 0;
  for (int64_t m = 0; m < 40; ++m)
    for (int64_t n = 0; n < 150; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < 64; ++k)
        sum = std::fma(static_cast<float>(a.at(m * 64 + k)), static_cast<float>(b.at(n * 64 + k)), sum);
      wrong += static_cast<float>(run.tensors[2].at(m * 150 + n)) != sum;
    }
  CHECK(wrong == 0);
  if (also_read)
    for (int64_t k = 0; k < 64; ++k)
      for (int64_t m = 0; m < 40; ++m) CHECK(run.tensors[3].at(k * 40 + m) == a.at(m * 64 + k));
}
