// The hardware's rules, each broken once: the error names the instruction, the kernel line and the rule.
#include <limits>
#include <optional>

#include "systolic/lower/dependencies.h"
#include "systolic/machine/timeline.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// A core with a few written tiles to misuse.
struct Bench {
  explicit Bench(const char* device = "trn1") : nc(load_description(device)) {
    sbuf.emplace(nc.sbuf_pool("sbuf", 8));
    psum.emplace(nc.psum_pool("psum", 4));
    a = sbuf->tile(128, {512}, f32), b = sbuf->tile(128, {512}, f32), narrow = sbuf->tile(128, {512}, bf16);
    scalar = sbuf->tile(128, {1}, f32);
    acc = psum->tile(128, {512}, f32);
    for (const Tile& t : {a, b, narrow, scalar}) nc.memset(t, 1);
  }
  NeuronCore nc;
  std::optional<TilePool> sbuf, psum;
  Tile a, b, narrow, scalar, acc;
};

template <class F>
void refused(std::string_view rule, const F& emit, const char* device = "trn1",
             ErrorCode code = ErrorCode::invalid_argument) {
  Bench bench(device);
  const std::string text = expect_error(code, rule, [&] { emit(bench); });
  CHECK_THAT(text, ContainsSubstring("systolic/rules.cpp:"));
}

}  // namespace

TEST_CASE("operand sizes of the tensor engine") {
  refused("moving has 600 columns; at most 512", [](Bench& x) {
    Tile wide = x.sbuf->tile(128, {600}, f32);
    x.nc.memset(wide, 0);
    x.nc.nc_matmul(x.psum->tile(128, {600}, f32), x.a.cols(0, 128), wide);
  });
  refused("stationary has 129 columns", [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.cols(0, 129), x.b); });
  refused("contracts 64 stationary rows with 128 moving rows",
          [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.rows(0, 64).cols(0, 128), x.b); });
  refused("must be [128, 256]", [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b.cols(0, 256)); });
  refused("writes to PSUM only", [](Bench& x) { x.nc.nc_matmul(x.a, x.a.cols(0, 128), x.b); });
  refused("reads from SBUF only", [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.acc); });
  refused("not float32 and bfloat16", [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.narrow); });
  refused("crosses a PSUM bank", [](Bench& x) {
    Tile two = x.psum->tile(128, {1024}, f32);
    x.nc.nc_matmul(two.cols(256, 512), x.a.cols(0, 128), x.b);
  });
  refused("at most 32x32", [](Bench& x) {
    x.nc.nc_transpose(x.b.rows(0, 64).cols(0, 32), x.a.rows(0, 32).cols(0, 64), Engine::dve);
  });
}

TEST_CASE("modes and parts of the tensor engine") {
  const auto pairs = [](Bench& x, DType dtype, int rows) {
    Tile t = x.sbuf->tile(128, {rows, 64}, dtype);
    x.nc.memset(t, 0);
    return t;
  };
  const auto product = [&](DType dtype, int rows, MatmulOptions options) {
    return [=](Bench& x) {
      x.nc.nc_matmul(x.acc.rows(0, 64).cols(0, 64), pairs(x, dtype, rows), pairs(x, dtype, rows), {},
                     options);
    };
  };
  refused("no double-row mode on this device", product(f8e4m3, 2, {.double_row = true}));
  refused("of float8 operands only", product(bf16, 2, {.double_row = true}), "trn2");
  refused("[K/2, 2, columns]", product(f8e4m3, 1, {.double_row = true}), "trn2");
  refused("block scales are not modelled", product(f8e4m3, 1, {.microscaled = true}), "trn3");
  refused("cannot use 32 rows of the array", product(bf16, 1, {.array_rows = 32}));
  refused("cannot use 48 columns of the array", product(bf16, 1, {.array_columns = 48}), "trn2");
  refused("leave a part of 64 rows", product(bf16, 1, {.array_rows = 64}));
  refused("leave a part of 32 columns", product(bf16, 1, {.array_columns = 32}), "trn2");
  refused("both operands on the same partitions", [](Bench& x) {
    x.nc.nc_matmul(x.acc.rows(0, 64), x.a.rows(0, 64).cols(0, 64), x.b.rows(64, 64), {}, {.array_rows = 64});
  });
}

