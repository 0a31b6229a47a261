#include <limits>

#include "heddle/shape.h"
#include "tests/expect_error.h"
#include "tests/property.h"

namespace heddle::test {

TEST_CASE("a dim is a number, a name or a polynomial, and prints as one") {
  const Dim batch = "batch", seq = "seq";
  CHECK(Dim().number() == 0);
  CHECK(Dim(size_t{784}).number() == 784);
  CHECK(to_string(Dim(784)) == "784");
  CHECK(to_string(batch) == "batch");
  CHECK(to_string(2 * batch * seq + 1) == "2*batch*seq + 1");
  CHECK(to_string(seq - 1) == "seq - 1");
  CHECK(to_string(0 - seq) == "-seq");
  CHECK(to_string(3 - 2 * seq) == "-2*seq + 3");
  CHECK(to_string(seq * seq) == "seq*seq");
  CHECK(to_string(Dim(0) - std::numeric_limits<int64_t>::max() - 1) == "-9223372036854775808");
  CHECK(batch.name() == "batch");
  CHECK((batch + 0).name() == "batch");
  CHECK((batch * 2).name().empty());
  CHECK((batch + 1).name().empty());
  CHECK((batch * seq).name().empty());
  CHECK(Dim(3).name().empty());
  CHECK_FALSE(batch.is_number());
  CHECK((batch - batch).is_number());
  CHECK((batch - batch) == Dim(0));
  CHECK((batch * 0).names().empty());
  CHECK(batch * seq == seq * batch);
  CHECK_FALSE(batch == seq);
  CHECK((batch + seq) * (batch - seq) == batch * batch - seq * seq);
}

TEST_CASE("names and ranges of dims are checked") {
  for (const char* bad : {"", "1st", "a-b", "a b", ".x", "é"}) {
    CAPTURE(bad);
    expect_error(ErrorCode::invalid_argument, bad, [&] { Dim{bad}; });
  }
  CHECK(Dim("_past.len_2").name() == "_past.len_2");
  using R = DimRange;
  for (R bad : {R{5, 4, 1}, R{-1, 4, 1}, R{0, 4, 0}, R{1, 7, 8}, R{9, 15, 8},
                R{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max(), 2}}) {
    expect_error(ErrorCode::invalid_argument, "'n'", [&] { Dim("n", bad); });
  }
  CHECK(Dim("n", {1, 8, 8}).names().at("n") == R{1, 8, 8});
  expect_error(ErrorCode::invalid_argument, "batch", [] { (void)Dim("batch").number(); });
}

TEST_CASE("binding checks that each name has a size in its range") {
  const Dim batch("batch", {1, 64, 4}), seq = "seq";
  CHECK((2 * batch * seq + 1).bind({{"batch", 8}, {"seq", 3}, {"unused", 7}}) == 49);
  CHECK(Dim(5).bind({}) == 5);
  expect_error(ErrorCode::not_found, "'seq'", [&] { (void)(batch + seq).bind({{"batch", 4}}); });
  for (int64_t bad : {0, 68, 6}) {
    CAPTURE(bad);
    expect_error(ErrorCode::invalid_argument, "'batch'", [&] { (void)batch.bind({{"batch", bad}}); });
  }
  expect_error(ErrorCode::invalid_argument, "at least 0", [&] { (void)seq.bind({{"seq", -1}}); });
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] {
    (void)(seq * seq).bind({{"seq", int64_t{1} << 40}});
  });
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] {
    (void)(seq + 1).bind({{"seq", std::numeric_limits<int64_t>::max()}});
  });
}

TEST_CASE("a name that meets itself keeps the sizes that both ranges allow") {
  const Dim a("n", {0, 100, 4}), b("n", {10, 1000, 6});
  CHECK((a + b).names().at("n") == DimRange{10, 100, 12});
  CHECK((a * b).names().at("n") == DimRange{10, 100, 12});
  CHECK((a + Dim("n")).names().at("n") == DimRange{0, 100, 4});
  expect_error(ErrorCode::invalid_argument, "'n'", [&] { (void)(a + Dim("n", {101, 200})); });
  expect_error(ErrorCode::invalid_argument, "'n'", [&] { (void)(a + Dim("n", {1, 7, 7})); });
}

