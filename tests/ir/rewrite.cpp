#include "ir/rewrite.h"

#include "heddle/ops.h"
#include "kernels/evaluate.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::test;

namespace {

std::vector<std::string> node_names(const Graph& g) {
  std::vector<std::string> names;
  for (NodeId id = 0; id < g.node_count(); ++id) names.push_back(g.node(id).name);
  return names;
}

}  // namespace

TEST_CASE("dropping dead nodes keeps names, pins, inputs, variables and everything that is needed") {
  Graph g;
  const Value x = g.input("x", f32, {"n"}), w = g.variable("w", f32, {2});
  exp(x);  // dead
  g.pin("trn1");
  const Value y = tanh(x);
  g.pin("");
  g.update(w, w + g.constant(Tensor::of<float>({1, 2}, {2})));
  g.output("y", y);
  g.input("unused", f32, {3});
  const Graph small = ir::drop_dead_nodes(g);
  CHECK(node_names(small) == std::vector<std::string>{"tanh_0", "add_0"});
  CHECK(small.node(0).device == "trn1");
  CHECK(small.inputs().size() == 2);
  CHECK(small.variables().size() == 1);
  CHECK(small.dim_names().size() == 1);
  CHECK(ir::live_nodes(g) == std::vector<bool>{false, true, true});
  CHECK(ir::drop_dead_nodes(small).to_string() == small.to_string());
}

TEST_CASE("a hook puts other nodes in place of one; what only it used is gone") {
  Graph g;
  const Value x = g.input("x", f32, {3});
  Value y;
  {
    const auto s = g.scope("block");
    g.pin("trn1");
    y = square(exp(x));
    g.pin("");
  }
  g.output("y", y + 1.0);
  // square(exp(x)) = exp(2 x), found through the rewritten operand's producer.
  const Graph doubled = ir::rewrite(g,
                                    [](Graph& target, NodeId, const Node& node,
                                       std::span<const Value> in) -> std::optional<std::vector<Value>> {
                                      if (node.name != "block/square_0") return std::nullopt;
                                      const Node& producer = target.node(target.info(in[0].id()).producer);
                                      return std::vector<Value>{exp(target.value(producer.inputs[0]) * 2.0)};
                                    });
  CHECK(node_names(doubled) ==
        std::vector<std::string>{"block/square_0/mul_0", "block/square_0/exp_0", "add_0"});
  CHECK(doubled.node(0).device == "trn1");
  const Tensor at = Tensor::of<float>({-1, 0, 0.5}, {3});
  const Tensor before = evaluate(g, {{"x", at}}).outputs.at("y"),
               after = evaluate(doubled, {{"x", at}}).outputs.at("y");
  for (int64_t i = 0; i < 3; ++i) CHECK(after.at(i) == Approx(before.at(i)).epsilon(1e-6));
}

TEST_CASE("a replacement of another type is an internal error") {
  Graph g;
  const Value x = g.input("x", f32, {3});
  g.output("y", exp(x));
  expect_error(ErrorCode::internal, "exp_0", [&] {
    ir::rewrite(g, [](Graph&, NodeId, const Node&, std::span<const Value> in) {
      return std::optional(std::vector<Value>{sum(in[0])});
    });
  });
}
