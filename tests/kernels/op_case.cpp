#include "tests/kernels/op_case.h"

#include <array>
#include <cmath>
#include <random>

#include "heddle/error.h"
#include "ir/graph_data.h"
#include "kernels/catalogue.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"

namespace heddle::test {
namespace {

std::vector<ValueType> types_of(const std::vector<Tensor>& tensors) {
  std::vector<ValueType> types;
  for (const Tensor& t : tensors)
    types.push_back(t.defined() ? ValueType{t.dtype(), Dims(t.shape())} : ValueType{});
  return types;
}

std::vector<const ValueType*> pointers(const OpCase& c, const std::vector<ValueType>& types) {
  std::vector<const ValueType*> p;
  for (size_t i = 0; i < types.size(); ++i) p.push_back(c.inputs[i].defined() ? &types[i] : nullptr);
  return p;
}

struct Built {
  Graph graph;
  std::vector<Value> inputs, outputs;
};
Built build(const OpCase& c) {
  Built b;
  for (const Tensor& t : c.inputs) b.inputs.push_back(t.defined() ? b.graph.constant(t) : Value());
  b.outputs = b.graph.add(schema_of(c), b.inputs, c.attributes);
  return b;
}

}  // namespace

const OpSchema& schema_of(const OpCase& c) {
  const OpSchema* op = find_op(c.op);
  if (op == nullptr) FAIL("there is no op " << c.op);
  return *op;
}

std::string to_string(const OpCase& c) {
  std::string text = c.op + " {";
  for (const auto& [name, value] : c.attributes.entries())
    text += " " + name + "=" + heddle::to_string(value);
  text += " } (";
  for (const Tensor& t : c.inputs) {
    text += t.defined() ? heddle::to_string(ValueType{t.dtype(), Dims(t.shape())}) + " " : std::string("- ");
  }
  return text + ")";
}

std::vector<ValueType> infer(const OpCase& c) {
  const std::vector<ValueType> types = types_of(c.inputs);
  const std::vector<const ValueType*> in = pointers(c, types);
  return ir::infer_types(schema_of(c), c.op, in, ir::complete_attributes(schema_of(c), c.attributes));
}

Cost cost_of(const OpCase& c) {
  const std::vector<ValueType> in_types = types_of(c.inputs), out_types = infer(c);
  const std::vector<const ValueType*> in = pointers(c, in_types);
  const Attributes attributes = ir::complete_attributes(schema_of(c), c.attributes);
  return schema_of(c).cost({in, out_types, attributes});
}

std::vector<Tensor> run_reference(const OpCase& c) {
  return evaluate_op(schema_of(c), c.inputs, c.attributes);
}

std::vector<Tensor> run_decomposition(const OpCase& c) {
  const Built b = build(c);
  const NodeId id = b.graph.info(b.outputs[0].id()).producer;
  Graph parts;
  std::vector<Value> inputs;
  for (const Tensor& t : c.inputs) inputs.push_back(t.defined() ? parts.constant(t) : Value());
  const std::vector<Value> results = schema_of(c).decompose({parts, b.graph.node(id), inputs});
  REQUIRE(results.size() == b.outputs.size());
  std::vector<ValueId> wanted;
  for (size_t i = 0; i < results.size(); ++i) {
    CHECK(results[i].dtype() == b.outputs[i].dtype());
    CHECK(results[i].dims() == b.outputs[i].dims());
    wanted.push_back(results[i].id());
  }
  return evaluate_values(parts, wanted);
}

std::vector<std::vector<double>> error_bounds(const OpCase& c, const std::vector<Tensor>& reference) {
  const OpSchema& op = schema_of(c);
  const Attributes attributes = ir::complete_attributes(op, c.attributes);
  const std::vector<ValueType> in_types = types_of(c.inputs), out_types = types_of(reference);
  const std::vector<const ValueType*> in = pointers(c, in_types);
  const double depth = op.accuracy.depth ? op.accuracy.depth({in, out_types, attributes}) : 1;
  std::vector<Tensor> magnitude;
  for (const Tensor& t : reference) magnitude.emplace_back(DType::float64, t.shape());
  if (op.accuracy.magnitude) op.accuracy.magnitude({attributes, c.inputs, magnitude});
  std::vector<std::vector<double>> bounds;
  for (size_t o = 0; o < reference.size(); ++o) {
    const DType dtype = reference[o].dtype();
    const double sums = unit_roundoff(dtype == DType::float64 ? dtype : DType::float32);
    std::vector<double> bound;
    for (int64_t i = 0; i < reference[o].elements(); ++i) {
      const double size = std::fabs(reference[o].at(i));
      const double m = op.accuracy.magnitude ? magnitude[o].at(i) : size;
      bound.push_back(op.accuracy.exact
                          ? 0
                          : op.accuracy.c * sums * std::sqrt(depth) * m + 2 * unit_roundoff(dtype) * size);
    }
    bounds.push_back(bound);
  }
  return bounds;
}

void check_close(const Tensor& got, const Tensor& want, const std::vector<double>& bound,
                 const std::string& what) {
  REQUIRE(got.shape() == want.shape());
  for (int64_t i = 0; i < want.elements(); ++i) {
    const double g = got.at(i), w = want.at(i), limit = bound[static_cast<size_t>(i)];
    const bool same = g == w || (std::isnan(g) && std::isnan(w)) || std::fabs(g - w) <= limit;
    if (!same) {
      FAIL_CHECK(what << ": element " << i << " of " << heddle::to_string(want.shape()) << " is " << g
                      << ", want " << w << ", off by " << std::fabs(g - w) << ", allowed " << limit);
      return;
    }
  }
}

namespace {

// sum over the outputs with a weight of weight * output.
double objective(const OpCase& c, const std::vector<Tensor>& weights) {
  const std::vector<Tensor> outputs = run_reference(c);
  double sum = 0;
  for (size_t o = 0; o < outputs.size(); ++o) {
    if (!weights[o].defined()) continue;
    for (int64_t i = 0; i < outputs[o].elements(); ++i) sum += weights[o].at(i) * outputs[o].at(i);
  }
  return sum;
}

}  // namespace

void check_gradient(const OpCase& c, const std::vector<Tensor>& weights, const std::vector<size_t>& wrt) {
  INFO(to_string(c));
  Built b = build(c);
  std::vector<Value> output_gradients;
  for (const Tensor& w : weights) output_gradients.push_back(w.defined() ? b.graph.constant(w) : Value());
  output_gradients.resize(b.outputs.size());
  const NodeId id = b.graph.info(b.outputs[0].id()).producer;
  const std::vector<Value> gradients =
      schema_of(c).gradient({b.graph, b.graph.node(id), b.inputs, b.outputs, output_gradients});
  REQUIRE(gradients.size() == c.inputs.size());
  std::vector<Tensor> padded = weights;
  padded.resize(b.outputs.size());

  for (const size_t input : wrt) {
    INFO("operand " << input);
    REQUIRE(static_cast<bool>(gradients[input]));
    REQUIRE(gradients[input].dtype() == c.inputs[input].dtype());
    REQUIRE(gradients[input].dims() == Dims(c.inputs[input].shape()));
    const Tensor got = evaluate_values(b.graph, std::array{gradients[input].id()})[0];
    Tensor want(DType::float64, got.shape());
    double largest = 0;
    for (int64_t i = 0; i < want.elements(); ++i) {
      const auto difference = [&](double h) {
        OpCase moved = c;
        const auto at = [&](double to) {
          moved.inputs[input] = c.inputs[input].clone();
          moved.inputs[input].set(i, c.inputs[input].at(i) + to);
          return objective(moved, padded);
        };
        return (at(h) - at(-h)) / (2 * h);
      };
      // Richardson: the error of central differences is a multiple of h^2, and cancels to h^4.
      const double h = 1e-3;
      want.set(i, (4 * difference(h / 2) - difference(h)) / 3);
      largest = std::max(largest, std::fabs(want.at(i)));
    }
    // h^4 times a fifth derivative of order 100 at most, and 2^-53 / h of cancellation.
    const double tolerance = 1e-10 * (1 + largest);
    check_close(got, want, std::vector<double>(static_cast<size_t>(want.elements()), tolerance), "gradient");
  }
}

Tensor normal_tensor(uint64_t seed, DType dtype, const Shape& shape, double scale, double shift) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(shift, scale);
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, normal(random));
  return t;
}

}  // namespace heddle::test
