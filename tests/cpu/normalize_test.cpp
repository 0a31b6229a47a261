// layer_norm, rms_norm and their gradients against plain loops in double.
#include "cpu/kernels/normalize.h"

#include <numeric>

#include "tests/cpu/kernel_check.h"

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::test;

namespace {

using Doubles = std::vector<double>;

struct Case {
  NormRows n;
  bool centred;
  Tensor x, scale, bias, dy;
};

// Quantities whose bounds follow from each other; u is the accumulation's roundoff, c the roundings of one
// step.
void check(const Case& c, int threads) {
  const NormRows& n = c.n;
  INFO((c.centred ? "layer_norm " : "rms_norm ")
       << dtype_name(n.dtype) << ", weights " << dtype_name(n.weight_dtype) << ", " << n.rows << " rows of "
       << n.length << ", threads " << threads);
  const DType wide = n.dtype == DType::float64 ? DType::float64 : DType::float32;
  const double u = unit_roundoff(wide), size = static_cast<double>(n.length), root = std::sqrt(size);
  const Doubles x = to_doubles(c.x), scale = to_doubles(c.scale), bias = to_doubles(c.bias),
                dy = to_doubles(c.dy);
  const auto rows = static_cast<size_t>(n.rows), length = static_cast<size_t>(n.length);
  Doubles y(x.size()), y_bound(x.size()), mean(rows), mean_bound(rows), rstd(rows), rstd_bound(rows);
  for (size_t r = 0; r < rows; ++r) {
    const double* row = x.data() + r * length;
    double absolute = 0, squares = 0;
    for (size_t i = 0; i < length; ++i) {
      mean[r] += c.centred ? row[i] / size : 0;
      absolute += std::abs(row[i]) / size;
    }
    mean_bound[r] = c.centred ? 4 * u * root * absolute : 0;
    for (size_t i = 0; i < length; ++i) squares += (row[i] - mean[r]) * (row[i] - mean[r]);
    const double variance = squares / size + n.epsilon;
    rstd[r] = 1 / std::sqrt(variance);
    // A shift of the mean by e adds e^2 to the variance, and each distance is rounded.
    rstd_bound[r] = rstd[r] * (4 * u * root + mean_bound[r] * mean_bound[r] / variance +
                               4 * u * mean_bound[r] / std::sqrt(variance));
    for (size_t i = 0; i < length; ++i) {
      const double distance = row[i] - mean[r], unit = distance * rstd[r];
      const double unit_bound =
          std::abs(distance) * rstd_bound[r] + mean_bound[r] * rstd[r] + 4 * u * std::abs(unit);
      y[r * length + i] = unit * scale[i] + (c.centred ? bias[i] : 0);
      y_bound[r * length + i] =
          std::abs(scale[i]) * unit_bound + 4 * u * (std::abs(unit * scale[i]) + std::abs(bias[i]));
    }
  }
  Tensor got_y(n.dtype, c.x.shape()), got_mean(wide, {n.rows, 1}), got_rstd(wide, {n.rows, 1});
  if (c.centred) {
    layer_norm(n, {threads}, c.x.data(), c.scale.data(), c.bias.data(), got_y.data(), got_mean.data(),
               got_rstd.data());
    check_close("mean", got_mean, mean, mean_bound);
  } else {
    rms_norm(n, {threads}, c.x.data(), c.scale.data(), got_y.data(), got_rstd.data());
  }
  check_close("y", got_y, y, y_bound);
  check_close("rstd", got_rstd, rstd, rstd_bound);

  // The gradient, from the statistics that the kernel is given.
  const Doubles m = to_doubles(got_mean), s = to_doubles(got_rstd);
  Doubles dx(x.size()), dx_bound(x.size()), dscale(length), dscale_bound(length), dbias(length),
      dbias_bound(length);
  const double root_rows = std::sqrt(static_cast<double>(n.rows));
  for (size_t r = 0; r < rows; ++r) {
    double g_mean = 0, g_size = 0, gn_mean = 0, gn_size = 0;
    const auto at = [&](size_t i) { return r * length + i; };
    const auto unit = [&](size_t i) { return (x[at(i)] - (c.centred ? m[r] : 0)) * s[r]; };
    for (size_t i = 0; i < length; ++i) {
      const double g = dy[at(i)] * scale[i];
      g_mean += c.centred ? g / size : 0;
      g_size += c.centred ? std::abs(g) / size : 0;
      gn_mean += g * unit(i) / size;
      gn_size += std::abs(g * unit(i)) / size;
      dscale[i] += dy[at(i)] * unit(i);
      dscale_bound[i] += 4 * u * root_rows * std::abs(dy[at(i)] * unit(i));
      dbias[i] += dy[at(i)];
      dbias_bound[i] += 4 * u * root_rows * std::abs(dy[at(i)]);
    }
    for (size_t i = 0; i < length; ++i) {
      const double g = dy[at(i)] * scale[i], v = unit(i);
      dx[at(i)] = s[r] * (g - g_mean - v * gn_mean);
      dx_bound[at(i)] = 4 * u * root * s[r] * (std::abs(g) + g_size + std::abs(v) * gn_size);
    }
  }
  Tensor scratch(DType::uint8, {static_cast<int64_t>(norm_grad_scratch_bytes(n, {threads}))});
  Tensor got_dx(n.dtype, c.x.shape()), got_dscale(n.weight_dtype, {n.length}),
      got_dbias(n.weight_dtype, {n.length});
  const auto run = [&](int with) {
    std::memset(scratch.data(), 0xFF, scratch.bytes());
    if (c.centred) {
      layer_norm_grad(n, {with}, c.dy.data(), c.x.data(), c.scale.data(), got_mean.data(), got_rstd.data(),
                      got_dx.data(), got_dscale.data(), got_dbias.data(), scratch.data());
    } else {
      rms_norm_grad(n, {with}, c.dy.data(), c.x.data(), c.scale.data(), got_rstd.data(), got_dx.data(),
                    got_dscale.data(), scratch.data());
    }
  };
  run(threads);
  check_close("dx", got_dx, dx, dx_bound);
  check_close("dscale", got_dscale, dscale, dscale_bound);
  if (c.centred) check_close("dbias", got_dbias, dbias, dbias_bound);
  const Tensor first = got_dscale.clone();
  run(1);
  CHECK(same_bits(first, got_dscale));
}

}  // namespace

