#include "heddle/tensor.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/expect_error.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

// [0, 1, 2, ...] of a shape.
Tensor counting(const Shape& shape, DType dtype = i32) {
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, static_cast<double>(i));
  return t;
}

std::vector<double> elements(const Tensor& t) {
  std::vector<double> out;
  for (int64_t i = 0; i < t.elements(); ++i) out.push_back(t.at(i));
  return out;
}

Tensor transposed(const Tensor& t, std::initializer_list<int64_t> order) {
  return t.transpose(std::span<const int64_t>(order.begin(), order.size()));
}

}  // namespace

TEST_CASE("a tensor is zero-filled, aligned and shared by its copies") {
  for (DType d : all_dtypes) {
    Tensor t(d, {3, 5});
    CHECK(t.defined());
    CHECK(t.dtype() == d);
    CHECK(t.bytes() == 15 * size_of(d));
    CHECK(t.is_contiguous());
    CHECK(reinterpret_cast<uintptr_t>(t.data()) % 64 == 0);
    CHECK(elements(t) == std::vector<double>(15, 0.0));
    Tensor same = t;
    same.set(7, 1);
    CHECK(t.at(7) == 1);
    Tensor other = t.clone();
    other.set(7, 0);
    CHECK(t.at(7) == 1);
  }
}

TEST_CASE("tensors are made from values, scalars and foreign memory") {
  const Tensor t = Tensor::of<float>({1, 2, 3, 4}, {2, 2});
  CHECK(elements(t) == std::vector<double>{1, 2, 3, 4});
  CHECK(Tensor::of(std::vector<int64_t>{7}, {}).at(0) == 7);
  expect_error(ErrorCode::shape_mismatch, "3 values", [] { Tensor::of<float>({1, 2, 3}, {2, 2}); });
  CHECK(Tensor::scalar(0.1).at(0) == static_cast<double>(0.1f));
  CHECK(Tensor::scalar(2.9, i8).at(0) == 2);
  CHECK(elements(Tensor::full(300, u8, {2})) == std::vector<double>{255, 255});
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{5, 6, 7});
  std::weak_ptr<std::vector<float>> alive = owner;
  Tensor view = Tensor::borrow(owner->data(), f32, {3}, owner);
  owner.reset();
  CHECK(view.at(2) == 7);
  CHECK_FALSE(alive.expired());
  view = Tensor();
  CHECK(alive.expired());
  CHECK_FALSE(view.defined());
  alignas(8) char bytes[16] = {};
  expect_error(ErrorCode::invalid_argument, "aligned", [&] { Tensor::borrow(bytes + 1, f32, {2}); });
  expect_error(ErrorCode::invalid_argument, "no memory", [] { Tensor::borrow(nullptr, f32, {2}); });
}

TEST_CASE("values() checks dtype and order") {
  Tensor t = counting({2, 3});
  CHECK(t.values<int32_t>()[4] == 4);
  t.values<int32_t>()[4] = 40;
  CHECK(t.at(4) == 40);
  expect_error(ErrorCode::dtype_mismatch, "int32", [&] { (void)t.values<float>(); });
  const Tensor turned = transposed(t, {1, 0});
  expect_error(ErrorCode::invalid_argument, "contiguous()", [&] { (void)turned.values<int32_t>(); });
  expect_error(ErrorCode::invalid_argument, "element 6", [&] { (void)t.at(6); });
  expect_error(ErrorCode::invalid_argument, "element -1", [&] { t.set(-1, 0); });
}

TEST_CASE("a tensor that holds nothing refuses to be used") {
  Tensor t;
  CHECK_FALSE(t.defined());
  const auto refused = [](const std::function<void()>& f) {
    expect_error(ErrorCode::invalid_argument, "holds nothing", f);
  };
  refused([&] { (void)t.at(0); });
  refused([&] { t.set(0, 1); });
  refused([&] { (void)t.values<float>(); });
  refused([&] { (void)t.reshape({1}); });
  refused([&] { (void)t.transpose({}); });
  refused([&] { (void)t.slice(0, 0, 0); });
  refused([&] { (void)t.broadcast({2}); });
  refused([&] { (void)t.contiguous(); });
  refused([&] { (void)t.clone(); });
  refused([&] { (void)t.to(f32); });
  CHECK(to_string(t) == "(no tensor)");
}

