#include "heddle/ops/rope.h"

#include <array>
#include <cmath>

#include "heddle/ops/layout.h"
#include "kernels/catalogue.h"
#include "kernels/formula.h"
#include "kernels/lines.h"
#include "kernels/type_rules.h"

namespace heddle {
namespace {

using namespace kernels;

int position_axis(const Attributes& attributes) { return positions_before_heads(attributes) ? 1 : 2; }

// ---- shapes and cost --------------------------------------------------------------------------

void expect_table(const ValueType& table, const char* name, const ValueType& x, const Dims& wanted) {
  if (table.dtype != DType::float32 && !(x.dtype == DType::float64 && table.dtype == DType::float64)) {
    refuse_dtype(std::string(name) + " must be float32 (or float64 like x), but got " + to_string(table) +
                 "; use convert");
  }
  expect_dims(name, table, wanted, "positions of x, half the size of its vectors");
}

std::vector<ValueType> infer_rope(const InferCall& call) {
  const ValueType& x = *call.inputs[0];
  expect_float("x", x);
  expect_rank("x", x, 4);
  const std::optional<Dim> half = Dim::divide(x.dims[3], 2);
  if (!half) {
    refuse_shape("the last size of x must be even, but got " + to_string(x));
  }
  const Dims table = {x.dims[position_axis(call.attributes)], *half};
  expect_table(*call.inputs[1], "cos", x, table);
  expect_table(*call.inputs[2], "sin", x, table);
  return {x};
}

// Four products and two sums per pair.
Cost cost_rope(const CostCall& call) { return streaming_cost(call, 3 * elements_of(*call.inputs[0])); }

// ---- meaning in core ops ----------------------------------------------------------------------

// Values of x's shape seen as pairs, which stand apart on an axis of their own: [.., 2, D/2] when split in
// halves,
// [.., D/2, 2] when interleaved.
struct Pairs {
  bool interleaved;
  int positions, axis;
  Dims dims, table;  // of all pairs; of cos and sin, to broadcast to one side of the pairs

  Pairs(const Attributes& attributes, const Dims& x)
      : interleaved(attributes.get<bool>("interleaved")),
        positions(position_axis(attributes)),
        axis(interleaved ? 4 : 3),
        dims(x),
        table(Shape{1, 1, 1, 1, 1}) {
    const Dim half = *Dim::divide(x[3], 2);
    dims[3] = interleaved ? half : Dim(2);
    dims.push_back(interleaved ? Dim(2) : half);
    table[positions] = x[positions];
    table[interleaved ? 3 : 4] = half;
  }