TEST_CASE("accumulation groups of PSUM") {
  refused("no matmul with start began",
          [](Bench& x) { x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b, {.start = false}); });
  refused("another instruction wrote since", [](Bench& x) {
    x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b);
    x.nc.memset(x.acc, 0);
    x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b, {.start = false});
  });
  refused("while its accumulation group is open", [](Bench& x) {
    x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b, {.stop = false});
    x.nc.tensor_copy(x.a, x.acc);
  });
}

TEST_CASE("partitions, shapes and access patterns") {
  refused("starts at partition 16", [](Bench& x) { x.nc.tensor_copy(x.a.rows(16, 32), x.b.rows(16, 32)); });
  refused("starts at partition 32", [](Bench& x) { x.nc.tensor_copy(x.a.rows(32, 64), x.b.rows(32, 64)); });
  refused("differ in shape", [](Bench& x) { x.nc.tensor_copy(x.a, x.b.cols(0, 100)); });
  refused("lie outside its 128 partitions", [](Bench& x) { x.a.rows(100, 40); });
  refused("does not fit in axis 0 of size 512", [](Bench& x) { x.a.cols(500, 40); });
  refused("cannot be reshaped", [](Bench& x) { x.a.slice(0, 0, 100, 2).reshape({3, 40}); });
  refused("repeats elements",
          [](Bench& x) { x.nc.tensor_copy(x.a.cols(0, 1).repeat(1, 512).reshape({512}), x.b); });
  refused("one element per partition", [](Bench& x) { x.nc.tensor_scalar(x.a, x.b, {AluOp::add, x.b}); });
  refused("GpSimd cannot access PSUM", [](Bench& x) { x.nc.memset(x.acc, 0, Engine::gpsimd); });
  refused("does not run on the tensor engine", [](Bench& x) { x.nc.tensor_copy(x.a, x.b, Engine::pe); });
  refused("bitwise operators need integer operands",
          [](Bench& x) { x.nc.tensor_tensor(x.a, x.a, AluOp::bitwise_and, x.b); });
  refused("in no table of the scalar engine", [](Bench& x) { x.nc.activation(x.a, Function::floor, x.b); });
  // What is allowed: quarters and halves.
  Bench x;
  x.nc.tensor_copy(x.a.rows(96, 32), x.b.rows(32, 32));
  x.nc.tensor_copy(x.a.rows(64, 64), x.b.rows(0, 64));
}

