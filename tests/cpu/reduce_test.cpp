// Reductions against loops in double over odd shapes, axes, dtypes and thread counts.
#include "cpu/kernels/reduce.h"

#include <cmath>
#include <cstring>
#include <random>

#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::cpu;

namespace {

Tensor random_tensor(std::mt19937& random, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  std::uniform_real_distribution<double> floats(-2, 2);
  std::uniform_int_distribution<int> ints(dtype == boolean || !is_signed(dtype) ? 0 : -20,
                                          dtype == boolean ? 1 : 20);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, is_float(dtype) ? floats(random) : ints(random));
  return t;
}

// For each output, the flat indices of the elements that it reduces, in order.
std::vector<std::vector<int64_t>> groups(const Shape& shape, const std::vector<int64_t>& axes, Shape& out) {
  std::array<int64_t, max_rank> stride{};
  int64_t outputs = 1;
  for (int i = shape.rank(); i-- > 0;) {
    if (std::find(axes.begin(), axes.end(), i) != axes.end()) continue;
    stride[static_cast<size_t>(i)] = outputs;
    outputs *= shape[i];
  }
  for (int i = 0; i < shape.rank(); ++i)
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) out.push_back(shape[i]);
  std::vector<std::vector<int64_t>> result(static_cast<size_t>(outputs));
  for (int64_t flat = 0; flat < shape.elements(); ++flat) {
    int64_t rest = flat, to = 0;
    for (int i = shape.rank(); i-- > 0;) {
      to += rest % shape[i] * stride[static_cast<size_t>(i)];
      rest /= shape[i];
    }
    result[static_cast<size_t>(to)].push_back(flat);
  }
  return result;
}

Tensor run(ReduceKind kind, const Tensor& x, const std::vector<int64_t>& axes, const Shape& out,
           int threads) {
  const Reduce reduce(kind, x.dtype(), x.shape(), axes);
  Tensor y = Tensor::full(99, x.dtype(), out);
  Tensor scratch(u8, Shape{static_cast<int64_t>(reduce.scratch_bytes({threads}))});
  std::memset(scratch.data(), 0xff, scratch.bytes());
  reduce.run(x.data(), y.data(), scratch.data(), {threads});
  return y;
}

void check(ReduceKind kind, const Tensor& x, const std::vector<int64_t>& axes) {
  Shape out;
  const auto members = groups(x.shape(), axes, out);
  const Tensor y = run(kind, x, axes, out, 1), y3 = run(kind, x, axes, out, 3);
  INFO("kind " << static_cast<int>(kind) << " " << dtype_name(x.dtype()) << to_string(x.shape()) << " axes "
               << (axes.empty() ? -1 : axes[0]) << ".." << (axes.empty() ? -1 : axes.back()));
  CHECK((y.bytes() == 0 || std::memcmp(y.data(), y3.data(), y.bytes()) == 0));
  bool good = true;
  for (size_t o = 0; o < members.size(); ++o) {
    const double n = static_cast<double>(members[o].size());
    double ref = kind == ReduceKind::prod ? 1 : 0, magnitude = 0;
    if (kind == ReduceKind::max || kind == ReduceKind::min)
      ref = kind == ReduceKind::max ? -INFINITY : INFINITY;
    for (int64_t i : members[o]) {
      const double v = x.at(i);
      magnitude += std::fabs(v);
      if (kind == ReduceKind::max)
        ref = std::isnan(v) || std::isnan(ref) ? NAN : std::max(ref, v);
      else if (kind == ReduceKind::min)
        ref = std::isnan(v) || std::isnan(ref) ? NAN : std::min(ref, v);
      else if (kind == ReduceKind::prod)
        ref *= v;
      else
        ref += v;
    }
    if (kind == ReduceKind::prod) magnitude = std::fabs(ref);
    if (kind == ReduceKind::mean) ref /= n, magnitude /= n;
    const double got = y.at(static_cast<int64_t>(o));
    if (is_float(x.dtype())) {
      const double u = unit_roundoff(x.dtype() == f64 ? f64 : f32);
      const double bound = 2 * u * std::sqrt(n) * magnitude + unit_roundoff(x.dtype()) * std::fabs(ref) +
                           (size_of(x.dtype()) < 4 ? 1e-3 : 1e-44);
      if (std::isnan(ref) ? !std::isnan(got) : !(got == ref || std::fabs(got - ref) <= bound)) {
        const bool too_large = size_of(x.dtype()) < 4 && std::fabs(ref) > 240;  // float8 ends there
        good = good && too_large;
      }
    } else if (!members[o].empty()) {
      Tensor expected(x.dtype(), {1});
      const auto wrapped = static_cast<int64_t>(ref);
      // Small enough that a double holds it; wrapped to the width.
      if (std::fabs(ref) < 9e15) {
        std::memcpy(expected.data(), &wrapped, size_of(x.dtype()));
        good = good && got == expected.at(0);
      }
    }
  }
  CHECK(good);
}

}  // namespace

