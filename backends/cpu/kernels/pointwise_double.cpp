// Pointwise steps in float64: plain loops, for the checks and the rare model that asks for it.
#include <cmath>
#include <cstring>

#include "cpu/kernels/pointwise_steps.h"

namespace heddle::cpu {
namespace {

double sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}
double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }
constexpr double sqrt_two_over_pi = 0.79788456080286535588, inv_sqrt_two_pi = 0.39894228040143267794;
double tanh_of(double x) { return std::tanh(sqrt_two_over_pi * (x + 0.044715 * x * x * x)); }

}  // namespace

void run_step(ScalarOp op, const double* a, const double* b, const double* c, double* out, int64_t n) {
  const auto unary = [&](auto f) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(a[i]);
  };
  const auto binary = [&](auto f) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(a[i], b[i]);
  };
  switch (op) {
    case ScalarOp::add:
      return binary([](double x, double y) { return x + y; });
    case ScalarOp::sub:
      return binary([](double x, double y) { return x - y; });
    case ScalarOp::mul:
      return binary([](double x, double y) { return x * y; });
    case ScalarOp::div:
      return binary([](double x, double y) { return x / y; });
    case ScalarOp::min:
      return binary([](double x, double y) {
        return std::isnan(x) ? x : std::isnan(y) ? y : std::min(x, y);
      });
    case ScalarOp::max:
      return binary([](double x, double y) {
        return std::isnan(x) ? x : std::isnan(y) ? y : std::max(x, y);
      });
    case ScalarOp::pow:
      return binary([](double x, double y) { return std::pow(x, y); });
    case ScalarOp::mod:
      return binary([](double x, double y) {
        const double r = std::fmod(x, y);
        return r != 0 && (r < 0) != (y < 0) ? r + y : r;
      });
    case ScalarOp::equal:
      return binary([](double x, double y) { return x == y ? 1.0 : 0.0; });
    case ScalarOp::not_equal:
    case ScalarOp::logical_xor:
    case ScalarOp::bit_xor:
      return binary([](double x, double y) { return x != y ? 1.0 : 0.0; });
    case ScalarOp::less:
      return binary([](double x, double y) { return x < y ? 1.0 : 0.0; });
    case ScalarOp::less_equal:
      return binary([](double x, double y) { return x <= y ? 1.0 : 0.0; });
    case ScalarOp::greater:
      return binary([](double x, double y) { return x > y ? 1.0 : 0.0; });
    case ScalarOp::greater_equal:
      return binary([](double x, double y) { return x >= y ? 1.0 : 0.0; });
    case ScalarOp::logical_and:
    case ScalarOp::bit_and:
      return binary([](double x, double y) { return x * y; });
    case ScalarOp::logical_or:
    case ScalarOp::bit_or:
      return binary([](double x, double y) { return std::max(x, y); });
    case ScalarOp::logical_not:
      return unary([](double x) { return 1 - x; });
    case ScalarOp::neg:
      return unary([](double x) { return -x; });
    case ScalarOp::abs:
      return unary([](double x) { return std::abs(x); });
    case ScalarOp::sign:
      return unary([](double x) { return std::isnan(x) ? x : x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; });
    case ScalarOp::exp:
      return unary([](double x) { return std::exp(x); });
    case ScalarOp::log:
      return unary([](double x) { return std::log(x); });
    case ScalarOp::sqrt:
      return unary([](double x) { return std::sqrt(x); });
    case ScalarOp::rsqrt:
      return unary([](double x) { return 1 / std::sqrt(x); });
    case ScalarOp::reciprocal:
      return unary([](double x) { return 1 / x; });
    case ScalarOp::sin:
      return unary([](double x) { return std::sin(x); });
    case ScalarOp::cos:
      return unary([](double x) { return std::cos(x); });
    case ScalarOp::tanh:
      return unary([](double x) { return std::tanh(x); });
    case ScalarOp::erf:
      return unary([](double x) { return std::erf(x); });
    case ScalarOp::floor:
      return unary([](double x) { return std::floor(x); });
    case ScalarOp::ceil:
      return unary([](double x) { return std::ceil(x); });
    case ScalarOp::round:
      return unary([](double x) { return std::nearbyint(x); });
    case ScalarOp::square:
      return unary([](double x) { return x * x; });
    case ScalarOp::sigmoid:
      return unary(sigmoid);
    case ScalarOp::is_nan:
      return unary([](double x) { return std::isnan(x) ? 1.0 : 0.0; });
    case ScalarOp::relu:
      return unary([](double x) { return std::isnan(x) ? x : std::max(x, 0.0); });
    case ScalarOp::gelu_erf:
      return unary([](double x) { return x * normal_cdf(x); });
    case ScalarOp::gelu_tanh:
      return unary([](double x) { return 0.5 * x * (1 + tanh_of(x)); });
    case ScalarOp::silu:
      return unary([](double x) { return x * sigmoid(x); });
    case ScalarOp::softplus:
      return unary(
          [](double x) { return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); });
    case ScalarOp::gelu_erf_grad:
      return unary([](double x) { return normal_cdf(x) + x * inv_sqrt_two_pi * std::exp(-0.5 * x * x); });
    case ScalarOp::gelu_tanh_grad:
      return unary([](double x) {
        const double t = tanh_of(x);
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt_two_over_pi * (1 + 3 * 0.044715 * x * x);
      });
    case ScalarOp::silu_grad:
      return unary([](double x) {
        const double s = sigmoid(x);
        return s * (1 + x * (1 - s));
      });
    case ScalarOp::select:
      for (int64_t i = 0; i < n; ++i) out[i] = a[i] != 0 ? b[i] : c[i];
      return;
    default:
      std::memmove(out, a, static_cast<size_t>(n) * sizeof(double));
      return;
  }
}

void load_elements(DType dtype, const void* from, double* to, int64_t n) {
  if (dtype != DType::boolean) return void(std::memcpy(to, from, static_cast<size_t>(n) * sizeof(double)));
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<const uint8_t*>(from)[i] != 0 ? 1.0 : 0.0;
}

void store_elements(DType dtype, const double* from, void* to, int64_t n) {
  if (dtype != DType::boolean) return void(std::memcpy(to, from, static_cast<size_t>(n) * sizeof(double)));
  for (int64_t i = 0; i < n; ++i) static_cast<uint8_t*>(to)[i] = from[i] != 0;
}

}  // namespace heddle::cpu
