// Products whose contraction is so long that no strip of the stationary operand fits SBUF, against plain
// sums. SBUF is made small, so that contractions of a few thousand are long.
#include "systolic/kernels/matmul_blocking.h"

#include "ir/graph_data.h"
#include "kernels/catalogue.h"
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

struct Form {
  int64_t m, k, n;
  bool transpose_a = false, transpose_b = false;
  DType dtype = f32;
  int64_t batch = 1;  // of a; b is shared
};

// Small whole numbers, so that sums in any order are exact.
Tensor integers(std::mt19937_64& random, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  std::uniform_int_distribution<int> uniform(-2, 2);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, uniform(random));
  return t;
}

// Checks the product and returns how it was cut.
Blocking check_product(const Form& f, const Description& device) {
  std::mt19937_64 random(11);
  NeuronCore nc(device);
  const Shape a_shape = f.transpose_a ? Shape{f.batch, f.k, f.m} : Shape{f.batch, f.m, f.k},
              b_shape = f.transpose_b ? Shape{f.n, f.k} : Shape{f.k, f.n};
  std::vector<Tensor> tensors = {integers(random, f.dtype, a_shape), integers(random, f.dtype, b_shape),
                                 Tensor(f.dtype, {f.batch, f.m, f.n})};
  std::vector<systolic::Operand> operands;
  std::vector<std::byte*> bytes;
  for (Tensor& t : tensors) {
    systolic::Operand o;
    o.dtype = t.dtype(), o.shape = t.shape(), o.present = true;
    o.hbm = nc.hbm("value" + std::to_string(bytes.size()), {t.elements()}, t.dtype());
    operands.push_back(o);
    bytes.push_back(static_cast<std::byte*>(t.data()));
  }
  const Attributes attributes = ir::complete_attributes(
      *find_op("matmul"), {{"transpose_a", f.transpose_a}, {"transpose_b", f.transpose_b}});
  const NodeContext context{
      nc, "matmul", "matmul", attributes, std::span(operands).first(2), std::span(operands).subspan(2)};
  const Blocking cut = blocking(context, product_of(context), device.psum.banks, 0);
  systolic::find_lowering("matmul")->emit(context);
  const Program program = compile(std::move(nc).finish());
  WorkingMemory memory(program.memory_bytes());
  program.run(bytes, memory.data());

  std::vector<float> values[2];
  for (size_t t = 0; t < 2; ++t)
    for (int64_t i = 0; i < tensors[t].elements(); ++i)
      values[t].push_back(static_cast<float>(tensors[t].at(i)));
  const int64_t a_row = f.transpose_a ? 1 : f.k, a_k = f.transpose_a ? f.m : 1,
                b_column = f.transpose_b ? f.k : 1, b_k = f.transpose_b ? 1 : f.n;
  int64_t wrong = 0;
  for (int64_t e = 0; e < f.batch * f.m * f.n; ++e) {
    const int64_t column = e % f.n, row = e / f.n % f.m, batch = e / f.n / f.m;
    const float *a = &values[0][static_cast<size_t>(batch * f.m * f.k + row * a_row)],
                *b = &values[1][static_cast<size_t>(column * b_column)];
    float sum = 0;
    for (int64_t k = 0; k < f.k; ++k) sum += a[k * a_k] * b[k * b_k];
    wrong += tensors[2].at(e) != Tensor::scalar(sum, f.dtype).at(0);
  }
  CHECK(wrong == 0);
  return cut;
}

}  // namespace

TEST_CASE("long contractions stream both operands") {
  const Description device = with("trn1", {{"sbuf.kib", 48}});
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      CAPTURE(ta, tb);
      // More rows than a strip has, and more columns than a block; all of them ragged.
      const Blocking rows = check_product({520, 3589, 9, ta, tb}, device),
                     columns = check_product({9, 3589, 1030, ta, tb}, device);
      CHECK(!rows.stationary_stays);
      CHECK(rows.m_tiles * tile_m < 520);
      CHECK(!columns.stationary_stays);
      CHECK(columns.n_tiles * tile_n < 1030);
    }
  CHECK(!check_product({40, 3589, 9, false, false, f32, 3}, device).stationary_stays);  // a batch
  CHECK(!check_product({130, 8200, 70, true, false, bf16}, device).stationary_stays);
  CHECK(check_product({40, 300, 9}, device).stationary_stays);
}

TEST_CASE("long contractions of short rows stream runs of rows") {
  const Description device = with("trn1", {{"sbuf.kib", 48}});
  for (const Form& f : {Form{256, 3584, 64, true}, Form{1024, 3584, 16, true}}) {
    CAPTURE(f.m);
    const Blocking cut = check_product(f, device);
    CHECK(!cut.stationary_stays);
    CHECK(cut.k_run > 1);
    CHECK(cut.rows_dealt);  // of the result, too
  }
}

TEST_CASE("a contraction of 32768 runs on the device as it is") {
  CHECK(!check_product({5, 32768, 7}, load_description("trn1")).stationary_stays);
}