TEST_CASE("reduce over any axes", "[cpu][reduce]") {
  std::mt19937 random(5);
  struct Case {
    Shape shape;
    std::vector<int64_t> axes;
  };
  const Case cases[] = {{{}, {}},
                        {{1}, {0}},
                        {{129}, {0}},
                        {{200000}, {0}},
                        {{7, 13}, {}},
                        {{7, 13}, {0}},
                        {{7, 13}, {1}},
                        {{127, 128}, {0, 1}},
                        {{3, 40000}, {1}},
                        {{5000, 3}, {0}},
                        {{5000, 3}, {1}},
                        {{700, 129}, {0}},
                        {{50, 2100}, {0}},
                        {{3, 5, 7, 11}, {0, 2}},
                        {{3, 5, 7, 11}, {1, 3}},
                        {{3, 5, 7, 11}, {1, 2}},
                        {{4, 33, 1, 65}, {0, 2, 3}},
                        {{2, 300, 40, 9}, {0, 1, 2}},
                        {{0, 5}, {0}},
                        {{5, 0}, {1}},
                        {{5, 0}, {0}},
                        {{4, 0, 3}, {1}},
                        {{0}, {0}}};
  for (const Case& c : cases)
    for (const DType dtype : all_dtypes) {
      const Tensor x = random_tensor(random, dtype, c.shape);
      for (const ReduceKind kind :
           {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min, ReduceKind::prod}) {
        if (kind == ReduceKind::mean && !is_float(dtype)) continue;
        if (dtype == boolean && kind != ReduceKind::max && kind != ReduceKind::min) continue;
        if (kind == ReduceKind::prod && c.shape.elements() > 1000) continue;
        check(kind, x, c.axes);
      }
    }
}

TEST_CASE("max and min carry NaN from anywhere", "[cpu][reduce]") {
  for (const DType dtype : {f64, f32, bf16, f16})
    for (const Shape& shape : {Shape{5, 133}, Shape{133, 5}})
      for (int64_t axis : {0, 1})
        for (int64_t at : {0, 1, 50, 132, 300, 664}) {
          Tensor x = Tensor::full(1, dtype, shape);
          x.set(at, NAN);
          check(ReduceKind::max, x, {axis});
          check(ReduceKind::min, x, {axis});
          x.set(at, -INFINITY);
          check(ReduceKind::max, x, {axis});
          check(ReduceKind::sum, x, {axis});
        }
}

TEST_CASE("a long sum of equal numbers stays exact enough", "[cpu][reduce]") {
  const int64_t n = 10'000'000;
  const Tensor x = Tensor::full(0.1, f32, {n});
  const Tensor y = run(ReduceKind::sum, x, {0}, {}, 2);
  CHECK(std::fabs(y.at(0) - x.at(0) * static_cast<double>(n)) <= 2e-6 * y.at(0));
}

TEST_CASE("argmax and argmin take the first, NaN before all", "[cpu][reduce]") {
  std::mt19937 random(6);
  for (const DType dtype : {f64, f32, bf16, f16, i8, u8, i64, boolean})
    for (const Shape& shape : {Shape{7}, Shape{5, 129, 3}, Shape{3, 4, 130}})
      for (int axis = 0; axis < shape.rank(); ++axis)
        for (const bool largest : {true, false}) {
          Tensor x = random_tensor(random, dtype, shape);
          if (is_float(dtype) && shape.rank() == 3) x.set(5, NAN), x.set(200, NAN);
          Shape out;
          const auto members = groups(shape, {axis}, out);
          Tensor y(i64, out);
          ArgReduce(largest, dtype, shape, axis).run(x.data(), y.values<int64_t>().data(), {2});
          bool good = true;
          for (size_t o = 0; o < members.size(); ++o) {
            size_t best = 0;
            for (size_t i = 1; i < members[o].size(); ++i) {
              const double v = x.at(members[o][i]), b = x.at(members[o][best]);
              if (std::isnan(b)) break;
              if (std::isnan(v) || (largest ? v > b : v < b)) best = i;
            }
            good = good && y.at(static_cast<int64_t>(o)) == static_cast<double>(best);
          }
          CHECK(good);
        }
}

TEST_CASE("cumulative sum", "[cpu][reduce]") {
  std::mt19937 random(8);
  for (const DType dtype : {f64, f32, bf16, i32, u8})
    for (const Shape& shape : {Shape{0}, Shape{1}, Shape{5, 129, 3}, Shape{3, 4, 130}})
      for (int axis = 0; axis < shape.rank(); ++axis)
        for (int mode = 0; mode < 4; ++mode) {
          const bool exclusive = mode & 1, reverse = mode & 2;
          Tensor x = random_tensor(random, dtype, shape);
          if (!is_float(dtype))
            for (int64_t i = 0; i < x.elements(); ++i) x.set(i, static_cast<double>(i % 2));
          Tensor y(dtype, shape);
          CumulativeSum(dtype, shape, axis, exclusive, reverse).run(x.data(), y.data(), {2});
          Shape out;
          bool good = true;
          for (auto& line : groups(shape, {axis}, out)) {
            if (reverse) std::reverse(line.begin(), line.end());
            double sum = 0, magnitude = 0;
            for (int64_t i : line) {
              const double before = sum;
              sum += x.at(i);
              magnitude += std::fabs(x.at(i));
              const double ref = exclusive ? before : sum;
              good = good &&
                     std::fabs(y.at(i) - ref) <= unit_roundoff(dtype) * std::fabs(ref) + 1e-12 * magnitude;
            }
          }
          CHECK(good);
        }
}
