// References at the corners that PyTorch does not have, decompositions, error bounds and costs of the core's
// ops.
#include <algorithm>
#include <cmath>
#include <set>

#include "heddle/ops.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"
#include "tests/kernels/core_cases.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

using Elements = std::vector<double>;
using Ints = std::vector<int64_t>;

Elements elements(const Tensor& t) {
  Elements values;
  for (int64_t i = 0; i < t.elements(); ++i) values.push_back(t.at(i));
  return values;
}
Tensor first(const OpCase& c) { return run_reference(c)[0]; }
Attributes along(const char* kind, int64_t axis) {
  return {{"kind", std::string(kind)}, {"axes", Ints{axis}}};
}

TEST_CASE("a decomposition into core ops stays within the op's error bound of the reference") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::set<std::string> seen;
  for (const DType dtype : {f64, f32, bf16, f16}) {
    for (const OpCase& c : small_composite_cases(seed, dtype)) {
      INFO(to_string(c));
      seen.insert(c.op);
      const std::vector<Tensor> want = run_reference(c), got = run_decomposition(c);
      const std::vector<std::vector<double>> bounds = error_bounds(c, want);
      for (size_t o = 0; o < want.size(); ++o)
        check_close(got[o], want[o], bounds[o], c.op + " output " + std::to_string(o));
    }
  }
  CHECK(seen ==
        std::set<std::string>{"embedding", "embedding_grad", "one_hot", "dropout", "matmul_pointwise"});
}

TEST_CASE("a float32 sum in any order is within the bound, and a missing term is not") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (const int64_t k : {1, 7, 100, 5000}) {
    const OpCase reduce = {"reduce", along("sum", 0), {normal_tensor(seed, f32, {k})}};
    const OpCase product = {
        "matmul", {}, {normal_tensor(seed, f32, {1, k}), normal_tensor(seed + 1, f32, {k, 1})}};
    std::vector<float> terms, products;
    for (int64_t i = 0; i < k; ++i) {
      const auto a = static_cast<float>(reduce.inputs[0].at(i));
      terms.push_back(a);
      products.push_back(a * static_cast<float>(product.inputs[1].at(i)));
    }
    for (int order = 0; order < 2; ++order) {
      CAPTURE(k, order);
      const auto check = [](const OpCase& c, const std::vector<float>& list) {
        float sum = 0;  // one after the other, as a plain kernel does
        for (const float t : list) sum += t;
        const double bound = error_bounds(c, run_reference(c))[0][0];
        CHECK(std::fabs(static_cast<double>(sum) - first(c).at(0)) <= bound);
        CHECK(bound < 0.1);  // terms are about 1
      };
      check(reduce, terms);
      check(product, products);
      std::sort(terms.begin(), terms.end());
      std::sort(products.begin(), products.end());
    }
  }
}

TEST_CASE("costs count the operations and the bytes that must move") {
  const auto check = [](const OpCase& c, double flops, double bytes) {
    INFO(to_string(c));
    CHECK(cost_of(c).flops == flops);
    CHECK(cost_of(c).bytes == bytes);
  };
  const Tensor a(f32, {4, 8}), b(bf16, {8, 2}), n(f32, {8, 2});
  check({"matmul", {}, {a, n}}, 2 * 4 * 8 * 2, 4 * (32 + 16 + 8));
  check({"matmul", {{"transpose_a", true}}, {Tensor(f32, {8, 4}), n}}, 2 * 4 * 8 * 2, 4 * (32 + 16 + 8));
  check({"reduce", along("sum", 1), {a}}, 32, 4 * (32 + 4));
  check({"transpose", {{"order", Ints{1, 0}}}, {b}}, 0, 2 * 2 * 16);
  check({"reshape", {{"shape", Dims{16}}}, {b}}, 0, 0);  // a view
  check({"slice", {{"begin", Dims{0, 0}}, {"end", Dims{1, 2}}, {"step", Ints{1, 1}}}, {a}}, 0, 2 * 2 * 4);
  check({"gather", {}, {a, Tensor(i32, {3})}}, 0, 2 * 3 * 8 * 4 + 3 * 4);
}

