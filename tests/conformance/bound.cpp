// The check of one element.
#include "conformance/bound.h"

#include <cmath>
#include <limits>
#include <vector>

#include "conformance/case.h"
#include "conformance/reference_run.h"
#include "kernels/catalogue.h"
#include "tests/catch.h"

using namespace heddle;
using conformance::bounds_of;
using conformance::compare_exactly;
using conformance::compare_within;
using conformance::Comparison;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

Tensor one(double v, DType dtype = f32) { return Tensor::full(v, dtype, {1}); }

Comparison bounded(double got, double reference, double bound, DType dtype = f32) {
  return compare_within(one(got, dtype), one(reference, f64), one(bound, f64));
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
    return compare_exactly(one(got), one(reference), by_value).wrong;
  };
  CHECK(exact(0.0, -0.0, false) == 1);
  CHECK(exact(0.0, -0.0, true) == 0);
  CHECK(exact(not_a_number, -not_a_number, false) == 0);
  CHECK(exact(1, std::nextafter(1.0f, 2.0f), true) == 1);
  const Tensor large = Tensor::of<int64_t>({int64_t{1} << 60}, {1});
  CHECK(compare_exactly(Tensor::of<int64_t>({(int64_t{1} << 60) + 1}, {1}), large, true).wrong == 1);
}

TEST_CASE("The first wrong element is named by its index, and all are counted") {
  Tensor got(f32, {2, 3, 4}), reference(f32, {2, 3, 4});
  got.set(17, 0.5);
  got.set(20, 0.25);
  const Comparison c = compare_exactly(got, reference, true);
  CHECK(c.wrong == 2);
  CHECK(c.first == "[1,1,1] is 0.5, the reference is 0");
}

TEST_CASE("The bound is c * u_acc * sqrt(K) * |a||b| + u_out * |ref|, about the unrounded reference") {
  const OpSchema& op = *find_op("matmul");
  constexpr int64_t k = 16;
  const Tensor a = Tensor::full(-2, bf16, {1, k}), b = Tensor::full(3.015625, bf16, {k, 1});
  const Attributes attributes = {{"transpose_a", false}, {"transpose_b", false}};
  const std::vector<Tensor> operands = {a, b};
  const std::vector<ValueType> types = {{bf16, Shape{1, 1}}};
  const auto unrounded = conformance::unrounded_reference(op, attributes, operands, types);
  CHECK(unrounded[0].dtype() == f64);
  CHECK(unrounded[0].at(0) == -96.5);  // no bfloat16
  const double expected = op.accuracy.c * 0x1p-24 * 4 * 96.5 + 0x1p-8 * 96.5;
  CHECK(bounds_of(op, attributes, operands, types, unrounded)[0].at(0) == Approx(expected).epsilon(1e-12));
}

TEST_CASE("Every op that is not exact gives its unrounded results where they are asked for") {
  // Rounding them to the op's own dtypes gives what the oracle gives.
  size_t checked = 0;
  for (const conformance::Case& c : conformance::graph_cases()) {
    if (c.op == "partition") continue;
    const conformance::Problem problem = c.make();
    const Node& node = problem.graph.node(0);
    if (node.op->accuracy.exact) continue;
    const std::vector<Tensor> values = conformance::run_reference(problem);
    std::vector<Tensor> operands;
    std::vector<ValueType> types;
    for (const ValueId v : node.inputs) operands.push_back(v == no_value ? Tensor() : values[v]);
    for (const ValueId v : node.outputs) types.push_back({values[v].dtype(), values[v].shape()});
    const auto unrounded = conformance::unrounded_reference(*node.op, node.attributes, operands, types);
    for (size_t i = 0; i < types.size(); ++i) {
      const auto same = compare_exactly(unrounded[i].to(types[i].dtype), values[node.outputs[i]], true);
      if (same.wrong != 0) FAIL_CHECK(c.id << ": " << same.first);
      ++checked;
    }
  }
  CHECK(checked > 3000);
}