TEST_CASE("memory: capacity, tiles never written, buffers taken again") {
  refused(
      "SBUF is full", [](Bench& x) { x.sbuf->tile(128, {44 * 1024}, f32); }, "trn1",
      ErrorCode::out_of_memory);
  refused(
      "PSUM is full",
      [](Bench& x) {
        for (int i = 0; i < 3; ++i) x.psum->tile(128, {1024}, f32);
        x.psum->tile(128, {1024}, f32);
      },
      "trn1", ErrorCode::out_of_memory);
  refused("never written", [](Bench& x) { x.nc.tensor_copy(x.a, x.sbuf->tile(128, {512}, f32)); });
  refused("never written there", [](Bench& x) {
    Tile half = x.sbuf->tile(128, {512}, f32);
    x.nc.memset(half.cols(0, 256), 0);
    x.nc.tensor_copy(x.a, half);
  });
  refused("never written there", [](Bench& x) {  // a hole
    Tile t = x.sbuf->tile(128, {512}, f32);
    x.nc.memset(t.cols(0, 100), 0), x.nc.memset(t.cols(200, 100), 0);
    x.nc.tensor_copy(x.a.cols(0, 300), t.cols(0, 300));
  });
  refused("give the pool more buffers", [](Bench& x) {
    TilePool one = x.nc.sbuf_pool("one", 1);
    Tile first = one.tile(128, {4}, f32);
    x.nc.memset(first, 0);
    Tile second = one.tile(128, {4}, f32);
    x.nc.memset(second, 0);
    x.nc.tensor_copy(second, first);
  });
  refused("cannot hold float64", [](Bench& x) { x.sbuf->tile(128, {4}, f64); });
  // Pieces in any order make a whole.
  Bench x;
  Tile pieces = x.sbuf->tile(128, {512}, f32);
  for (const auto& [row, column] : std::vector<std::pair<int, int>>{
           {96, 256}, {0, 0}, {32, 256}, {64, 0}, {96, 0}, {0, 256}, {64, 256}, {32, 0}})
    x.nc.memset(pieces.rows(row, 32).cols(column, 256), 0);
  x.nc.tensor_copy(x.a, pieces);
  // What lies between two pieces may be left out.
  Tile apart = x.sbuf->tile(128, {512}, f32);
  x.nc.memset(apart.cols(0, 100), 0), x.nc.memset(apart.cols(200, 100), 0),
      x.nc.memset(apart.cols(60, 40), 0);
  x.nc.tensor_copy(x.a.cols(0, 100), apart.cols(0, 100)),
      x.nc.tensor_copy(x.a.cols(0, 50), apart.cols(250, 50));
  // A closed pool gives its memory back.
  NeuronCore nc(load_description("trn1"));
  const int64_t before = nc.sbuf_free();
  {
    TilePool pool = nc.sbuf_pool("big", 2);
    pool.tile(128, {16 * 1024}, f32), pool.tile(128, {16 * 1024}, f32);
    CHECK(nc.sbuf_free() == before - 2 * 64 * 1024);
  }
  CHECK(nc.sbuf_free() == before);
}

TEST_CASE("access patterns hold four dimensions of 16 bits; tiles have one to 128 partitions") {
  refused("dimension over 65535", [](Bench& x) {
    Tile t = x.sbuf->tile(1, {70000}, u8);
    x.nc.memset(t, 0);
  });
  refused("a stride of 40000 elements", [](Bench& x) {
    Tile t = x.sbuf->tile(1, {2, 40000}, u8);
    x.nc.memset(t.slice(1, 0, 1), 0);
  });
  refused("one to four free dimensions", [](Bench& x) { x.sbuf->tile(1, {1, 1, 1, 1, 1}, f32); });
  refused("has 129 partitions", [](Bench& x) { x.sbuf->tile(129, {4}, f32); });
  refused("has 0 partitions", [](Bench& x) { x.sbuf->tile(0, {4}, f32); });
  refused("empty free dimension", [](Bench& x) { x.sbuf->tile(1, {0}, f32); });
  refused("needs at least one buffer", [](Bench& x) { x.nc.sbuf_pool("none", 0); });
  refused("is not a tile", [](Bench& x) { x.nc.tensor_copy(x.a, Tile()); });
}

