#include "heddle/shape.h"

#include "heddle/tensor.h"
#include "tests/expect_error.h"

namespace heddle::test {

TEST_CASE("shapes hold up to eight sizes") {
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.elements() == 1);
  CHECK(to_string(Shape{}) == "[]");
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.elements() == 24);
  CHECK(to_string(s) == "[2,3,4]");
  CHECK(s.at(-1) == 4);
  CHECK(s.at(0) == 2);
  CHECK(s == Shape{2, 3, 4});
  CHECK_FALSE(s == Shape{2, 3});
  CHECK_FALSE(s == Shape{2, 3, 5});
  expect_error(ErrorCode::invalid_argument, "axis 3", [&] { (void)s.at(3); });
  expect_error(ErrorCode::invalid_argument, "axis -4", [&] { (void)s.at(-4); });
  expect_error(ErrorCode::invalid_argument, "rank 9", [] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; });
  expect_error(ErrorCode::invalid_argument, "axis 1", [] { Shape{1, -1}; });
  Shape grown;
  for (int i = 0; i < max_rank; ++i) grown.push_back(i);
  CHECK(grown.elements() == 0);
  expect_error(ErrorCode::invalid_argument, "rank 9", [&] { grown.push_back(1); });
}

TEST_CASE("shapes whose elements cannot be counted are refused") {
  const int64_t big = int64_t{1} << 31;
  CHECK(Shape{big, big - 1}.elements() == big * (big - 1));
  expect_error(ErrorCode::invalid_argument, "2^62", [&] { (void)Shape{big, big}.elements(); });
  expect_error(ErrorCode::invalid_argument, "2^62", [&] { (void)Shape{big, big, big, big}.elements(); });
  CHECK(Shape{big, big, big, 0}.elements() == 0);
  CHECK(Shape{0, big, big, big}.elements() == 0);
}

TEST_CASE("a size that was set negative is refused where elements are counted") {
  Shape s{2, 3, 0};
  s[0] = -5;
  expect_error(ErrorCode::invalid_argument, "size -5 of axis 0", [&] { (void)s.elements(); });
  expect_error(ErrorCode::invalid_argument, "size -5 of axis 0", [&] { Tensor t(f32, s); });
}

TEST_CASE("row-major strides") {
  const auto strides = row_major_strides({2, 3, 4});
  CHECK(strides[0] == 12);
  CHECK(strides[1] == 4);
  CHECK(strides[2] == 1);
  CHECK(strides[3] == 0);
}

}  // namespace heddle::test