TEST_CASE("tensors without elements are ordinary tensors") {
  for (DType d : all_dtypes) {
    const Tensor t(d, {0, 3});
    CHECK(t.defined());
    CHECK(t.bytes() == 0);
    CHECK(t.is_contiguous());
    CHECK(t.clone().defined());
    CHECK(t.to(f64).defined());
    CHECK(t.reshape({5, 0}).shape() == Shape{5, 0});
    CHECK(transposed(t, {1, 0}).contiguous().shape() == Shape{3, 0});
    CHECK(t.slice(1, 1, 3).shape() == Shape{0, 2});
    CHECK(t.slice(0, 0, 0).defined());
    CHECK(t.broadcast({4, 0, 3}).elements() == 0);
  }
  CHECK(Tensor::of(std::vector<float>{}, {0}).values<float>().empty());
  CHECK(Tensor::borrow(nullptr, f32, {0}).defined());
  CHECK(counting({4}).slice(0, 4, 4).defined());
  CHECK(counting({1, 3}).broadcast({0, 3}).elements() == 0);
  CHECK(to_string(Tensor(f32, {0})) == "float32[0] {}");
}

TEST_CASE("views share bytes and read the right elements") {
  Tensor t = counting({2, 3});
  CHECK(elements(transposed(t, {1, 0})) == std::vector<double>{0, 3, 1, 4, 2, 5});
  CHECK(elements(t.slice(1, 0, 3, 2)) == std::vector<double>{0, 2, 3, 5});
  CHECK(elements(t.slice(-1, 1, 2)) == std::vector<double>{1, 4});
  CHECK(elements(t.reshape({3, 2}).slice(0, 2, 3)) == std::vector<double>{4, 5});
  CHECK(elements(t.slice(0, 1, 2).broadcast({2, 3})) == std::vector<double>{3, 4, 5, 3, 4, 5});
  CHECK(elements(Tensor::scalar(7, i8).broadcast({3})) == std::vector<double>{7, 7, 7});
  CHECK(counting({5}).slice(0, 1, 5, std::numeric_limits<int64_t>::max()).shape() == Shape{1});
  transposed(t, {1, 0}).set(1, 30);
  CHECK(t.at(3) == 30);
  CHECK(t.slice(0, 0, 1).is_contiguous());
  CHECK_FALSE(t.slice(1, 0, 2).is_contiguous());
  CHECK(t.contiguous().data() == t.data());
  CHECK(t.slice(1, 0, 2).contiguous().is_contiguous());
}

TEST_CASE("impossible views name the axis") {
  const Tensor t = counting({2, 3});
  expect_error(ErrorCode::shape_mismatch, "[2,3]", [&] { (void)t.reshape({5}); });
  expect_error(ErrorCode::invalid_argument, "contiguous()", [&] {
    (void)transposed(t, {1, 0}).reshape({6});
  });
  expect_error(ErrorCode::invalid_argument, "axis 2", [&] { (void)transposed(t, {0, 2}); });
  expect_error(ErrorCode::invalid_argument, "axis 1", [&] { (void)transposed(t, {1, 1}); });
  expect_error(ErrorCode::invalid_argument, "1 axes", [&] { (void)transposed(t, {0}); });
  expect_error(ErrorCode::invalid_argument, "axis 2", [&] { (void)t.slice(2, 0, 1); });
  expect_error(ErrorCode::invalid_argument, "axis 1", [&] { (void)t.slice(1, 0, 4); });
  expect_error(ErrorCode::invalid_argument, "axis 1", [&] { (void)t.slice(1, 2, 1); });
  expect_error(ErrorCode::invalid_argument, "axis 1", [&] { (void)t.slice(1, -1, 1); });
  expect_error(ErrorCode::invalid_argument, "step 0", [&] { (void)t.slice(1, 0, 1, 0); });
  expect_error(ErrorCode::shape_mismatch, "axis 0", [&] { (void)t.broadcast({4, 3}); });
  expect_error(ErrorCode::shape_mismatch, "more axes", [&] { (void)t.broadcast({3}); });
}

TEST_CASE("sizes beyond the host's memory are errors, not crashes") {
  const int64_t big = int64_t{1} << 31;
  expect_error(ErrorCode::invalid_argument, "2^62", [&] { Tensor(f32, {big, big}); });
  expect_error(ErrorCode::invalid_argument, "address space", [&] { Tensor(f64, {big, big - 1}); });
  expect_error(ErrorCode::out_of_memory, "bytes", [&] { Tensor(f32, {big, int64_t{1} << 24}); });
  expect_error(ErrorCode::invalid_argument, "dtype 77", [] { Tensor(static_cast<DType>(77), {1}); });
}

