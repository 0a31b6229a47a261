// Every fused op: its decomposition into core ops means the same, and its gradient is the derivative.
#include <cmath>
#include <set>

#include "kernels/catalogue.h"
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