TEST_CASE("gather gives NaN, or 0, for rows that do not exist, and counts back from the end") {
  const Tensor rows = Tensor::of<int64_t>({-3, 3, -4, 2}, {4});
  const Elements got = elements(first({"gather", {}, {Tensor::of<float>({1, 2, 3}, {3}), rows}}));
  CHECK(got[0] == 1);
  CHECK(std::isnan(got[1]));
  CHECK(std::isnan(got[2]));
  CHECK(got[3] == 3);
  CHECK(elements(first({"gather", {}, {Tensor::of<int32_t>({1, 2, 3}, {3}), rows}})) == Elements{1, 0, 0, 3});
  CHECK(elements(first({"gather", {}, {Tensor(f32, {0}), Tensor(i64, {0})}})).empty());
}

TEST_CASE("scatter skips rows that do not exist; the last of equal rows wins") {
  const Tensor x = Tensor::of<int32_t>({10, 20, 30}, {3}), rows = Tensor::of<int8_t>({0, 9, -1, 0, -9}, {5});
  const Tensor updates = Tensor::of<int32_t>({1, 2, 3, 4, 5}, {5});
  CHECK(elements(first({"scatter", {}, {x, rows, updates}})) == Elements{4, 20, 3});
  CHECK(elements(first({"scatter", {{"mode", std::string("add")}}, {x, rows, updates}})) ==
        Elements{15, 20, 33});
}

TEST_CASE("dynamic windows are moved to fit") {
  const Tensor x = Tensor::of<int32_t>({0, 1, 2, 3, 4, 5}, {2, 3});
  const auto start = [](int64_t row, int64_t column) { return Tensor::of<int64_t>({row, column}, {2}); };
  const auto window = [&](int64_t row, int64_t column) {
    return elements(first({"dynamic_slice", {{"size", Dims{1, 2}}}, {x, start(row, column)}}));
  };
  CHECK(window(0, 0) == Elements{0, 1});
  CHECK(window(1, 2) == Elements{4, 5});
  CHECK(window(-5, 99) == Elements{1, 2});
  const Tensor update = Tensor::of<int32_t>({8, 9}, {1, 2});
  CHECK(elements(first({"dynamic_update_slice", {}, {x, update, start(7, -7)}})) ==
        Elements{0, 1, 2, 8, 9, 5});
}

TEST_CASE("reductions of nothing have their neutral element") {
  const auto reduce = [](const char* kind, const Tensor& x) {
    return first({"reduce", along(kind, 0), {x}}).at(0);
  };
  CHECK(reduce("sum", Tensor(f32, {0})) == 0);
  CHECK(reduce("prod", Tensor(f32, {0})) == 1);
  CHECK(reduce("max", Tensor(f32, {0})) == -INFINITY);
  CHECK(reduce("min", Tensor(f32, {0})) == INFINITY);
  CHECK(std::isnan(reduce("mean", Tensor(f32, {0}))));
  CHECK(reduce("max", Tensor(i8, {0})) == -128);
  CHECK(reduce("min", Tensor(u16, {0})) == 65535);
}

TEST_CASE("64-bit integers are compared exactly") {
  const Tensor large = Tensor::of<uint64_t>({~0ull, 1, ~0ull - 5}, {3});
  CHECK(first({"reduce", along("max", 0), {large}}).values<uint64_t>()[0] == ~0ull);
  CHECK(first({"reduce", along("min", 0), {large}}).values<uint64_t>()[0] == 1);
  CHECK(first({"reduce", along("sum", 0), {large}}).values<uint64_t>()[0] == ~0ull - 5);
  CHECK(first({"argmax", {{"axis", int64_t{0}}}, {large}}).at(0) == 0);
  CHECK(elements(run_reference({"sort", {{"axis", int64_t{0}}}, {large}})[1]) == Elements{1, 2, 0});
  const Tensor close = Tensor::of<int64_t>({(1ll << 53) + 1, 1ll << 53}, {2});  // one apart, equal as doubles
  CHECK(first({"argmax", {{"axis", int64_t{0}}}, {close}}).at(0) == 0);
  CHECK(first({"reduce", along("max", 0), {close}}).values<int64_t>()[0] == (1ll << 53) + 1);
  CHECK(elements(run_reference({"sort", {{"axis", int64_t{0}}}, {close}})[1]) == Elements{1, 0});
}