TEST_CASE("tensors print their type and first elements") {
  CHECK(to_string(Tensor::of<float>({1, 2.5f, -3, 4}, {2, 2})) == "float32[2,2] {1, 2.5, -3, 4}");
  CHECK(to_string(counting({5}), 2) == "int32[5] {0, 1, ...}");
  CHECK(to_string(counting({5}), 0) == "int32[5] {...}");
  CHECK(to_string(Tensor::of<bool>({true, false}, {2})) == "bool[2] {true, false}");
  CHECK(to_string(Tensor::full(-1, i64, {})) == "int64[] {-1}");
  CHECK(to_string(Tensor::full(0.5, bf16, {1})) == "bfloat16[1] {0.5}");
  CHECK(to_string(Tensor::of<int8_t>({-7}, {1})) == "int8[1] {-7}");
  CHECK(to_string(Tensor::of<uint64_t>({std::numeric_limits<uint64_t>::max()}, {1})) ==
        "uint64[1] {18446744073709551615}");
}

TEST_CASE("chains of views read, copy and convert what their index arithmetic says") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 600; ++trial) {
    const DType dtype = all_dtypes[draw(random, 6, 13)];  // the integers, exact in double
    Shape shape;
    for (int64_t rank = draw(random, 0, 4); rank > 0; --rank) shape.push_back(draw(random, 1, 4));
    Tensor t(dtype, shape);
    for (int64_t i = 0; i < t.elements(); ++i) t.set(i, static_cast<double>(i % 100));
    // The oracle: the same elements as a dense list, rebuilt after every step by explicit indices.
    std::vector<double> expected = elements(t);
    for (int step = 0; step < 5; ++step) {
      const Shape before = t.shape();
      std::function<std::vector<int64_t>(const std::vector<int64_t>&)> source;  // index after -> index before
      const int64_t choice = draw(random, 0, 2);
      if (choice == 0 && before.rank() > 0) {
        std::vector<int64_t> order(static_cast<size_t>(before.rank()));
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random);
        t = t.transpose(order);
        source = [order](const std::vector<int64_t>& index) {
          std::vector<int64_t> out(index.size());
          for (size_t i = 0; i < index.size(); ++i) out[static_cast<size_t>(order[i])] = index[i];
          return out;
        };
      } else if (choice == 1 && before.rank() > 0) {
        const int axis = static_cast<int>(draw(random, 0, before.rank() - 1));
        const int64_t begin = draw(random, 0, before[axis]), end = draw(random, begin, before[axis]);
        const int64_t stride = draw(random, 1, 3);
        t = t.slice(axis, begin, end, stride);
        source = [=](std::vector<int64_t> index) {
          index[static_cast<size_t>(axis)] = begin + index[static_cast<size_t>(axis)] * stride;
          return index;
        };
      } else {
        Shape wide;
        const bool longer = before.rank() < 5;
        if (longer) wide.push_back(draw(random, 1, 3));
        for (int64_t size : before.dims()) wide.push_back(size == 1 ? draw(random, 1, 3) : size);
        t = t.broadcast(wide);
        source = [before, longer](std::vector<int64_t> index) {
          if (longer) index.erase(index.begin());
          for (size_t i = 0; i < index.size(); ++i) {
            if (before.dims()[i] == 1) index[i] = 0;
          }
          return index;
        };
      }
      std::vector<double> after;
      for (int64_t flat = 0; flat < t.elements(); ++flat) {
        std::vector<int64_t> index(static_cast<size_t>(t.rank()));
        for (int64_t axis = t.rank() - 1, rest = flat; axis >= 0; --axis) {
          index[static_cast<size_t>(axis)] = rest % t.shape()[static_cast<int>(axis)];
          rest /= t.shape()[static_cast<int>(axis)];
        }
        int64_t from = 0;
        const std::vector<int64_t> old = source(index);
        for (int axis = 0; axis < before.rank(); ++axis)
          from = from * before[axis] + old[static_cast<size_t>(axis)];
        after.push_back(expected[static_cast<size_t>(from)]);
      }
      expected = after;
      REQUIRE(elements(t) == expected);
    }
    REQUIRE(elements(t.clone()) == expected);
    REQUIRE(t.contiguous().is_contiguous());
    REQUIRE(elements(t.to(f64)) == expected);
    REQUIRE(elements(t.to(f32).to(i16)) == expected);
  }
}

}  // namespace heddle::test
