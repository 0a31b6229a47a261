#include <cmath>

#include "core/philox.h"
#include "heddle/graph.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::test;

TEST_CASE("Philox4x32-10 gives the words of Random123's known-answer file") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
        PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  CHECK(philox_block(0x1122334455667788, 0x99aabbccddeeff00) ==
        philox4x32({0x55667788, 0x11223344, 0, 0}, {0xddeeff00, 0x99aabbcc}));
}

TEST_CASE("initial values depend on the name and the seed alone") {
  const auto draw = [](const std::string& name, uint64_t seed, const Shape& shape = {5}) {
    return initial_value(init::normal(1), name, f64, shape, seed);
  };
  const auto first = [](const Tensor& t) {
    return std::vector<double>(t.values<double>().begin(), t.values<double>().begin() + 5);
  };
  CHECK(first(draw("w", 1)) == first(draw("w", 1)));
  CHECK(first(draw("w", 1)) != first(draw("w", 2)));
  CHECK(first(draw("w", 1)) != first(draw("v", 1)));
  CHECK(first(draw("w", 1)) == first(draw("w", 1, {3, 4})));  // a longer draw begins with the shorter one
}

TEST_CASE("normal and uniform draws have their moments") {
  const int64_t n = 100000;
  const auto moments = [&](const Initializer& i) {
    const Tensor t = initial_value(i, "w", f64, {n}, 7);
    double mean = 0, square = 0;
    for (const double v : t.values<double>()) mean += v / static_cast<double>(n);
    for (const double v : t.values<double>()) square += (v - mean) * (v - mean) / static_cast<double>(n);
    return std::pair(mean, std::sqrt(square));
  };
  // Five standard deviations of the sample mean, sd / sqrt(n), and of the sample sd, at most sd / sqrt(2 n).
  const auto [mean, sd] = moments(init::normal(3, 2));
  CHECK(mean == Approx(2).margin(5 * 3 / std::sqrt(1e5)));
  CHECK(sd == Approx(3).margin(5 * 3 / std::sqrt(2e5)));
  const auto [middle, width] = moments(init::uniform(-1, 3));
  CHECK(middle == Approx(1).margin(5 * 4 / std::sqrt(12e5)));
  CHECK(width == Approx(4 / std::sqrt(12.0)).margin(5 * 4 / std::sqrt(24e5)));
  const Tensor u = initial_value(init::uniform(-1, 3), "w", f64, {1000}, 7);
  for (const double v : u.values<double>()) CHECK((v >= -1 && v < 3));
}

TEST_CASE("constants and tensors; what does not fit is refused") {
  CHECK(initial_value(init::constant(3), "n", i32, {2}, 0).values<int32_t>()[1] == 3);
  CHECK(initial_value(init::zeros(), "n", bf16, {2}, 0).at(1) == 0);
  const Tensor given = Tensor::of<float>({1, 2}, {2});
  Tensor copy = initial_value(init::tensor(given), "w", f32, {2}, 0);
  copy.set(0, 9);
  CHECK(given.at(0) == 1);
  expect_error(ErrorCode::shape_mismatch, "variable 'w' (float32[3])",
               [&] { initial_value(init::tensor(given), "w", f32, {3}, 0); });
  expect_error(ErrorCode::dtype_mismatch, "Tensor::to",
               [&] { initial_value(init::tensor(given), "w", f16, {2}, 0); });
  expect_error(ErrorCode::dtype_mismatch, "float dtype",
               [&] { initial_value(init::normal(1), "w", i32, {2}, 0); });
  expect_error(ErrorCode::invalid_argument, "undefined",
               [&] { initial_value(init::tensor({}), "w", i32, {2}, 0); });
}

TEST_CASE("a variable that could not start is refused where it is declared") {
  Graph g;
  const Tensor three = Tensor::of<float>({1, 2, 3}, {3});
  expect_error(ErrorCode::shape_mismatch, "variable 'w' (float32[2]): the tensor is [3]",
               [&] { g.variable("w", f32, {2}, init::tensor(three)); });
  expect_error(ErrorCode::dtype_mismatch, "Tensor::to",
               [&] { g.variable("w", f64, {3}, init::tensor(three)); });
  expect_error(ErrorCode::dtype_mismatch, "float dtype", [&] { g.variable("n", i32, {3}, init::normal(1)); });
  CHECK(g.variables().empty());
  g.variable("w", f32, {3}, init::tensor(three));
}
