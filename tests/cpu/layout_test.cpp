// Layout kernels against the views and copies of Tensor, over odd shapes and element sizes.
#include "cpu/kernels/layout.h"

#include <cstring>
#include <random>

#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::cpu;

namespace {

Tensor counted(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  auto* bytes = static_cast<uint8_t*>(t.data());
  std::mt19937 random(7);
  for (uint64_t i = 0; i < t.bytes(); ++i) bytes[i] = static_cast<uint8_t>(random());
  return t;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && (a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}

const DType by_size[] = {u8, u16, u32, u64};

}  // namespace

TEST_CASE("transpose", "[cpu][layout]") {
  struct Case {
    Shape shape;
    std::vector<int64_t> order;
  };
  const Case cases[] = {{{}, {}},
                        {{5}, {0}},
                        {{3, 4}, {1, 0}},
                        {{127, 129}, {1, 0}},
                        {{1, 129}, {1, 0}},
                        {{0, 129}, {1, 0}},
                        {{2, 65, 3, 64}, {0, 2, 1, 3}},
                        {{2, 33, 5, 2}, {0, 2, 1, 3}},
                        {{4, 5, 6}, {2, 1, 0}},
                        {{4, 5, 6}, {2, 0, 1}},
                        {{40, 5, 70}, {1, 2, 0}},
                        {{40, 5, 70}, {0, 2, 1}},
                        {{2, 3, 4, 5, 6}, {4, 2, 0, 3, 1}},
                        {{2, 1, 2, 3, 2, 1, 2, 3}, {7, 0, 6, 1, 5, 2, 4, 3}},
                        {{300, 400}, {1, 0}}};
  for (const Case& c : cases)
    for (const DType dtype : by_size)
      for (int threads : {1, 3}) {
        const Tensor x = counted(dtype, c.shape), expected = x.transpose(c.order).contiguous();
        Tensor y(dtype, expected.shape());
        transpose(size_of(dtype), c.shape, c.order).run(x.data(), y.data(), {threads});
        INFO(to_string(c.shape) << " " << dtype_name(dtype));
        CHECK(same(y, expected));
      }
}

TEST_CASE("broadcast", "[cpu][layout]") {
  const std::pair<Shape, Shape> cases[] = {{{}, {3, 5}},          {{1}, {7}},
                                           {{5}, {3, 5}},         {{3, 1}, {3, 129}},
                                           {{3, 1}, {2, 3, 0}},   {{1, 4, 1, 5}, {3, 4, 2, 5}},
                                           {{4, 1, 5}, {4, 7, 5}}};
  for (const auto& [from, to] : cases)
    for (const DType dtype : by_size) {
      const Tensor x = counted(dtype, from), expected = x.broadcast(to).contiguous();
      Tensor y(dtype, to);
      broadcast(size_of(dtype), from, to).run(x.data(), y.data(), {2});
      CHECK(same(y, expected));
    }
}

TEST_CASE("slice", "[cpu][layout]") {
  const Shape shape{7, 130, 9};
  const std::vector<int64_t> cases[][3] = {{{0, 0, 0}, {7, 130, 9}, {1, 1, 1}},
                                           {{1, 5, 2}, {6, 127, 9}, {1, 1, 1}},
                                           {{1, 5, 2}, {6, 127, 9}, {2, 3, 4}},
                                           {{3, 5, 2}, {3, 127, 9}, {1, 1, 1}},
                                           {{0, 129, 8}, {7, 130, 9}, {6, 1, 1}}};
  for (const auto& [begin, end, step] : cases)
    for (const DType dtype : by_size) {
      const Tensor x = counted(dtype, shape);
      Tensor expected = x;
      for (int i = 0; i < 3; ++i) {
        const auto axis = static_cast<size_t>(i);
        expected = expected.slice(i, begin[axis], end[axis], step[axis]);
      }
      Tensor y(dtype, expected.shape());
      Slice(size_of(dtype), shape, begin, end, step).run(x.data(), y.data(), {2});
      CHECK(same(y, expected.contiguous()));
    }
}

TEST_CASE("concat puts back what slices took", "[cpu][layout]") {
  for (int axis = 0; axis < 3; ++axis)
    for (const DType dtype : by_size) {
      const Tensor x = counted(dtype, {11, 12, 13});
      std::vector<Tensor> parts;
      std::vector<Shape> shapes;
      std::vector<const void*> data;
      for (const auto& [begin, end] :
           {std::pair{0, 4}, {4, 4}, {4, 5}, {5, static_cast<int>(x.shape()[axis])}})
        parts.push_back(x.slice(axis, begin, end).contiguous());
      for (const Tensor& part : parts) shapes.push_back(part.shape()), data.push_back(part.data());
      Tensor y(dtype, x.shape());
      Concat(size_of(dtype), shapes, axis).run(data.data(), y.data(), {2});
      CHECK(same(y, x));
    }
}

TEST_CASE("pad", "[cpu][layout]") {
  for (const DType dtype : all_dtypes)
    for (const Shape& shape : {Shape{3, 4, 5}, Shape{1, 1, 129}, Shape{3, 0, 5}, Shape{3, 4, 0}}) {
      const std::vector<int64_t> before{1, 0, 3}, after{0, 2, 130};
      const Tensor x = Tensor::full(1, dtype, shape);
      Tensor y(dtype, {shape[0] + 1, shape[1] + 2, shape[2] + 133});
      Pad(dtype, shape, before, after, 3).run(x.data(), y.data(), {2});
      const double padding = dtype == boolean ? 1 : 3;
      bool good = true;
      for (int64_t i = 0, flat = 0; i < y.shape()[0]; ++i)
        for (int64_t j = 0; j < y.shape()[1]; ++j)
          for (int64_t k = 0; k < y.shape()[2]; ++k, ++flat) {
            const bool inside = i >= 1 && j < shape[1] && k >= 3 && k < 3 + shape[2];
            good = good && y.at(flat) == (inside ? 1 : padding);
          }
      CHECK(good);
    }
}

TEST_CASE("dynamic windows are clamped", "[cpu][layout]") {
  const Shape shape{6, 9, 5}, window{2, 9, 3};
  for (const std::vector<int64_t>& start : {std::vector<int64_t>{1, 0, 2}, {-5, 7, 100}, {4, 0, 0}}) {
    const Tensor x = counted(f32, shape);
    const int64_t at0 = std::clamp<int64_t>(start[0], 0, 4), at2 = std::clamp<int64_t>(start[2], 0, 2);
    Tensor y(f32, window);
    DynamicSlice(4, shape, window).run(x.data(), start.data(), y.data(), {2});
    CHECK(same(y, x.slice(0, at0, at0 + 2).slice(2, at2, at2 + 3).contiguous()));

    const Tensor update = counted(f32, {2, 9, 3});
    Tensor z(f32, shape);
    const DynamicUpdateSlice put(4, shape, window);
    put.run(x.data(), update.data(), start.data(), z.data(), {2});
    CHECK(same(z.slice(0, at0, at0 + 2).slice(2, at2, at2 + 3).contiguous(), update));
    Tensor in_place = x.clone();
    put.run(in_place.data(), update.data(), start.data(), in_place.data(), {2});
    CHECK(same(in_place, z));
    DynamicSlice(4, shape, window).run(x.data(), start.data(), y.data(), {1});
    put.run(z.data(), y.data(), start.data(), z.data(), {1});
    CHECK(same(z, x));
  }
}

TEST_CASE("iota", "[cpu][layout]") {
  for (const DType dtype : {f64, f32, bf16, i8, i64, u16})
    for (int axis = 0; axis < 3; ++axis) {
      Tensor y(dtype, {5, 6, 7});
      iota(dtype, y.shape(), axis, y.data(), {3});
      bool good = true;
      for (int64_t flat = 0; flat < 210; ++flat) {
        const int64_t index[] = {flat / 42, flat / 7 % 6, flat % 7};
        good = good && y.at(flat) == static_cast<double>(index[axis]);
      }
      CHECK(good);
    }
}
