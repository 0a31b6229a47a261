// Gather and scatter against plain loops: every dtype, negative and bad indices, duplicates, empty sizes.
#include "cpu/kernels/gather.h"

#include <cmath>
#include <cstring>
#include <random>

#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::cpu;

namespace {

Tensor random_tensor(std::mt19937& random, DType dtype, const Shape& shape, int low, int high) {
  Tensor t(dtype, shape);
  std::uniform_int_distribution<int> ints(low, high);
  for (int64_t i = 0; i < t.elements(); ++i)
    t.set(i, is_float(dtype) ? ints(random) / 8.0 : dtype == boolean ? ints(random) & 1 : ints(random));
  return t;
}

int64_t row_of(double index, int64_t n) {
  const auto i = static_cast<int64_t>(index);
  return i < -n || i >= n ? -1 : i < 0 ? i + n : i;
}

bool equal(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

struct Case {
  Shape x;
  int axis;
  Shape indices;
};
const Case cases[] = {{{7, 5}, 0, {9}},      {{7, 129}, 0, {3, 4}}, {{4, 7, 3}, 1, {11}}, {{4, 7}, 1, {6}},
                      {{13}, 0, {5, 2}},     {{7, 5}, 0, {0}},      {{0, 5}, 0, {3}},     {{7, 0}, 0, {3}},
                      {{300, 70}, 0, {500}}, {{2, 3, 5, 4}, 2, {1}}};

Shape updated(const Case& c) {
  Shape shape;
  for (int i = 0; i < c.axis; ++i) shape.push_back(c.x[i]);
  for (int64_t n : c.indices.dims()) shape.push_back(n);
  for (int i = c.axis + 1; i < c.x.rank(); ++i) shape.push_back(c.x[i]);
  return shape;
}

}  // namespace

TEST_CASE("gather", "[cpu][gather]") {
  std::mt19937 random(1);
  for (const DType index_dtype : {i8, i16, i32, i64, u8, u32})
    for (const DType dtype : all_dtypes)
      for (const Case& c : cases) {
        const int64_t n = c.x[c.axis];
        const Tensor x = random_tensor(random, dtype, c.x, is_signed(dtype) ? -9 : 0, 9);
        const int reach = static_cast<int>(std::min<int64_t>(n + 2, 120));
        const Tensor indices =
            random_tensor(random, index_dtype, c.indices, is_signed(index_dtype) ? -reach : 0, reach);
        Tensor y = Tensor::full(1, dtype, updated(c));
        const RowView view(c.x, c.axis);
        Gather(dtype, c.x, c.axis, index_dtype, indices.elements())
            .run(x.data(), indices.data(), y.data(), {3});
        bool good = true;
        int64_t flat = 0;
        for (int64_t o = 0; o < view.outer; ++o)
          for (int64_t i = 0; i < indices.elements(); ++i) {
            const int64_t row = row_of(indices.at(i), n);
            for (int64_t e = 0; e < view.inner; ++e, ++flat)
              good = good && equal(y.at(flat), row >= 0          ? x.at((o * n + row) * view.inner + e)
                                               : is_float(dtype) ? NAN
                                                                 : 0);
          }
        CHECK(good);
      }
}

TEST_CASE("scatter", "[cpu][gather]") {
  std::mt19937 random(2);
  for (const DType dtype : all_dtypes)
    for (const ScatterMode mode : {ScatterMode::set, ScatterMode::add})
      for (const Case& c : cases)
        for (int place = 0; place < 3; ++place) {  // into another tensor, in place, onto zeros
          if (dtype == boolean && mode == ScatterMode::add) continue;
          if ((dtype == f8e4m3 || dtype == f8e5m2) && mode == ScatterMode::add) continue;  // sums would round
          const int64_t n = c.x[c.axis];
          const Tensor x = place == 2 ? Tensor(dtype, c.x) : random_tensor(random, dtype, c.x, 0, 2);
          const Tensor indices =
              random_tensor(random, i32, c.indices, static_cast<int>(-n) - 1, static_cast<int>(n) + 1);
          const Tensor updates = random_tensor(random, dtype, updated(c), 0, 2);
          const RowView view(c.x, c.axis);
          std::vector<double> ref(static_cast<size_t>(x.elements()));
          for (size_t i = 0; i < ref.size(); ++i) ref[i] = x.at(static_cast<int64_t>(i));
          int64_t flat = 0;
          for (int64_t o = 0; o < view.outer; ++o)
            for (int64_t i = 0; i < indices.elements(); ++i) {
              const int64_t row = row_of(indices.at(i), n);
              for (int64_t e = 0; e < view.inner; ++e, ++flat) {
                if (row < 0) continue;
                double& to = ref[static_cast<size_t>((o * n + row) * view.inner + e)];
                to = mode == ScatterMode::set ? updates.at(flat) : to + updates.at(flat);
              }
            }
          const Scatter scatter(mode, dtype, c.x, c.axis, i32, indices.elements());
          Tensor scratch(u8, Shape{static_cast<int64_t>(scatter.scratch_bytes())});
          Tensor y = place == 1 ? x.clone() : Tensor::full(1, dtype, c.x);
          const void* from = place == 0 ? x.data() : place == 1 ? y.data() : nullptr;
          scatter.run(from, indices.data(), updates.data(), y.data(), scratch.data(), {3});
          bool good = true;
          for (size_t i = 0; i < ref.size(); ++i) good = good && y.at(static_cast<int64_t>(i)) == ref[i];
          INFO(dtype_name(dtype) << to_string(c.x) << " axis " << c.axis << " place " << place);
          CHECK(good);
        }
}

TEST_CASE("scatter add rounds once and gives the same bits at any thread count", "[cpu][gather]") {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  for (const DType dtype : {f32, bf16}) {
    Tensor dy(dtype, {4000, 33}), one(dtype, {50, 33}), y(dtype, {50, 33});
    for (int64_t i = 0; i < dy.elements(); ++i) dy.set(i, normal(random));
    const Tensor indices = random_tensor(random, i64, {4000}, 0, 49);
    const Scatter scatter(ScatterMode::add, dtype, one.shape(), 0, i64, 4000);
    Tensor scratch(u8, Shape{static_cast<int64_t>(scatter.scratch_bytes())});
    scatter.run(nullptr, indices.data(), dy.data(), one.data(), scratch.data(), {1});
    scatter.run(nullptr, indices.data(), dy.data(), y.data(), scratch.data(), {3});
    CHECK(std::memcmp(one.data(), y.data(), y.bytes()) == 0);
    std::vector<double> ref(50 * 33), magnitude(50 * 33);
    for (int64_t i = 0; i < 4000; ++i)
      for (int64_t e = 0; e < 33; ++e) {
        const auto at = static_cast<size_t>(static_cast<int64_t>(indices.at(i)) * 33 + e);
        ref[at] += dy.at(i * 33 + e);
        magnitude[at] += std::fabs(dy.at(i * 33 + e));
      }
    bool good = true;
    for (size_t i = 0; i < ref.size(); ++i)
      good = good && std::fabs(one.at(static_cast<int64_t>(i)) - ref[i]) <=
                         unit_roundoff(dtype) * std::fabs(ref[i]) + 1e-6 * magnitude[i];
    CHECK(good);
  }
}
