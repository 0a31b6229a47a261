// How close the kernels come to what bounds them. Simulated time is deterministic: these are facts about the
// schedules, not timings. bench_systolic prints the same figures for more shapes.
#include "bench/kernel_bounds.h"

#include "tests/catch.h"

using namespace heddle;
using namespace heddle::bench;

TEST_CASE("the blocked matmul keeps the tensor engine busy") {
  const KernelBounds b = measure(matmul_case(4096, 8192, 8192, bf16, true));
  CHECK(b.binding().name == std::string("pe"));
  CHECK(b.percent_of(b.pe) >= 97);
  // Every operand is read once, but for the moving one: once for each strip of 512 rows.
  CHECK(b.hbm <= (4096.0 * 8192 + 8192.0 * 8192 * 8 + 4096.0 * 8192) * 2 / 820e3);
}

TEST_CASE("a contraction whose strips do not fit reads each operand of a block once") {
  // 256 KiB of a partition for a strip of 128 rows; the result is one block.
  const KernelBounds b = measure(matmul_case(512, 65536, 512, f32, true));
  CHECK(b.hbm <= (2 * 512.0 * 65536 + 512.0 * 512) * 4 / 820e3);
  CHECK(b.binding().name == std::string("pe"));
  CHECK(b.percent_of(b.pe) >= 90);
}

TEST_CASE("attention is bound by the port of PSUM") {
  const KernelBounds full = measure(attention_case(1, 4096, 128, false)),
                     causal = measure(attention_case(1, 4096, 128, true));
  CHECK(full.binding().name == std::string("psum port"));
  CHECK(full.time <= 400);
  CHECK(full.percent_of(full.psum_port) >= 90);
  CHECK(causal.time <= 0.62 * full.time);
  // Hidden blocks are skipped: 33 of 64 halves of the scores remain, and a block of each pair on the edge.
  CHECK(causal.psum_port <= 0.57 * full.psum_port);
}

TEST_CASE("the gradient of attention keeps the tensor engine busy") {
  const KernelBounds full = measure(attention_grad_case(1, 4096, 128, false)),
                     causal = measure(attention_grad_case(1, 4096, 128, true));
  CHECK(full.percent_of(full.pe) >= 85);
  CHECK(causal.time <= 0.65 * full.time);
}

TEST_CASE("norms of long and of short rows") {
  const ValueType x = type(bf16, {4096, 1024}), row = type(bf16, {1024}), column = type(f32, {4096, 1});
  const KernelBounds forward = measure({"layer_norm", {{"epsilon", 1e-5}}, {x, row, row}}),
                     backward = measure({"layer_norm_grad", {}, {x, x, row, column, column}});
  CHECK(forward.percent_of(std::max(forward.dma, forward.dve)) >= 85);
  CHECK(backward.percent_of(std::max(backward.dma, backward.dve)) >= 85);
  // The longest rows that are offered fit in SBUF.
  const ValueType longest = type(f32, {256, 2048}), scale = type(f32, {2048}), stat = type(f32, {256, 1});
  CHECK(measure({"layer_norm", {{"epsilon", 1e-5}}, {longest, scale, scale}}).time > 0);
  CHECK(measure({"layer_norm_grad", {}, {longest, longest, scale, stat, stat}}).time > 0);
  CHECK(measure({"rms_norm_grad", {}, {longest, longest, scale, stat}}).time > 0);
  // Short rows come some per partition.
  const ValueType narrow = type(f32, {1408, 64}), gain = type(f32, {64});
  CHECK(compile_kernel({"layer_norm", {{"epsilon", 1e-5}}, {narrow, gain, gain}}, "trn1")
            .timing()
            .dma.transfers <= 6);
}

TEST_CASE("short heads take few transfers") {
  // As in the example of heddle train: 128 sequences of 11 tokens, four heads of 16.
  const ValueType x = type(f32, {128, 11, 4, 16});
  const KernelCase c{"attention", {{"causal", true}, {"layout", std::string("bshd")}}, {x, x, x}};
  const systolic::Program program = compile_kernel(c, "trn1");
  CHECK(program.timing().dma.transfers <= 12 * 5 + 2);  // panels of eleven sequences, and the row statistics
  const KernelBounds b = bounds_of(program);
  CHECK(b.percent_of(b.pe) >= 50);
}

TEST_CASE("the optimizer streams at the rate of the DMA engines") {
  const KernelBounds b = measure(adamw_case(4, 1024, 4096, 0));
  CHECK(b.percent_of(std::max(b.dma, b.dve)) >= 85);
}