TEST_CASE("division is exact or refused") {
  const Dim batch = "batch", seq = "seq";
  CHECK(Dim::divide(12, 4) == Dim(3));
  CHECK(Dim::divide(12, 5) == std::nullopt);
  CHECK(Dim::divide(12, 0) == std::nullopt);
  CHECK(Dim::divide(0, batch) == Dim(0));
  CHECK(Dim::divide(batch, batch) == Dim(1));
  CHECK(Dim::divide(6 * batch * seq + 4 * seq, 2 * seq) == 3 * batch + 2);
  CHECK(Dim::divide(6 * batch * seq + 4, 2 * seq) == std::nullopt);
  CHECK(Dim::divide(6 * batch * seq + 3 * seq, 2 * seq) == std::nullopt);
  CHECK(Dim::divide(batch * batch * seq, batch) == batch * seq);
  CHECK(Dim::divide(batch, batch * batch) == std::nullopt);
  CHECK(Dim::divide(batch, batch + 1) == std::nullopt);
  CHECK(Dim::divide(5, batch) == std::nullopt);
  CHECK(Dim::divide(0 - batch, -1) == batch);
  const Dim least = Dim(0) - std::numeric_limits<int64_t>::max() - 1;
  CHECK(Dim::divide(least, -1) == std::nullopt);
}

TEST_CASE("arithmetic that leaves 64 bits is an error") {
  const Dim big = std::numeric_limits<int64_t>::max(), n = "n";
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] { (void)(big + 1); });
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] { (void)(big * 2); });
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] { (void)(big * n + n); });
  expect_error(ErrorCode::invalid_argument, "64 bits", [&] { (void)(big * n * 2); });
}

TEST_CASE("dims may shrink below zero on the way, shapes may not") {
  const Dim n = "n";
  const Dims dims = {n - 1, 4};
  CHECK(dims.bind({{"n", 1}}) == Dims{0, 4});
  expect_error(ErrorCode::invalid_argument, "axis 0", [&] { (void)dims.bind({{"n", 0}}); });
  expect_error(ErrorCode::invalid_argument, "-3", [&] { Dims{1, -3}; });
  CHECK((Dim(2) - 5).number() == -3);
}

TEST_CASE("dims convert to and from shapes") {
  const Dims dims = {"batch", 784};
  CHECK(to_string(dims) == "[batch,784]");
  CHECK_FALSE(dims.is_concrete());
  expect_error(ErrorCode::invalid_argument, "'batch' of axis 0", [&] { (void)dims.shape(); });
  CHECK(dims.bind({{"batch", 32}}).shape() == Shape{32, 784});
  CHECK(dims.elements() == 784 * Dim("batch"));
  CHECK(Dims(Shape{2, 3}).shape() == Shape{2, 3});
  CHECK(Dims{}.elements() == Dim(1));
  CHECK(Dims{}.shape() == Shape{});
  Dims grown = {1};
  grown.push_back("n");
  grown.insert(1, 7);
  CHECK(grown == Dims{1, 7, "n"});
  grown.erase(0);
  CHECK(grown == Dims{7, "n"});
  expect_error(ErrorCode::invalid_argument, "rank 9", [] { Dims{1, 1, 1, 1, 1, 1, 1, 1, 1}; });
}

TEST_CASE("dim arithmetic agrees with the arithmetic of bound numbers") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const char* names[] = {"a", "b", "c"};
  const auto monomial = [&] {
    int64_t coefficient = draw(random, -5, 5);
    if (coefficient == 0) coefficient = 1;
    Dim d = coefficient;
    for (int64_t i = draw(random, 0, 3); i > 0; --i) d = d * names[draw(random, 0, 2)];
    return d;
  };
  const auto polynomial = [&] {
    Dim d = draw(random, -4, 4);
    for (int64_t i = draw(random, 0, 4); i > 0; --i) d = d + monomial();
    return d;
  };
  for (int trial = 0; trial < 2000; ++trial) {
    const Dim x = polynomial(), y = polynomial(), m = monomial();
    CAPTURE(to_string(x), to_string(y), to_string(m));
    const DimBinding at = {{"a", draw(random, 0, 9)}, {"b", draw(random, 0, 9)}, {"c", draw(random, 0, 9)}};
    REQUIRE((x + y).bind(at) == x.bind(at) + y.bind(at));
    REQUIRE((x - y).bind(at) == x.bind(at) - y.bind(at));
    REQUIRE((x * y).bind(at) == x.bind(at) * y.bind(at));
    REQUIRE(x + y == y + x);
    REQUIRE(x * (y + m) == x * y + x * m);
    REQUIRE(Dim::divide(x * m, m) == x);
    const auto quotient = Dim::divide(x, m);
    if (quotient) REQUIRE(*quotient * m == x);
  }
}

}  // namespace heddle::test