TEST_CASE("instructions that choose elements") {
  refused("does not exist on this device",
          [](Bench& x) { x.nc.range_select(x.a, x.b, AluOp::less, 3, AluOp::greater, 0, 0); });
  refused(
      "two comparisons", [](Bench& x) { x.nc.range_select(x.a, x.b, AluOp::add, 3, AluOp::greater, 0, 0); },
      "trn2");
  refused("within groups of 32", [](Bench& x) { x.nc.stream_shuffle(x.a.rows(0, 16), x.b.rows(0, 16), {}); });
  refused("from partition 40", [](Bench& x) {
    Shuffle shuffle;
    shuffle.source[3] = 40;
    x.nc.stream_shuffle(x.a, x.b, shuffle);
  });
  refused("probability from 0 to 1", [](Bench& x) {
    Tile state = x.sbuf->tile(1, {4}, u32);
    x.nc.memset(state, 0);
    x.nc.dropout(x.a, x.b, 1.5, state, {});
  });
  refused("no window of", [](Bench& x) {
    Tile index = x.sbuf->tile(1, {1}, i32);
    x.nc.memset(index, 0);
    x.nc.tensor_copy_dynamic_src(x.a, x.b.cols(0, 100), 0, index);
  });
  const auto indices = [](Bench& x, int columns, DType dtype = u16) {
    Tile t = x.sbuf->tile(128, {columns}, dtype);
    x.nc.memset(t, 0);
    return t;
  };
  refused("needs uint16 indices", [&](Bench& x) { x.nc.local_gather(x.a, x.b, indices(x, 32, i32)); });
  refused("at most 4096 indices", [&](Bench& x) { x.nc.local_gather(x.a, x.b, indices(x, 257)); });
  refused("elements per index, not 3", [&](Bench& x) { x.nc.local_gather(x.a, x.b, indices(x, 32), 3); });
  refused("with 16 indices of 1", [&](Bench& x) { x.nc.local_gather(x.a, x.b, indices(x, 1)); });
  // What a scatter leaves alone must have been written.
  refused("never written",
          [&](Bench& x) { x.nc.local_scatter(x.sbuf->tile(128, {512}, f32), x.b, indices(x, 32)); });
}

TEST_CASE("DMA shapes and sides") {
  refused("differ; a region is", [](Bench& x) { x.nc.dma_load(x.a, x.nc.hbm("v", {64, 512}, f32)); });
  refused("DMA reaches SBUF only", [](Bench& x) {
    x.nc.nc_matmul(x.acc, x.a.cols(0, 128), x.b);
    x.nc.dma_store(x.nc.hbm("v", {128, 512}, f32), x.acc);
  });
  refused("destination repeats",
          [](Bench& x) { x.nc.dma_store(x.nc.hbm("v", {512}, f32).repeat(0, 128), x.a); });
  refused("needs int32 indices", [](Bench& x) {
    x.nc.dma_gather(x.a, x.nc.hbm("v", {9, 512}, f32), x.scalar);
  });
  refused("has 64 bytes", [](Bench& x) { x.nc.hbm_alias("w", x.nc.hbm("v", {4}, f32), {16}, f32); });
}

// Rules that depend on data: broken when the program runs.
namespace {

template <class F>
void fails_when_run(std::string_view rule, const F& emit, const char* device = "trn1") {
  Bench bench(device);
  bench.sbuf.reset(), bench.psum.reset();
  emit(bench.nc);
  const Program program = compile(std::move(bench.nc));
  const std::string text = expect_error(ErrorCode::device, rule, [&] { program.run({}); });
  CHECK_THAT(text, ContainsSubstring("systolic/rules.cpp:"));
}

}  // namespace

TEST_CASE("arguments outside the range of a function") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (int f = 0; f < function_count; ++f) {
    const auto function = static_cast<Function>(f);
    const auto range = function_range(function);
    if (!range) continue;
    CAPTURE(function_name(function));
    const double outside =
        range->low > 0 && !range->magnitude ? 0.0 : static_cast<double>(range->high) * 1.01;
    for (const double argument : {outside, function == Function::log ? -1.0 : infinity})
      fails_when_run(std::string(function_name(function)) + " has an argument outside", [&](NeuronCore& nc) {
        TilePool pool = nc.sbuf_pool("p", 1);
        Tile t = pool.tile(128, {8}, f32);
        nc.memset(t, 1);
        nc.memset(t.rows(64, 1).cols(7, 1), static_cast<float>(argument));
        nc.activation(t, function, t);
      });
  }
}

