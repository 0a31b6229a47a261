// Epilogues: a matmul whose result passes through a scalar program before it is stored.
#include <memory>

#include "conformance/cases/families.h"
#include "ir/scalar_program.h"

namespace heddle::conformance {
namespace {

using enum ScalarOp;

struct Epilogue {
  const char* name;
  ScalarProgram program;
  std::vector<Operand> operands;  // after a and b
  bool exact;                     // with integer fills
};

// `shape` is the result's.
std::vector<Epilogue> epilogues(DType dtype, const Shape& shape) {
  const Operand row{dtype, {shape.at(-1)}, fill::integers(-2, 2)}, whole{dtype, shape, fill::integers(-2, 2)};
  std::vector<Epilogue> all;
  const auto add_one = [&](const char* name, std::vector<Operand> operands, bool exact, auto build) {
    ScalarProgram p;
    const uint32_t product = p.input(dtype);
    std::vector<uint32_t> others;
    for (const Operand& o : operands) others.push_back(p.input(o.dtype));
    build(p, product, others);
    all.push_back({name, p, std::move(operands), exact});
  };
  using Registers = std::vector<uint32_t>;
  add_one("bias", {row}, true,
          [](ScalarProgram& p, uint32_t y, const Registers& x) { p.outputs = {p.add(add, y, x[0])}; });
  add_one("bias-relu", {row}, true, [](ScalarProgram& p, uint32_t y, const Registers& x) {
    p.outputs = {p.add(relu, p.add(add, y, x[0]))};
  });
  add_one("bias-gelu", {row}, false, [](ScalarProgram& p, uint32_t y, const Registers& x) {
    p.outputs = {p.add(gelu_tanh, p.add(add, y, x[0]))};
  });
  add_one("bias-residual", {row, whole}, true, [](ScalarProgram& p, uint32_t y, const Registers& x) {
    p.outputs = {p.add(add, p.add(add, y, x[0]), x[1])};
  });
  add_one("scaled", {{dtype, {}, fill::constant(0.5)}}, true,
          [](ScalarProgram& p, uint32_t y, const Registers& x) { p.outputs = {p.add(mul, y, x[0])}; });
  add_one("two-results", {row}, true, [](ScalarProgram& p, uint32_t y, const Registers& x) {
    const uint32_t sum = p.add(add, y, x[0]);
    p.outputs = {sum, p.add(relu, sum)};
  });
  add_one("widened", {}, true, [dtype](ScalarProgram& p, uint32_t y, const Registers&) {
    p.outputs = {p.add(neg, p.cast(y, wide(dtype)))};
  });
  return all;
}

}  // namespace

void add_matmul_pointwise_cases(CaseList& list) {
  struct Form {
    const char* name;
    Shape a, b, result;
    bool transpose_a, transpose_b;
  };
  const Form forms[] = {{"m1k1n1", {1, 1}, {1, 1}, {1, 1}, false, false},
                        {"m17k13n7", {17, 13}, {13, 7}, {17, 7}, false, false},
                        {"m127k128n129", {127, 128}, {128, 129}, {127, 129}, false, false},
                        {"m33k65n130-tn", {65, 33}, {65, 130}, {33, 130}, true, false},
                        {"m33k65n130-nt", {33, 65}, {130, 65}, {33, 130}, false, true},
                        {"batch3m5k7n9", {3, 5, 7}, {7, 9}, {3, 5, 9}, false, false},
                        {"m3k0n5", {3, 0}, {0, 5}, {3, 5}, false, false},
                        {"m0k3n5", {0, 3}, {3, 5}, {0, 5}, false, false}};
  for (const DType dtype : compute_floats)
    for (const Form& f : forms)
      for (const Epilogue& e : epilogues(dtype, f.result)) {
        const auto add_filled = [&](const Fill& fill, bool exact, const char* fill_name) {
          NodeCase node{.op = "matmul_pointwise",
                        .operands = {{dtype, f.a, fill}, {dtype, f.b, fill}},
                        .attributes = {{"transpose_a", f.transpose_a},
                                       {"transpose_b", f.transpose_b},
                                       {"body", std::make_shared<const ScalarProgram>(e.program)}},
                        .exact = exact};
          node.operands.insert(node.operands.end(), e.operands.begin(), e.operands.end());
          list.add(std::move(node), {e.name, short_name(dtype), f.name, fill_name});
        };
        // Sums of 128 products of at most 1 stay whole numbers below 256: every dtype holds them, also in
        // between.
        if (e.exact) add_filled(fill::integers(-1, 1), true, "integers");
        add_filled(fill::uniform(-1, 1), false, "random");
      }
}

}  // namespace heddle::conformance
