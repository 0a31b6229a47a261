// softmax, log_softmax, softmax_grad and cross_entropy against plain loops in double.
#include "cpu/kernels/softmax.h"

#include <limits>

#include "cpu/kernels/loss.h"
#include "tests/cpu/kernel_check.h"

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::test;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr DType float_dtypes[] = {DType::float32, DType::bfloat16, DType::float16, DType::float64};

double accumulation_roundoff(DType dtype) {
  return unit_roundoff(dtype == DType::float64 ? DType::float64 : DType::float32);
}

struct Line {
  double top = -inf, total = 0;
};
Line scan(const std::vector<double>& x, size_t at, int64_t n, size_t stride) {
  Line line;
  for (int64_t i = 0; i < n; ++i) line.top = std::fmax(line.top, x[at + static_cast<size_t>(i) * stride]);
  for (int64_t i = 0; i < n; ++i) line.total += std::exp(x[at + static_cast<size_t>(i) * stride] - line.top);
  return line;
}

void check_softmax(const Tensor& x, const SoftmaxLines& lines, int threads) {
  INFO(dtype_name(lines.dtype) << " [" << lines.outer << "," << lines.length << "," << lines.inner << "]");
  const std::vector<double> in = to_doubles(x);
  std::vector<double> y(in.size()), log_y(in.size()), y_bound(in.size()), log_bound(in.size());
  // exp errs by 2 roundings, the distance from the maximum by one of itself, the sum by sqrt(n).
  const double u = accumulation_roundoff(lines.dtype), root = std::sqrt(static_cast<double>(lines.length));
  const auto stride = static_cast<size_t>(lines.inner);
  for (int64_t o = 0; o < lines.outer; ++o)
    for (size_t j = 0; j < stride; ++j) {
      const size_t at = static_cast<size_t>(o * lines.length) * stride + j;
      const Line line = scan(in, at, lines.length, stride);
      for (int64_t i = 0; i < lines.length; ++i) {
        const size_t k = at + static_cast<size_t>(i) * stride;
        const double distance = line.top - in[k];
        y[k] = std::exp(-distance) / line.total;
        y_bound[k] = y[k] == 0 ? 0 : 4 * u * (root + 2 + distance) * y[k];
        log_y[k] = -distance - std::log(line.total);
        log_bound[k] = std::isinf(distance) ? 0 : 4 * u * (root + distance + std::abs(std::log(line.total)));
      }
    }
  Tensor got(lines.dtype, x.shape()), again(lines.dtype, x.shape());
  softmax(lines, {threads}, x.data(), got.data());
  check_close("softmax", got, y, y_bound);
  softmax(lines, {1}, x.data(), again.data());
  CHECK(same_bits(got, again));
  log_softmax(lines, {threads}, x.data(), again.data());
  check_close("log_softmax", again, log_y, log_bound);
  Tensor in_place = x.clone();
  softmax(lines, {threads}, in_place.data(), in_place.data());
  CHECK(same_bits(got, in_place));
}

}  // namespace

TEST_CASE("softmax and log_softmax along any axis", "[cpu][softmax]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const int64_t sizes[][3] = {{1, 1, 1},    {3, 7, 1},    {5, 127, 1}, {2, 128, 1}, {4, 129, 1},
                              {1, 5000, 1}, {300, 17, 1}, {0, 4, 1},   {3, 0, 1},   {2, 13, 3},
                              {1, 5, 64},   {2, 33, 65},  {3, 4, 0},   {2, 3, 200}};
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const auto& n : sizes)
      for (const DType dtype : float_dtypes) {
        const Tensor x = random_tensor(random, dtype, {n[0], n[1], n[2]}, draw(random, 0, 1) == 0 ? 5 : 60);
        check_softmax(x, {dtype, n[0], n[1], n[2]}, static_cast<int>(draw(random, 1, 4)));
      }
  });
}

TEST_CASE("softmax of infinities and NaN", "[cpu][softmax]") {
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : float_dtypes) {
      Tensor x = Tensor::full(1, dtype, {4, 33});
      x.set(3, -inf);                                    // row 0: one hidden
      for (int i = 0; i < 33; ++i) x.set(33 + i, -inf);  // row 1: all hidden
      x.set(2 * 33 + 7, std::nan(""));                   // row 2
      x.set(3 * 33 + 32, inf);                           // row 3
      check_softmax(x, {dtype, 4, 33, 1}, 1);
    }
  });
}