TEST_CASE("indices outside their table, and broken promises") {
  fails_when_run("an index lies outside", [](NeuronCore& nc) {
    TilePool pool = nc.sbuf_pool("p", 3);
    Tile whole = pool.tile(4, {16}, f32), part = pool.tile(4, {8}, f32), index = pool.tile(1, {1}, i32);
    nc.memset(whole, 0), nc.memset(index, 9);
    nc.tensor_copy_dynamic_src(part, whole, 0, index);
  });
  fails_when_run("an index lies outside", [](NeuronCore& nc) {
    TilePool pool = nc.sbuf_pool("p", 3);
    Tile table = pool.tile(16, {16}, f32), out = pool.tile(16, {16}, f32), index = pool.tile(16, {1}, u16);
    nc.memset(table, 0), nc.memset(index, 16);
    nc.local_gather(out, table, index);
  });
  fails_when_run("holds something else", [](NeuronCore& nc) {
    TilePool pool = nc.sbuf_pool("p", 2), psum = nc.psum_pool("q", 1);
    Tile ones = pool.tile(8, {8}, f32), x = pool.tile(8, {8}, f32);
    nc.memset(ones, 1), nc.memset(x, 3);
    nc.memset(ones.cols(3, 1), 2);
    nc.nc_matmul(psum.tile(8, {8}, f32), ones, x, {}, {.stationary_onezero = true});
  });
}

TEST_CASE("a deadlock names the instructions that wait for each other") {
  NeuronCore nc("trn1");
  {
    TilePool pool = nc.sbuf_pool("p", 3);
    Tile a = pool.tile(8, {8}, f32), b = pool.tile(8, {8}, f32), c = pool.tile(8, {8}, f32);
    nc.memset(a, 1);
    nc.activation(b, Function::exp, a);
    nc.tensor_copy(c, b);
  }
  const Stream stream = std::move(nc).finish();
  const Dependencies dependencies = find_dependencies(stream);
  const CostModel cost(stream, Column::calibrated);
  // The builder and the scheduler keep producers in front. A queue in which they are not waits for ever:
  // tensor_copy waits for the activation, that for the memset behind tensor_copy.
  const std::vector<uint32_t> order = {2, 0, 1};
  const std::string text =
      expect_error(ErrorCode::device, "deadlock", [&] { run_timeline(stream, dependencies, order, cost); });
  CHECK_THAT(text, ContainsSubstring("tensor_copy at systolic/rules.cpp:"));
  CHECK_THAT(text, ContainsSubstring("waits for activation at systolic/rules.cpp:"));
  CHECK_THAT(text, ContainsSubstring("waits for memset at systolic/rules.cpp:"));
}

TEST_CASE("tensors that do not fit a program") {
  NeuronCore nc("trn1");
  const Hbm x = nc.hbm("x", {8, 16}, f32), y = nc.hbm("y", {8, 16}, f32);
  nc.dma_copy(y, x);
  const Program program = compile(std::move(nc));
  Tensor a = Tensor::full(3, f32, {8, 16}), b(f32, {8, 16});
  program.run({a, b});
  CHECK(b.at(77) == 3);
  program.run({a, b.reshape({128})});
  const auto run = [&](std::vector<Tensor> tensors) {
    return [&program, t = std::move(tensors)] { program.run(std::span<const Tensor>(t)); };
  };
  expect_error(ErrorCode::invalid_argument, "none for 'y'", run({a}));
  expect_error(ErrorCode::invalid_argument, "3 tensors were given", run({a, b, b}));
  expect_error(ErrorCode::invalid_argument, "tensor 1 must be 'y': 128 elements of float32",
               run({a, Tensor(bf16, {8, 16})}));
  expect_error(ErrorCode::invalid_argument, "it has 127 of float32", run({Tensor(f32, {127}), b}));
  expect_error(ErrorCode::invalid_argument, "dense",
               run({a, Tensor(f32, {16, 8}).transpose(std::vector<int64_t>{1, 0})}));
  expect_error(ErrorCode::invalid_argument, "tensor 0", run({Tensor(), b}));
  NeuronCore timed("trn1");
  timed.hbm("x", {8}, f32);
  const Program time = compile(std::move(timed), {.numerics = false});
  expect_error(ErrorCode::unsupported, "timing alone", [&] { time.run({Tensor(f32, {8})}); });
}
