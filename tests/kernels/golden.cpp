// The references against PyTorch (tests/golden/make_golden.py).
#include <cmath>

#include "ir/scalar_program.h"
#include "tests/catch.h"
#include "tests/golden/golden.h"
#include "tests/kernels/op_case.h"

namespace heddle::test {
namespace {

using nlohmann::json;

std::vector<Tensor> tensors(const json& list) {
  std::vector<Tensor> result;
  for (const json& j : list) result.push_back(golden_tensor(j));
  return result;
}

AttributeValue attribute(const json& j) {
  if (j.is_boolean()) return j.get<bool>();
  if (j.is_number_integer()) return j.get<int64_t>();
  if (j.is_number()) return j.get<double>();
  if (j.is_array()) return j.get<std::vector<int64_t>>();
  return j.get<std::string>();
}

std::vector<Tensor> run_scalar(ScalarOp op, const Tensor& x) {
  ScalarProgram program;
  program.outputs = {program.add(op, program.input(x.dtype()))};
  Tensor y(x.dtype(), x.shape());
  std::vector<ScalarSlot> registers;
  for (int64_t i = 0; i < x.elements(); ++i) {
    ScalarSlot in, out;
    in.real = x.at(i);
    evaluate(program, &in, &out, registers);
    y.set(i, out.real);
  }
  return {y};
}

double largest(const std::vector<Tensor>& list) {
  double size = 1;
  for (const Tensor& t : list)
    for (int64_t i = 0; t.defined() && i < t.elements(); ++i)
      if (std::isfinite(t.at(i))) size = std::max(size, std::fabs(t.at(i)));
  return size;
}

// Both sides compute in double and differ by their order of operations: a few units in the last place per
// step, of the largest number on the way. The cases' sums are short: 64 covers them.
void expect_equal(const Tensor& got, const Tensor& want, double size) {
  const double u = got.dtype() == DType::float64 ? 64 * unit_roundoff(DType::float64) : 0;
  check_close(got, want, std::vector<double>(static_cast<size_t>(want.elements()), u * size), "golden");
}

void check_file(const std::string& name) {
  const json cases = golden_file(name);
  REQUIRE(!cases.empty());
  for (const json& j : cases) {
    OpCase c{j.at("op").get<std::string>(), {}, tensors(j.at("inputs"))};
    for (const auto& [key, value] : j.at("attributes").items()) c.attributes.set(key, attribute(value));
    INFO(to_string(c) << ": " << j.at("why").get<std::string>());
    const ScalarOpInfo* scalar = find_scalar_op(c.op);
    const std::vector<Tensor> got =
        scalar != nullptr ? run_scalar(scalar->op, c.inputs[0]) : run_reference(c);
    const std::vector<Tensor> want = tensors(j.at("outputs"));
    REQUIRE(got.size() == want.size());
    const double size = std::max(largest(c.inputs), largest(want));
    for (size_t i = 0; i < got.size(); ++i) {
      INFO("output " << i);
      CHECK(got[i].shape() == want[i].shape());
      expect_equal(got[i], want[i].to(got[i].dtype()), size);
    }
  }
}

TEST_CASE("references agree with PyTorch: activations") { check_file("activation.json"); }
TEST_CASE("references agree with PyTorch: softmax") { check_file("softmax.json"); }
TEST_CASE("references agree with PyTorch: layer_norm and rms_norm") { check_file("normalize.json"); }
TEST_CASE("references agree with PyTorch: attention") { check_file("attention.json"); }
TEST_CASE("references agree with PyTorch: rope") { check_file("rope.json"); }
TEST_CASE("references agree with PyTorch: cross_entropy") { check_file("loss.json"); }
TEST_CASE("references agree with PyTorch: optimizers and clipping") { check_file("optimizer.json"); }

TEST_CASE("references agree with PyTorch: ops that move, choose or add elements") {
  check_file("movement.json");
}

}  // namespace
}  // namespace heddle::test