TEST_CASE("softmax_grad along any axis", "[cpu][softmax]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const int64_t sizes[][3] = {{1, 1, 1},  {3, 7, 1},   {5, 129, 1}, {40, 600, 1},
                              {2, 13, 3}, {2, 33, 65}, {0, 3, 2}};
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const auto& n : sizes)
      for (const DType dtype : float_dtypes) {
        INFO(dtype_name(dtype) << " " << n[0] << " " << n[1] << " " << n[2]);
        const Shape shape{n[0], n[1], n[2]};
        const Tensor y = random_tensor(random, dtype, shape), dy = random_tensor(random, dtype, shape);
        const std::vector<double> a = to_doubles(y), b = to_doubles(dy);
        std::vector<double> dx(a.size()), bound(a.size());
        const double c = 4 * accumulation_roundoff(dtype) * std::sqrt(static_cast<double>(n[1]));
        const auto stride = static_cast<size_t>(n[2]);
        for (int64_t o = 0; o < n[0]; ++o)
          for (size_t j = 0; j < stride; ++j) {
            double sum = 0, size = 0;
            const auto at = [&](int64_t i) { return static_cast<size_t>(o * n[1] + i) * stride + j; };
            for (int64_t i = 0; i < n[1]; ++i) {
              sum += a[at(i)] * b[at(i)];
              size += std::abs(a[at(i)] * b[at(i)]);
            }
            for (int64_t i = 0; i < n[1]; ++i) {
              dx[at(i)] = a[at(i)] * (b[at(i)] - sum);
              bound[at(i)] = c * std::abs(a[at(i)]) * (std::abs(b[at(i)]) + size);
            }
          }
        Tensor got(dtype, shape);
        softmax_grad({dtype, n[0], n[1], n[2]}, {3}, y.data(), dy.data(), got.data());
        check_close("softmax_grad", got, dx, bound);
      }
  });
}

TEST_CASE("cross_entropy and its gradient, with ignored and impossible targets", "[cpu][loss]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const DType integers[] = {DType::int8, DType::int32, DType::int64, DType::uint16};
  each_instruction_set([&](const std::string& target_name) {
    CAPTURE(target_name);
    for (const int64_t classes : {1, 2, 16, 127, 128, 129, 1000})
      for (const DType dtype : float_dtypes) {
        const int64_t rows = draw(random, 1, 40);
        const DType target_dtype = integers[draw(random, 0, 3)];
        const int64_t ignore = is_signed(target_dtype) ? -100 : 77;
        INFO(dtype_name(dtype) << " " << rows << " rows of " << classes << ", targets "
                               << dtype_name(target_dtype));
        const double u = accumulation_roundoff(dtype), root = std::sqrt(static_cast<double>(classes));
        const Tensor logits = random_tensor(random, dtype, {rows, classes}, 8);
        const DType wide = dtype == DType::float64 ? DType::float64 : DType::float32;
        const Tensor dloss = random_tensor(random, wide, {rows});
        Tensor targets(target_dtype, {rows});
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t kind = draw(random, 0, 9);
          targets.set(
              i, static_cast<double>(kind == 0   ? ignore
                                     : kind == 1 ? std::min<int64_t>(classes, 127)
                                                 : draw(random, 0, std::min<int64_t>(classes, 128) - 1)));
        }
        const std::vector<double> x = to_doubles(logits), t = to_doubles(targets), g = to_doubles(dloss);
        const auto count = static_cast<size_t>(rows);
        std::vector<double> loss(count), lse(count), loss_bound(count), lse_bound(count);
        std::vector<double> dx(x.size()), dx_bound(x.size());
        for (size_t i = 0; i < count; ++i) {
          const size_t at = i * static_cast<size_t>(classes);
          const Line line = scan(x, at, classes, 1);
          lse[i] = line.top + std::log(line.total);
          lse_bound[i] = 4 * u * (root + std::abs(line.top) + std::log(line.total));
          const bool ignored = t[i] == static_cast<double>(ignore);
          const bool wrong = t[i] < 0 || t[i] >= static_cast<double>(classes);
          if (!ignored) loss[i] = wrong ? std::nan("") : lse[i] - x[at + static_cast<size_t>(t[i])];
          loss_bound[i] = ignored ? 0 : lse_bound[i] + 4 * u * 16;
          for (size_t c = 0; c < static_cast<size_t>(classes) && !ignored; ++c) {
            const double distance = x[at + c] - lse[i], p = std::exp(distance);
            const double hot = static_cast<double>(c) == t[i] ? 1 : 0;
            dx[at + c] = wrong ? std::nan("") : (p - hot) * g[i];
            dx_bound[at + c] =
                (p * (lse_bound[i] + 4 * u * (2 + std::abs(distance))) + 2 * u * hot) * std::abs(g[i]);
          }
        }
        Tensor got_loss(wide, {rows}), got_lse(wide, {rows}), got_dx(dtype, {rows, classes});
        const LossRows r{dtype, target_dtype, rows, classes, ignore};
        cross_entropy(r, {2}, logits.data(), targets.data(), got_loss.data(), got_lse.data());
        check_close("loss", got_loss, loss, loss_bound);
        check_close("lse", got_lse, lse, lse_bound);
        cross_entropy_grad(r, {2}, dloss.data(), logits.data(), targets.data(), got_lse.data(),
                           got_dx.data());
        check_close("dlogits", got_dx, dx, dx_bound);
        Tensor in_place = logits.clone();
        cross_entropy_grad(r, {1}, dloss.data(), in_place.data(), targets.data(), got_lse.data(),
                           in_place.data());
        CHECK(same_bits(in_place, got_dx));
      }
  });
}