TEST_CASE("integer products, sums and positions wrap") {
  const Tensor big = Tensor::of<int64_t>({int64_t{1} << 62, 3}, {1, 2}),
               factors = Tensor::of<int64_t>({4, 5}, {2, 1});
  CHECK(first({"matmul", {}, {big, factors}}).values<int64_t>()[0] == 15);  // 2^64 + 15
  const Tensor hundreds = Tensor::of<int8_t>({100, 100}, {2});
  CHECK(elements(first({"cumsum", {{"axis", int64_t{0}}}, {hundreds}})) == Elements{100, -56});
  const Attributes columns = {{"shape", Dims{2, 3}}, {"axis", int64_t{1}}, {"dtype", u8}};
  CHECK(elements(first({"iota", columns, {}})) == Elements{0, 1, 2, 0, 1, 2});
  CHECK(first({"iota", {{"shape", Dims{260}}, {"dtype", u8}}, {}}).at(257) == 1);
}

TEST_CASE("random bits are one stream, wherever the counter starts") {
  const auto draw = [](uint64_t key, uint64_t counter, int64_t n) {
    return first({"random_bits",
                  {{"shape", Dims{Dim(n)}}},
                  {Tensor::of<uint64_t>({key}, {1}), Tensor::of<uint64_t>({counter}, {1})}});
  };
  const Tensor known = draw(0, 0, 5);
  // Random123's known answer for counter 0 and key 0.
  const uint32_t answer[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (size_t i = 0; i < 4; ++i) CHECK(known.values<uint32_t>()[i] == answer[i]);
  CHECK(elements(draw(9, 2, 4)) == elements(draw(9, 0, 12).slice(0, 8, 12)));
  CHECK(elements(draw(9, 0, 4)) != elements(draw(1ull << 32 | 9, 0, 4)));  // all 64 bits of the key count
  CHECK(elements(draw(9, 1ull << 32, 4)) != elements(draw(9, 0, 4)));      // and of the counter
}

TEST_CASE("dropout keeps its share and scales it") {
  const int64_t n = 40000;
  const double rate = 0.25;
  const Tensor word = Tensor::of<uint64_t>({1}, {1});
  const Tensor y = first({"dropout", {{"rate", rate}}, {Tensor::full(3, f32, {n}), word, word}});
  int64_t kept = 0, other = 0;
  for (const float v : y.values<float>()) {
    kept += v == 4;
    other += v != 4 && v != 0;
  }
  CHECK(other == 0);
  // Five standard deviations of a binomial count.
  const double count = static_cast<double>(n);
  CHECK(std::fabs(static_cast<double>(kept) - 0.75 * count) < 5 * std::sqrt(count * rate * (1 - rate)));
}

TEST_CASE("evaluate runs a graph once: outputs and updates from the values at its start") {
  Graph g;
  const Value x = g.input("x", f32, {2}), w = g.variable("w", f32, {2});
  g.update(w, w + x);
  g.output("y", w * 2.0);
  const std::map<std::string, Tensor> given = {{"x", Tensor::of<float>({1, 2}, {2})},
                                               {"w", Tensor::of<float>({10, 20}, {2})}};
  const Evaluation result = evaluate(g, given);
  CHECK(elements(result.outputs.at("y")) == Elements{20, 40});
  CHECK(elements(result.variables.at("w")) == Elements{11, 22});
  CHECK(given.at("w").at(0) == 10);
}

}  // namespace
}  // namespace heddle::test
