// Sort and top-k against std::stable_sort.
#include "cpu/kernels/sort.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "heddle/tensor.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::cpu;

TEST_CASE("sort and topk", "[cpu][sort]") {
  std::mt19937 random(1);
  for (const DType dtype : all_dtypes)
    for (const Shape& shape :
         {Shape{0}, Shape{1}, Shape{7}, Shape{5, 129, 3}, Shape{3, 4, 70}, Shape{2, 3000}})
      for (int axis = 0; axis < shape.rank(); ++axis)
        for (const bool descending : {false, true})
          for (int64_t keep : {int64_t{0}, int64_t{1}, int64_t{5}, shape[axis]}) {
            if (keep > shape[axis]) continue;
            Tensor x(dtype, shape);
            std::uniform_int_distribution<int> ints(is_signed(dtype) ? -100 : 0, dtype == boolean ? 1 : 100);
            for (int64_t i = 0; i < x.elements(); ++i) {
              const int v = ints(random);
              x.set(i, is_float(dtype) && v > 95   ? NAN
                       : is_float(dtype) && v == 0 ? (i & 1 ? -0.0 : 0.0)
                                                   : v);
            }
            Shape out = shape;
            out[axis] = keep;
            Tensor values(dtype, out), indices(i64, out);
            const Sort sort(dtype, shape, axis, descending, keep);
            Tensor scratch(u8, Shape{static_cast<int64_t>(sort.scratch_bytes({2}))});
            sort.run(x.data(), values.data(), indices.values<int64_t>().data(), scratch.data(), {2});
            int64_t outer = 1, inner = 1;
            for (int i = 0; i < axis; ++i) outer *= shape[i];
            for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
            const int64_t n = shape[axis];
            bool good = true;
            for (int64_t o = 0; o < outer; ++o)
              for (int64_t c = 0; c < inner; ++c) {
                std::vector<int64_t> order(static_cast<size_t>(n));
                std::iota(order.begin(), order.end(), 0);
                const auto less = [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; };
                std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
                  const double va = x.at((o * n + a) * inner + c), vb = x.at((o * n + b) * inner + c);
                  return descending ? less(vb, va) : less(va, vb);
                });
                for (int64_t i = 0; i < keep; ++i) {
                  const int64_t at = (o * keep + i) * inner + c,
                                from = (o * n + order[static_cast<size_t>(i)]) * inner + c;
                  const size_t bytes = size_of(dtype);
                  good =
                      good && indices.at(at) == static_cast<double>(order[static_cast<size_t>(i)]) &&
                      std::memcmp(static_cast<const char*>(values.data()) + static_cast<size_t>(at) * bytes,
                                  static_cast<const char*>(x.data()) + static_cast<size_t>(from) * bytes,
                                  bytes) == 0;
                }
              }
            INFO(dtype_name(dtype) << to_string(shape) << " axis " << axis << " keep " << keep);
            CHECK(good);
          }
}
