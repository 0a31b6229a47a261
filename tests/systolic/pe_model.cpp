// The closed forms of a product's time on the array, against rows computed by hand; pe_reference.cpp has the
// published table.
#include "heddle/systolic/pe_model.h"

#include "heddle/error.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/property.h"

using namespace heddle;
using namespace heddle::systolic;

namespace {

const PeDescription& trn1() {
  static const Description description = load_description("trn1");
  return description.pe;
}

void expect_cycles(const Gemm& gemm, int64_t scalesim, int64_t overlap, int64_t trn) {
  CAPTURE(gemm.m, gemm.n, gemm.k);
  CHECK(pe_cycles(PeModel::scalesim, gemm, DType::bfloat16, trn1()) == scalesim);
  CHECK(pe_cycles(PeModel::overlap, gemm, DType::bfloat16, trn1()) == overlap);
  CHECK(pe_cycles(PeModel::trn, gemm, DType::bfloat16, trn1()) == trn);
}

}  // namespace

TEST_CASE("cycles of a product under the three rules", "[systolic]") {
  // One multiply: (2*128 + 128 + 1 - 2) - 1; 255 + 254 + 4; one column, one row.
  expect_cycles({1, 1, 1}, 382, 513, 1);
  // One row: a drain of at least 4; 64 cycles at least for 128 columns.
  expect_cycles({1, 128, 128}, 382, 513, 64);
  // Odd sizes: 3 x 5 folds of 777 rows in 7 blocks; columns 128, 128 and 77.
  expect_cycles({777, 333, 555}, 15 * (256 + 128 + 777 - 2) - 1, 255 + 104 * 128 + 254 + 9, 5 * 3 * 777);
  expect_cycles({128, 2304, 768}, 55079, 14333, 13824);
}

TEST_CASE("float32 takes four passes, sizes and dtypes are checked", "[systolic]") {
  const Gemm gemm{256, 128, 128};
  for (const PeModel model : {PeModel::scalesim, PeModel::overlap, PeModel::trn})
    CHECK(pe_cycles(model, gemm, DType::float32, trn1()) ==
          4 * pe_cycles(model, gemm, DType::bfloat16, trn1()));
  test::expect_error(ErrorCode::invalid_argument, "1 to 1048576", [] {
    pe_cycles(PeModel::trn, {0, 1, 1}, DType::bfloat16, trn1());
  });
  test::expect_error(ErrorCode::invalid_argument, "int32", [] {
    pe_cycles(PeModel::trn, {1, 1, 1}, DType::int32, trn1());
  });
}

TEST_CASE("no rule is faster than the array", "[systolic]") {
  const uint64_t seed = test::property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200; ++i) {
    const Gemm gemm{test::draw(random, 1, 3000), test::draw(random, 1, 3000), test::draw(random, 1, 3000)};
    CAPTURE(gemm.m, gemm.n, gemm.k);
    const double least = gemm.macs() / (128.0 * 128.0);
    for (const PeModel model : {PeModel::scalesim, PeModel::overlap, PeModel::trn}) {
      const int64_t cycles = pe_cycles(model, gemm, DType::bfloat16, trn1());
      CHECK(static_cast<double>(cycles) >= least);
      CHECK(pe_streaming_cycles(model, gemm, DType::bfloat16, trn1()) <= cycles);
    }
    CHECK(pe_cycles(PeModel::scalesim, gemm, DType::bfloat16, trn1()) >=
          pe_cycles(PeModel::trn, gemm, DType::bfloat16, trn1()));
  }
}
