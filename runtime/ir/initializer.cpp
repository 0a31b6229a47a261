#include <cmath>
#include <numbers>

#include "core/philox.h"
#include "heddle/error.h"
#include "heddle/graph.h"
#include "ir/graph_data.h"

namespace heddle {
namespace init {

Initializer zeros() { return {}; }
Initializer constant(double value) { return {Initializer::Kind::constant, value, 0, {}}; }
Initializer normal(double standard_deviation, double mean) {
  return {Initializer::Kind::normal, mean, standard_deviation, {}};
}
Initializer uniform(double low, double high) { return {Initializer::Kind::uniform, low, high, {}}; }
Initializer tensor(Tensor values) { return {Initializer::Kind::tensor, 0, 0, std::move(values)}; }

}  // namespace init

namespace {

// FNV-1a over the name, then the finaliser of MurmurHash3 over it and the seed.
uint64_t draw_key(const std::string& name, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  h += seed * 0x9E3779B97F4A7C15ull;
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
  return h ^ (h >> 33);
}

// 53 bits of two words: [0, 1).
double unit_interval(uint32_t low, uint32_t high) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}

}  // namespace

namespace ir {

void check_initializer(const Initializer& initializer, const std::string& name, DType dtype,
                       const Shape& shape) {
  const auto refuse = [&](ErrorCode code, const std::string& text) -> Error {
    return Error(code, "initial value of variable '" + name + "' (" + dtype_name(dtype) + to_string(shape) +
                           "): " + text);
  };
  switch (initializer.kind) {
    case Initializer::Kind::constant:
      return;
    case Initializer::Kind::tensor: {
      const Tensor& values = initializer.values;
      if (!values.defined()) throw refuse(ErrorCode::invalid_argument, "the tensor is undefined");
      if (values.dtype() != dtype) {
        throw refuse(ErrorCode::dtype_mismatch, std::string("the tensor is ") + dtype_name(values.dtype()) +
                                                    "; convert it with Tensor::to");
      }
      if (values.shape() != shape) {
        throw refuse(ErrorCode::shape_mismatch, "the tensor is " + to_string(values.shape()));
      }
      return;
    }
    case Initializer::Kind::normal:
    case Initializer::Kind::uniform:
      if (!is_float(dtype)) throw refuse(ErrorCode::dtype_mismatch, "random values need a float dtype");
      return;
  }
}

}  // namespace ir

Tensor initial_value(const Initializer& initializer, const std::string& name, DType dtype, const Shape& shape,
                     uint64_t seed) {
  ir::check_initializer(initializer, name, dtype, shape);
  if (initializer.kind == Initializer::Kind::constant) return Tensor::full(initializer.a, dtype, shape);
  if (initializer.kind == Initializer::Kind::tensor) return initializer.values.clone();
  Tensor t(dtype, shape);
  const uint64_t key = draw_key(name, seed);
  const int64_t n = t.elements();
  for (int64_t i = 0; i < n; i += 2) {  // one Philox block makes two elements
    const PhiloxWords w = philox_block(static_cast<uint64_t>(i / 2), key);
    double first = unit_interval(w[0], w[1]), second = unit_interval(w[2], w[3]);
    if (initializer.kind == Initializer::Kind::normal) {
      // G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", 1958.
      const double radius = std::sqrt(-2 * std::log(1 - first)), angle = 2 * std::numbers::pi * second;
      first = initializer.a + initializer.b * radius * std::cos(angle);
      second = initializer.a + initializer.b * radius * std::sin(angle);
    } else {
      first = initializer.a + (initializer.b - initializer.a) * first;
      second = initializer.a + (initializer.b - initializer.a) * second;
    }
    t.set(i, first);
    if (i + 1 < n) t.set(i + 1, second);
  }
  return t;
}

}  // namespace heddle