TEST_CASE("norms and their gradients over odd sizes and dtypes", "[cpu][normalize]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::pair<DType, DType> dtypes[] = {{f32, f32}, {bf16, bf16}, {bf16, f32},
                                            {f16, f16}, {f16, f32},   {f64, f64}};
  const int64_t sizes[][2] = {{1, 1},    {2, 3},    {7, 16},   {3, 127}, {40, 128},
                              {17, 129}, {400, 65}, {2, 3000}, {0, 8}};
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const auto& n : sizes)
      for (const auto& [dtype, weights] : dtypes)
        for (const bool centred : {true, false}) {
          Case c{{dtype, weights, n[0], n[1], 1e-5},
                 centred,
                 random_tensor(random, dtype, {n[0], n[1]}, 3),
                 random_tensor(random, weights, {n[1]}),
                 random_tensor(random, weights, {n[1]}),
                 random_tensor(random, dtype, {n[0], n[1]})};
          // A mean far from zero: the variance must come from distances, not from squares.
          if (draw(random, 0, 1) == 0)
            for (int64_t i = 0; i < c.x.elements(); ++i) c.x.set(i, c.x.at(i) + 50);
          check(c, static_cast<int>(draw(random, 1, 5)));
        }
  });
}

TEST_CASE("a norm of NaN or infinity is NaN in that row alone", "[cpu][normalize]") {
  std::mt19937_64 random(5);
  Tensor x = random_tensor(random, f32, {3, 20}), ones = Tensor::full(1, f32, {20}), y(f32, {3, 20});
  Tensor mean(f32, {3, 1}), rstd(f32, {3, 1});
  x.set(25, std::nan(""));
  x.set(45, HUGE_VAL);
  layer_norm({f32, f32, 3, 20, 1e-5}, {1}, x.data(), ones.data(), ones.data(), y.data(), mean.data(),
             rstd.data());
  for (int64_t i = 0; i < 20; ++i) {
    CHECK(std::isfinite(y.at(i)));
    CHECK(std::isnan(y.at(20 + i)));
    CHECK(std::isnan(y.at(40 + i)));
  }
}