  // The first and the second of every pair.
  std::array<Value, 2> split(Value x) const {
    const Value pairs = reshape(x, dims);
    return {slice(pairs, axis, 0, 1), slice(pairs, axis, 1, 2)};
  }
  Value join(const std::vector<Value>& sides, const Dims& x) const { return reshape(concat(sides, axis), x); }
};

std::vector<Value> decompose_rope(const DecomposeCall& call) {
  const Value x = call.inputs[0];
  const Pairs pairs(call.node.attributes, x.dims());
  const bool inverse = call.node.attributes.get<bool>("inverse");
  const auto [x1, x2] = pairs.split(x);
  const Value cos = reshape(call.inputs[1], pairs.table), sin = reshape(call.inputs[2], pairs.table);
  const std::vector<Value> turned =
      formula({x1, x2, cos, sin}, accumulation_dtype(x.dtype()), [&](const Scalars& in) {
        const Scalar s = inverse ? -in[3] : in[3];
        return Scalars{(in[0] * in[2] - in[1] * s).as(x.dtype()), (in[1] * in[2] + in[0] * s).as(x.dtype())};
      });
  return {pairs.join(turned, x.dims())};
}

// ---- gradient ------------------------------------------------------------------------------------

const OpSchema& rope_op();

// A rotation's transpose is its inverse. dcos = sum(dy1 * x1 + dy2 * x2), dsin = sum(dy2 * x1 - dy1 * x2).
std::vector<Value> gradient_rope(const GradientCall& call) {
  const Value x = call.inputs[0], cos = call.inputs[1], sin = call.inputs[2], dy = call.output_gradients[0];
  Attributes back = call.node.attributes;
  const bool inverse = back.get<bool>("inverse");
  back.set("inverse", !inverse);
  const Value dx = Graph(call.graph).add(rope_op(), std::array{dy, cos, sin}, back)[0];

  const Pairs pairs(call.node.attributes, x.dims());
  const auto [x1, x2] = pairs.split(x);
  const auto [dy1, dy2] = pairs.split(dy);
  const std::vector<Value> tables = formula({x1, x2, dy1, dy2}, cos.dtype(), [&](const Scalars& in) {
    const Scalar dsin = in[3] * in[0] - in[2] * in[1];
    return Scalars{in[2] * in[0] + in[3] * in[1], inverse ? -dsin : dsin};
  });
  const auto table = [&](Value g) { return reshape(sum_to(g, pairs.table), cos.dims()); };
  return {dx, table(tables[0]), table(tables[1])};
}

// ---- the oracle -------------------------------------------------------------------------------

void turn(const ReferenceCall& call, bool magnitude) {
  std::vector<double> x = reference::reals(call.inputs[0]), cos = reference::reals(call.inputs[1]),
                      sin = reference::reals(call.inputs[2]);
  std::vector<double> y(x.size());
  const bool interleaved = call.attributes.get<bool>("interleaved");
  double sign = call.attributes.get<bool>("inverse") ? -1 : 1;
  if (magnitude) {
    for (std::vector<double>* v : {&x, &cos, &sin})
      for (double& e : *v) e = std::fabs(e);
  }
  const Shape& shape = call.inputs[0].shape();
  const reference::Lines positions(shape, position_axis(call.attributes));  // inner: [heads,] size
  const int64_t size = shape[3], half = size / 2;
  for (int64_t o = 0; o < positions.outer; ++o) {
    for (int64_t s = 0; s < positions.length; ++s) {
      for (int64_t head = 0; head < positions.inner / std::max<int64_t>(1, size); ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const size_t first = positions.at(o, s, head * size + (interleaved ? 2 * i : i));
          const size_t second = first + static_cast<size_t>(interleaved ? 1 : half);
          const auto angle = static_cast<size_t>(s * half + i);
          const double turned = sign * sin[angle];
          y[first] =
              x[first] * cos[angle] + (magnitude ? std::fabs(x[second] * turned) : -x[second] * turned);
          y[second] = x[second] * cos[angle] + (magnitude ? std::fabs(x[first] * turned) : x[first] * turned);
        }
      }
    }
  }
  reference::store(call.outputs[0], y);
}
void reference_rope(const ReferenceCall& call) { turn(call, false); }
void magnitude_rope(const ReferenceCall& call) { turn(call, true); }

// ---- schema -----------------------------------------------------------------------------------

const OpSchema& rope_op() {
  static const auto* const op = new OpSchema{
      .name = "rope",
      .family = "rope",
      .summary = "y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin per pair of elements and position",
      .inputs = {{"x", "any float [B,H,S,D] or [B,S,H,D], D even"},
                 {"cos", "float32 [S,D/2] (float64 allowed for float64 x)"},
                 {"sin", "like cos"}},
      .outputs = {{"y", "like x"}},
      .attributes = {{"layout", "string", "bhsd", "bhsd: [B,H,S,D]; bshd: [B,S,H,D]"},
                     {"interleaved", "bool", "false", "pairs are elements 2i and 2i+1, not i and i + D/2"},
                     {"inverse", "bool", "false", "turn back: -sin for sin"}},
      .infer = infer_rope,
      .cost = cost_rope,
      .gradient = gradient_rope,
      .decompose = decompose_rope,
      .reference = reference_rope,
      // Two products and a sum.
      .accuracy = {.c = 2, .magnitude = magnitude_rope},
  };
  return *op;
}

}  // namespace

Value rope(Value x, Value cos, Value sin, const RopeOptions& options) {
  return x.graph().add(rope_op(), std::array{x, cos, sin},
                       {{"layout", std::string(head_layout_name(options.layout))},
                        {"interleaved", options.interleaved},
                        {"inverse", options.inverse}})[0];
}

RopeTables rope_tables(int64_t positions, int64_t size, double base) {
  if (size <= 0 || size % 2 != 0 || positions < 0 || !(base > 0)) {
    refuse_argument("rope_tables: size " + std::to_string(size) + " must be even and positive, " +
                    "positions " + std::to_string(positions) + " not negative and base " +
                    std::to_string(base) + " positive");
  }
  RopeTables tables{Tensor(DType::float32, {positions, size / 2}),
                    Tensor(DType::float32, {positions, size / 2})};
  const std::span<float> cos = tables.cos.values<float>(), sin = tables.sin.values<float>();
  for (int64_t s = 0; s < positions; ++s) {
    for (int64_t i = 0; i < size / 2; ++i) {
      const double angle =
          static_cast<double>(s) * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(size));
      const auto at = static_cast<size_t>(s * (size / 2) + i);
      cos[at] = static_cast<float>(std::cos(angle));
      sin[at] = static_cast<float>(std::sin(angle));
    }
  }
  return tables;
}

OpList rope_ops() {
  static const OpSchema* const ops[] = {&rope_op()};
  return ops;
}

}  // namespace heddle
