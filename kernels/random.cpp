#include "kernels/random.h"

#include <array>
#include <cmath>

#include "core/philox.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/random.h"
#include "kernels/catalogue.h"
#include "kernels/pointwise.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

void expect_word(const char* name, const ValueType& type) {
  if (type.dtype != DType::uint64 || type.dims != Dims{1}) {
    refuse_argument(std::string(name) + " is " + to_string(type) + ", but must be uint64[1]");
  }
}

std::vector<ValueType> infer_random_bits(const InferCall& call) {
  expect_word("key", operand(call, 0));
  expect_word("counter", operand(call, 1));
  return {{DType::uint32, call.attributes.get<Dims>("shape")}};
}

// Ten rounds of two wide products and four exclusive ors make four words.
constexpr double philox_operations = 10 * 6 / 4.0;
Cost cost_random_bits(const CostCall& call) {
  return streaming_cost(call, philox_operations * elements_of(call.outputs[0]));
}

std::vector<int64_t> draw(const Tensor& key, const Tensor& counter, int64_t n) {
  const auto k = static_cast<uint64_t>(reference::integers(key)[0]);
  const auto c = static_cast<uint64_t>(reference::integers(counter)[0]);
  std::vector<int64_t> bits(static_cast<size_t>(n));
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = philox_block(c + i / 4, k)[i % 4];
  return bits;
}

void reference_random_bits(const ReferenceCall& call) {
  reference::store(call.outputs[0], draw(call.inputs[0], call.inputs[1], call.outputs[0].elements()));
}

// Elements whose bits are below this are dropped.
double drop_below(const Attributes& attributes) {
  return std::floor(attributes.get<double>("rate") * 0x1p32);
}

std::vector<ValueType> infer_dropout(const InferCall& call) {
  expect_float("x", operand(call, 0));
  expect_word("key", operand(call, 1));
  expect_word("counter", operand(call, 2));
  const double rate = call.attributes.get<double>("rate");
  if (!(rate >= 0 && rate < 1))
    refuse_argument("rate is " + std::to_string(rate) + ", but must be in [0, 1)");
  return {operand(call, 0)};
}
Cost cost_dropout(const CostCall& call) {
  return streaming_cost(call, (philox_operations + 3) * elements_of(call.outputs[0]));
}

std::vector<Value> gradient_dropout(const GradientCall& call) {
  return {dropout(call.output_gradients[0], call.node.attributes.get<double>("rate"), call.inputs[1],
                  call.inputs[2]),
          {},
          {}};
}

std::vector<Value> decompose_dropout(const DecomposeCall& call) {
  const Value x = call.inputs[0];
  const Value bits = random_bits(call.inputs[1], call.inputs[2], x.dims());
  // In float32, so that 1 - rate is not rounded to a narrow dtype.
  ScalarProgram p;
  const uint32_t value = p.input(x.dtype()), drawn = p.input(DType::uint32);
  const uint32_t keep =
      p.add(ScalarOp::greater_equal, drawn, p.constant(drop_below(call.node.attributes), DType::uint32));
  const DType wide = x.dtype() == DType::float64 ? x.dtype() : DType::float32;
  const uint32_t scaled = p.add(ScalarOp::div, p.cast(value, wide),
                                p.constant(1 - call.node.attributes.get<double>("rate"), wide));
  p.outputs = {p.cast(p.select(keep, scaled, p.constant(0, wide)), x.dtype())};
  return pointwise(call.graph, std::move(p), std::array{x, bits});
}

void reference_dropout(const ReferenceCall& call) {
  std::vector<double> y = reference::reals(call.inputs[0]);
  const std::vector<int64_t> bits = draw(call.inputs[1], call.inputs[2], static_cast<int64_t>(y.size()));
  const double below = drop_below(call.attributes), kept = 1 - call.attributes.get<double>("rate");
  for (size_t i = 0; i < y.size(); ++i) y[i] = static_cast<double>(bits[i]) >= below ? y[i] / kept : 0;
  reference::store(call.outputs[0], y);
}

}  // namespace

Value random_bits(Value key, Value counter, const Dims& dims) {
  return key.graph().add(random_bits_op(), std::array{key, counter}, {{"shape", dims}})[0];
}
Value dropout(Value x, double rate, Value key, Value counter) {
  return x.graph().add(dropout_op(), std::array{x, key, counter}, {{"rate", rate}})[0];
}

const OpSchema& random_bits_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "random_bits",
      .family = "random",
      .summary = "y[i] = word i % 4 of Philox4x32-10 at counter + i / 4",
      .inputs = {{"key", "uint64 [1]"}, {"counter", "uint64 [1]"}},
      .outputs =
          {{"y",
            "uint32. The words of counter c and key k are philox((lo(c), hi(c), 0, 0), (lo(k), hi(k)))"}},
      .attributes = {{"shape", "dims", nullptr, "sizes of the result"}},
      .infer = infer_random_bits,
      .cost = cost_random_bits,
      .no_gradient = "the operands are integers",
      .reference = reference_random_bits,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& dropout_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "dropout",
      .family = "random",
      .summary = "y = x / (1 - rate) where random_bits(key, counter) >= floor(rate * 2^32), else 0",
      .inputs = {{"x", "floats"}, {"key", "uint64 [1]"}, {"counter", "uint64 [1]"}},
      .outputs = {{"y", "like x"}},
      .attributes = {{"rate", "float", nullptr, "in [0, 1)"}},
      .infer = infer_dropout,
      .cost = cost_dropout,
      .gradient = gradient_dropout,
      .decompose = decompose_dropout,
      .reference = reference_dropout,
      .accuracy = {.c = 4},
  };
  return *op;
}

OpList random_ops() {
  static const OpSchema* const ops[] = {&random_bits_op(), &dropout_op()};
  return ops;
}

}  // namespace heddle
