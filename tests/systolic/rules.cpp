// The hardware's rules, each broken once: the error names the instruction, the kernel line and the rule.
#include <optional>

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
  refused("give the pool more buffers", [](Bench& x) {
    TilePool one = x.nc.sbuf_pool("one", 1);
    Tile first = one.tile(128, {4}, f32);
    x.nc.memset(first, 0);
    Tile second = one.tile(128, {4}, f32);
    x.nc.memset(second, 0);
    x.nc.tensor_copy(second, first);
  });
  refused("cannot hold float64", [](Bench& x) { x.sbuf->tile(128, {4}, f64); });
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
