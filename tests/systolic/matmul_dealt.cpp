// Products whose rows are dealt to partitions in runs, against double precision.
#include <cmath>

#include "bench/kernel_bounds.h"
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// The largest error of a @ b, relative to the largest sum of magnitudes.
double largest_error(int64_t batch, int64_t m, int64_t k, int64_t n, DType dtype, bool ta, bool tb) {
  std::mt19937_64 random(5);
  KernelRun run;
  const Tensor a = random_tensor(random, dtype, ta ? Shape{batch, k, m} : Shape{batch, m, k}),
               b = random_tensor(random, dtype, tb ? Shape{n, k} : Shape{k, n});
  const auto operand = [&](const Tensor& t) {
    systolic::Operand o;
    o.dtype = t.dtype(), o.shape = t.shape(), o.present = true;
    o.hbm = run.value(t).reshape({t.elements()});
    return o;
  };
  const systolic::Operand inputs[] = {operand(a), operand(b)},
                          outputs[] = {operand(Tensor(dtype, {batch, m, n}))};
  const Attributes attributes =
      ir::complete_attributes(*find_op("matmul"), {{"transpose_a", ta}, {"transpose_b", tb}});
  systolic::find_lowering("matmul")->emit({run.nc, "matmul", "matmul", attributes, inputs, outputs});
  run.run();
  double worst = 0;
  for (int64_t z = 0; z < batch; ++z)
    for (int64_t i = 0; i < m; i += 11)
      for (int64_t j = 0; j < n; j += 3) {
        double sum = 0, magnitude = 0;
        for (int64_t l = 0; l < k; ++l) {
          const double product =
              a.at(z * m * k + (ta ? l * m + i : i * k + l)) * b.at(tb ? j * k + l : l * n + j);
          sum += product, magnitude += std::abs(product);
        }
        worst = std::max(worst, std::abs(run.tensors[2].at((z * m + i) * n + j) - sum) / magnitude);
      }
  return worst;
}

}  // namespace

TEST_CASE("products of short rows") {
  CHECK(largest_error(1, 1408, 64, 64, f32, false, false) < 1e-6);  // one strip of eleven tiles, two banks
  CHECK(largest_error(1, 640, 200, 96, f32, false, true) < 1e-6);   // five tiles of a strip, five to a bank
  CHECK(largest_error(1, 64, 1408, 80, f32, true, false) < 1e-6);   // eleven rows of K to a partition
  CHECK(largest_error(1, 256, 768, 130, bf16, true, false) < 0x1p-8);
  CHECK(largest_error(3, 256, 96, 33, bf16, false, false) < 0x1p-8);  // batches share the moving operand
  CHECK(largest_error(2, 130, 70, 600, f32, false, false) < 1e-6);    // nothing is dealt
}

TEST_CASE("products of short rows take few descriptors") {
  // 1408 rows of 256 bytes: a tile of 128 partitions with eleven rows each, in and out.
  const systolic::Program program =
      bench::compile_kernel(bench::matmul_case(1408, 64, 64, f32, false), "trn1");
  CHECK(program.timing().dma.descriptors <= 4 * 128 + 64 * 2);
}
