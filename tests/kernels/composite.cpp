// Every fused op: its decomposition into core ops means the same, and its gradient is the derivative.
#include <cmath>
#include <set>

#include "heddle/ops/optimizer.h"
#include "kernels/catalogue.h"
#include "kernels/pointwise.h"
#include "tests/catch.h"
#include "tests/kernels/composite_cases.h"
#include "tests/property.h"

namespace heddle::test {
namespace {

TEST_CASE("a decomposition stays within the op's own error bound of the reference") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (const DType dtype : {f64, f32, bf16, f16}) {
    for (const OpCase& c : composite_cases(seed, dtype)) {
      INFO(to_string(c));
      const std::vector<Tensor> want = run_reference(c), got = run_decomposition(c);
      const std::vector<std::vector<double>> bounds = error_bounds(c, want);
      for (size_t o = 0; o < want.size(); ++o) {
        check_close(got[o], want[o], bounds[o], c.op + " output " + std::to_string(o));
      }
    }
  }
}

TEST_CASE("the gradient of a fused op is its derivative") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::set<std::string> checked;
  for (const OpCase& c : composite_cases(seed, f64)) {
    const OpSchema& op = schema_of(c);
    if (op.gradient == nullptr) {
      CHECK(std::string(op.no_gradient) != "");
      continue;
    }
    // Only differentiable where finite: not beside a wrong target or a minus infinity.
    const std::vector<Tensor> outputs = run_reference(c);
    bool finite = true;
    for (const Tensor& t : outputs)
      for (int64_t i = 0; i < t.elements(); ++i) finite = finite && std::isfinite(t.at(i));
    if (!finite) continue;
    std::vector<Tensor> weights = {normal_tensor(seed + 1, f64, outputs[0].shape())};
    if (c.op == "cross_entropy") weights.push_back(normal_tensor(seed + 2, f64, outputs[1].shape()));
    std::vector<size_t> wrt;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      if (c.inputs[i].defined() && c.inputs[i].dtype() == f64) wrt.push_back(i);
    }
    check_gradient(c, weights, wrt);
    checked.insert(c.op);
  }
  CHECK(checked == std::set<std::string>{"softmax", "log_softmax", "softmax_grad", "layer_norm", "rms_norm",
                                         "attention", "rope", "cross_entropy", "global_norm"});
}

TEST_CASE("the bias corrections of adam do not cancel in float32") {
  // The first step: 1 - 0.999 computed as a difference would lose ten bits.
  Graph g;
  const std::vector<Value> one = {g.constant(Tensor::full(1, f32, {2}))},
                           zero = {g.constant(Tensor(f32, {2}))};
  const AdamStep s = adam(g.scalar(0.01), g.scalar(1), one, one, zero, zero);
  const Node& node = g.node(g.info(s.parameters[0].id()).producer);
  Graph parts;
  std::vector<Value> inputs;
  for (const ValueId id : node.inputs) inputs.push_back(parts.constant(g.info(id).constant));
  node.op->decompose({parts, node, inputs});
  const Node& corrections = parts.node(0);  // lr / (1 - beta1^step), 1 / (1 - beta2^step), lr * weight_decay
  const std::vector<Tensor> operands = {parts.info(corrections.inputs[0]).constant,
                                        parts.info(corrections.inputs[1]).constant};
  std::vector<Tensor> values(3, Tensor()), errors(3, Tensor());
  for (Tensor& t : values) t = Tensor(f32, {});
  for (Tensor& t : errors) t = Tensor(f64, {});
  evaluate_program(body_of(corrections.attributes), operands, values);
  program_error(body_of(corrections.attributes), operands, errors);
  CHECK(values[0].at(0) == Approx(0.1).epsilon(1e-6));
  CHECK(values[1].at(0) == Approx(1000).epsilon(1e-6));
  for (size_t i = 0; i < 2; ++i) {
    // In unit roundoffs: tanh, its operand's two, and four more operations.
    CHECK(errors[i].at(0) <= 16 * values[i].at(0));
  }
}

TEST_CASE("every fused op documents its operands, results, attributes and cost") {
  for (const OpCase& c : composite_cases(1, f32)) {
    INFO(to_string(c));
    const OpSchema& op = schema_of(c);
    CHECK(op.is_composite());
    CHECK(std::string(op.summary) != "");
    for (const OperandDoc& d : op.inputs) CHECK(std::string(d.doc) != "");
    for (const OperandDoc& d : op.outputs) CHECK(std::string(d.doc) != "");
    for (const AttributeDoc& d : op.attributes) CHECK(std::string(d.doc) != "");
    const Cost cost = cost_of(c);
    double bytes = 0;
    for (const Tensor& t : c.inputs) bytes += t.defined() ? static_cast<double>(t.bytes()) : 0;
    CHECK(cost.flops > 0);
    CHECK(cost.bytes >= bytes);
  }
}

}  // namespace
}  // namespace heddle::test
