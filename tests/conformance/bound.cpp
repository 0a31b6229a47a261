// The check of one element.
#include "conformance/bound.h"

#include <cmath>
#include <limits>

#include "kernels/catalogue.h"
#include "tests/catch.h"

using namespace heddle;
using conformance::bounds_of;
using conformance::compare;
using conformance::Comparison;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

Tensor one(double v, DType dtype = f32) { return Tensor::full(v, dtype, {1}); }

Comparison bounded(double got, double reference, double bound, DType dtype = f32) {
  return compare(one(got, dtype), one(reference, dtype), one(bound, f64), false);
}

}  // namespace

TEST_CASE("An element within its bound passes and one beyond it does not") {
  CHECK(bounded(1.5, 1, 0.5).wrong == 0);
  CHECK(bounded(1.5, 1, 0.5).error == 1);
  CHECK(bounded(1.5, 1, 0.25).wrong == 1);
  CHECK(bounded(1.5, 1, 0.25).error == 2);
  CHECK(bounded(0, 1e-30, 1e-31).wrong == 1);
  CHECK(bounded(2, 2, 0).wrong == 0);
  CHECK(bounded(2, 2.5, 0).error == infinite);
}

TEST_CASE("NaN equals NaN alone, and an infinity its own") {
  CHECK(bounded(not_a_number, not_a_number, 0.1).wrong == 0);
  CHECK(bounded(not_a_number, 1, infinite).wrong == 1);
  CHECK(bounded(1, not_a_number, infinite).wrong == 1);
  CHECK(bounded(infinite, infinite, not_a_number).wrong == 0);
  CHECK(bounded(-infinite, infinite, infinite).wrong == 1);
  CHECK(bounded(1, infinite, infinite).wrong == 1);
  CHECK(bounded(infinite, 1, 0.1).wrong == 1);
  // 65504 is float16's largest number.
  CHECK(bounded(infinite, 65504, 32, f16).wrong == 0);
  CHECK(bounded(-infinite, 65504, 32, f16).wrong == 1);
  CHECK(bounded(infinite, 65000, 32, f16).wrong == 1);
}

TEST_CASE("A bound that is no number accepts nothing but equality") {
  CHECK(bounded(1, 1, not_a_number).wrong == 0);
  CHECK(bounded(1, 1.0001, not_a_number).wrong == 1);
}

TEST_CASE("Exact results are compared bit for bit, or by value where arithmetic may give either zero") {
  const auto exact = [](double got, double reference, bool by_value) {
    return compare(one(got), one(reference), {}, by_value).wrong;
  };
  CHECK(exact(0.0, -0.0, false) == 1);
  CHECK(exact(0.0, -0.0, true) == 0);
  CHECK(exact(not_a_number, -not_a_number, false) == 0);
  CHECK(exact(1, std::nextafter(1.0f, 2.0f), true) == 1);
  CHECK(compare(Tensor::of<int64_t>({(int64_t{1} << 60) + 1}, {1}),
                Tensor::of<int64_t>({int64_t{1} << 60}, {1}), {}, true)
            .wrong == 1);
}

TEST_CASE("The first wrong element is named by its index, and all are counted") {
  Tensor got(f32, {2, 3, 4}), reference(f32, {2, 3, 4});
  got.set(17, 0.5);
  got.set(20, 0.25);
  const Comparison c = compare(got, reference, {}, true);
  CHECK(c.wrong == 2);
  CHECK(c.first == "[1,1,1] is 0.5, the reference is 0");
}

TEST_CASE("The bound is c * u_acc * sqrt(K) * |a||b| + u_out * |ref|") {
  const OpSchema& op = *find_op("matmul");
  constexpr int64_t k = 16;
  const Tensor a = Tensor::full(-2, bf16, {1, k}), b = Tensor::full(3, bf16, {k, 1}),
               y = Tensor::full(-96, bf16, {1, 1});
  const Tensor bound =
      bounds_of(op, {{"transpose_a", false}, {"transpose_b", false}}, std::vector{a, b}, std::vector{y})[0];
  const double expected = op.accuracy.c * 0x1p-24 * 4 * 96 + 0x1p-8 * 96;
  CHECK(bound.at(0) == Approx(expected).epsilon(1e-12));
  CHECK(!bounds_of(*find_op("transpose"), {}, std::vector{a}, std::vector{a})[0].defined());
}
