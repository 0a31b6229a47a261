#include "heddle/graph.h"

#include <array>
#include <functional>
#include <memory>

#include "heddle/ops.h"
#include "heddle/schema.h"
#include "kernels/reduce.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::test;

TEST_CASE("a graph knows its inputs, variables, outputs and updates") {
  Graph g;
  const Value x = g.input("x", f32, {"batch", 4});
  const Value w = g.variable("w", f32, {4, 2}, init::normal(0.1));
  const Value y = matmul(x, w);
  g.output("y", y);
  g.update(w, w * 0.5);
  CHECK(g.inputs() == std::vector<ValueId>{x.id()});
  CHECK(g.info(x.id()).kind == ValueKind::input);
  REQUIRE(g.variables().size() == 1);
  CHECK(g.variables()[0].name == "w");
  CHECK(g.variables()[0].value == w.id());
  CHECK(g.info(w.id()).kind == ValueKind::variable);
  CHECK(g.outputs()[0].value == y.id());
  CHECK(g.updates()[0].variable == 0);
  CHECK(y.dims() == Dims{"batch", 2});
  CHECK(y.dtype() == f32);
  CHECK(y.rank() == 2);
  CHECK(y.graph().data() == g.data());
  CHECK(g.info(y.id()).producer == 0);
  CHECK(g.node(0).op->name == std::string("matmul"));
  CHECK(g.node_count() == 2);
  CHECK(g.value_count() == 4);
}

TEST_CASE("nodes get unique names from their op, the scope and the caller") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  CHECK(exp(x).name() == "exp_0");
  CHECK(exp(x).name() == "exp_1");
  {
    const auto outer = g.scope("block");
    CHECK(exp(x).name() == "block/exp_0");
    {
      const auto inner = g.scope("mlp");
      CHECK((x * 2.0).name() == "block/mlp/mul_0");
    }
    CHECK(sum(x).name() == "block/reduce_0");
  }
  {
    const auto again = g.scope("block");
    CHECK(exp(x).name() == "block/exp_1");
  }
  const Attributes all = {{"kind", std::string("sum")}, {"axes", std::vector<int64_t>{0}}};
  CHECK(g.add(reduce_op(), std::array{x}, all, "total")[0].name() == "total");
  CHECK(g.add(reduce_op(), std::array{x}, all, "total")[0].name() == "total_0");
  const Sorted s = sort(x);
  CHECK(s.indices.name() == "sort_0.1");  // later results carry their number
}

TEST_CASE("pins mark the nodes added while they hold") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  g.pin("trn1");
  exp(x);
  g.pin("");
  exp(x);
  CHECK(g.node(0).device == "trn1");
  CHECK(g.node(1).device.empty());
}

TEST_CASE("references to nodes and values survive the graph's growth") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  exp(x);
  const Node* node = &g.node(0);
  const Dims* dims = &x.dims();
  for (int i = 0; i < 1000; ++i) exp(x);
  CHECK(node == &g.node(0));
  CHECK(dims == &x.dims());
}

TEST_CASE("errors name the op, the node, its operands and the remedy") {
  Graph g;
  const Value a = g.input("a", f32, {"batch", 784}), b = g.input("b", f32, {10, 784}),
              h = g.input("h", f16, {784});
  const auto s = g.scope("layer0");
  expect_error(
      ErrorCode::shape_mismatch,
      "matmul 'layer0/matmul' (float32[batch,784], float32[10,784]): a has 784 columns, but b has 10 rows",
      [&] { matmul(a, b); });
  expect_error(ErrorCode::dtype_mismatch, "use convert", [&] { add(a, h); });
  expect_error(ErrorCode::shape_mismatch, "batch and 10 (axis -2) are neither equal nor 1",
               [&] { add(a, b); });
  expect_error(ErrorCode::shape_mismatch,
               "add 'layer0/add' (float32[batch,784], float32[10,784]): ", [&] { a + b; });
  CHECK(g.node_count() == 0);
}

TEST_CASE("errors name the function that was called, once, and the value of another graph") {
  Graph g, other;
  const Value a = g.input("a", f32, {2, 3}), b = g.input("b", f32, {4}), n = g.input("n", i32, {4});
  const Value y = other.input("y", f32, {2, 3});
  CHECK(expect_error(ErrorCode::shape_mismatch, "do not broadcast", [&] {
          a + b;
        }).starts_with("add (float32[2,3], float32[4]): "));
  CHECK(expect_error(ErrorCode::shape_mismatch, "rows", [&] { matmul(a, a); }).starts_with("matmul ("));
  const std::string mixed =
      expect_error(ErrorCode::dtype_mismatch, "both operands must have one dtype", [&] { equal(b, n); });
  CHECK(mixed.find("equal", 1) == std::string::npos);
  expect_error(ErrorCode::invalid_argument, "add: the value 'y' (float32[2,3]) belongs to another graph",
               [&] { a + y; });
  expect_error(ErrorCode::invalid_argument, "'y'", [&] { g.output("out", y); });
}

TEST_CASE("operands and attributes are checked against the schema") {
  Graph g, other;
  const Value x = g.input("x", f32, {2, 3});
  const Attributes good = {{"kind", std::string("sum")}, {"axes", std::vector<int64_t>{0}}};
  const auto add_reduce = [&](std::vector<Value> in, Attributes a) {
    return g.add(reduce_op(), in, std::move(a))[0];
  };
  expect_error(ErrorCode::invalid_argument, "takes at most 1 operands, but got 2", [&] {
    add_reduce({x, x}, good);
  });
  expect_error(ErrorCode::invalid_argument, "operand 'x' is missing", [&] { add_reduce({}, good); });
  expect_error(ErrorCode::invalid_argument, "operand 'x' is missing", [&] { add_reduce({Value()}, good); });
  expect_error(ErrorCode::invalid_argument, "belongs to another graph",
               [&] { add_reduce({other.input("y", f32, {2})}, good); });
  expect_error(ErrorCode::invalid_argument, "attribute 'axes' (ints) is missing", [&] {
    add_reduce({x}, {{"kind", std::string("sum")}});
  });
  expect_error(ErrorCode::invalid_argument, "no attribute 'axis'; the op has kind, axes, keepdims", [&] {
    Attributes a = good;
    a.set("axis", int64_t{0});
    add_reduce({x}, a);
  });
  expect_error(ErrorCode::invalid_argument, "attribute 'kind' is string, but got int (3)", [&] {
    Attributes a = good;
    a.set("kind", int64_t{3});
    add_reduce({x}, a);
  });
  const Value y = add_reduce({x}, {{"axes", std::vector<int64_t>{0}}, {"kind", std::string("sum")}});
  const Attributes& complete = g.node(g.info(y.id()).producer).attributes;
  CHECK(complete.get<bool>("keepdims") == false);  // the default is filled in
  CHECK(complete.entries()[0].first == "kind");    // in the schema's order
  expect_error(ErrorCode::invalid_argument, "operand 1 is no value", [&] { add(x, Value()); });
  expect_error(ErrorCode::invalid_argument, "no value", [] { Value().dims(); });
}

TEST_CASE("names of inputs, variables and outputs are given once") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  const Value w = g.variable("w", f32, {2});
  expect_error(ErrorCode::invalid_argument, "already has", [&] { g.input("x", f32, {2}); });
  expect_error(ErrorCode::invalid_argument, "already has", [&] { g.input("w", f32, {2}); });
  expect_error(ErrorCode::invalid_argument, "already has", [&] { g.variable("x", f32, {2}); });
  expect_error(ErrorCode::invalid_argument, "without a name", [&] { g.input("", f32, {2}); });
  CHECK(g.variable("w", f32, {2}) == w);  // the same variable
  expect_error(ErrorCode::invalid_argument, "was declared as float32[2] and is now declared as float32[3]",
               [&] { g.variable("w", f32, {3}); });
  g.output("y", x);
  expect_error(ErrorCode::invalid_argument, "declared twice", [&] { g.output("y", w); });
  expect_error(ErrorCode::invalid_argument, "without a name", [&] { g.output("", w); });
  expect_error(ErrorCode::invalid_argument, "no value", [&] { g.output("z", Value()); });
}

TEST_CASE("updates fit their variable, once") {
  Graph g;
  const Value x = g.input("x", f32, {2}), w = g.variable("w", f32, {2});
  expect_error(ErrorCode::invalid_argument, "'x' is not a variable", [&] { g.update(x, w); });
  expect_error(ErrorCode::dtype_mismatch, "use convert", [&] { g.update(w, convert(x, f16)); });
  expect_error(ErrorCode::shape_mismatch, "it is [2], but the value is [2,1]",
               [&] { g.update(w, unsqueeze(x, 1)); });
  g.update(w, x);
  expect_error(ErrorCode::invalid_argument, "updated twice", [&] { g.update(w, x); });
}

TEST_CASE("a dim name means one size; its ranges are combined") {
  Graph g;
  g.input("x", f32, {Dim("batch", {1, 64, 1}), Dim("seq")});
  g.input("y", f32, {Dim("batch", {8, 128, 4})});
  const auto names = g.dim_names();
  CHECK(names.size() == 2);
  CHECK(names.at("batch") == DimRange{8, 64, 4});
  expect_error(ErrorCode::invalid_argument, "batch", [&] {
    g.input("z", f32, {Dim("batch", {100, 200, 1})});
  });
  CHECK(g.inputs().size() == 2);
  g.input("z", f32, {"batch"});  // the refused input left nothing behind
}

TEST_CASE("constants are dense; scalars have rank 0") {
  Graph g;
  const Tensor t = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Value c = g.constant(t.transpose(std::array<int64_t, 2>{1, 0}), "table");
  CHECK(c.dims() == Dims{3, 2});
  CHECK(c.name() == "table");
  CHECK(g.info(c.id()).constant.values<float>()[1] == 4);
  CHECK(g.scalar(2.5, bf16).rank() == 0);
  CHECK(g.scalar(2.5, bf16).dtype() == bf16);
  expect_error(ErrorCode::invalid_argument, "undefined", [&] { g.constant(Tensor()); });
}

TEST_CASE("a clone is another graph") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  const auto scope = g.scope("s");
  Graph copy = g.clone();
  exp(x);
  CHECK(copy.node_count() == 0);
  const Value y = exp(copy.value(x.id()));
  CHECK(y.name() == "exp_0");  // scopes are not cloned
  CHECK(y.graph().data() == copy.data());
  expect_error(ErrorCode::invalid_argument, "no node 7", [&] { g.node(7); });
  expect_error(ErrorCode::invalid_argument, "no value 70", [&] { g.info(70); });
}

TEST_CASE("binding puts numbers for names everywhere and checks again") {
  Graph g;
  const Value x = g.input("x", f32, {Dim("batch", {1, 64, 2}), "seq", 6});
  const Value flat = reshape(x, {"batch", -1});
  CHECK(flat.dims()[1] == Dim("seq") * Dim(6));
  const Value window = slice(flat, 1, 4, Dim("seq"));
  g.output("y", concat({window, window}, 1));
  const Graph bound = g.bind({{"batch", 4}, {"seq", 10}, {"unused", 3}});
  CHECK(bound.info(flat.id()).dims == Dims{4, 60});
  CHECK(bound.info(bound.outputs()[0].value).dims == Dims{4, 12});
  CHECK(bound.node(0).attributes.get<Dims>("shape") == Dims{4, 60});
  CHECK(bound.dim_names().empty());
  CHECK(g.info(flat.id()).dims[0] == Dim("batch"));  // the source is as it was
  expect_error(ErrorCode::not_found, "seq", [&] { g.bind({{"batch", 4}}); });
  expect_error(ErrorCode::invalid_argument, "batch", [&] { g.bind({{"batch", 3}, {"seq", 10}}); });
  // What holds for a name need not hold for the number: seq = 3 makes the slice end before it begins.
  expect_error(ErrorCode::invalid_argument, "slice 'slice_0'", [&] { g.bind({{"batch", 4}, {"seq", 3}}); });
}

TEST_CASE("a size that only an attribute names must be bound too") {
  Graph g;
  g.output("y", iota(g, {"length"}));
  expect_error(ErrorCode::not_found, "length", [&] { g.bind({}); });
  CHECK(g.bind({{"length", 5}}).info(g.outputs()[0].value).dims == Dims{5});
}

TEST_CASE("users can add ops of their own") {
  static const OpSchema twice = {
      .name = "twice",
      .family = "mine",
      .summary = "y = 2 x",
      .inputs = {{"x", "any"}, {"w", "any", OperandDoc::Arity::optional}},
      .outputs = {{"y", "like x"}},
      .attributes = {{"k", "float", "1.5", ""},
                     {"n", "ints", "[1,-2]", ""},
                     {"d", "dtype", "float16", ""},
                     {"s", "string", "", ""},
                     {"f", "floats", "[]", ""},
                     {"b", "bool", "true", ""}},
      .infer = [](const InferCall& call) { return std::vector<ValueType>{*call.inputs[0]}; }};
  Graph g;
  const Value x = g.input("x", f32, {2});
  const Value y = g.add(twice, std::array{x}, {{"k", int64_t{3}}})[0];
  const Node& node = g.node(g.info(y.id()).producer);
  CHECK(node.inputs ==
        std::vector<ValueId>{x.id(), no_value});  // the missing optional operand is there as none
  CHECK(node.attributes.get<double>("k") == 3);   // brought to the schema's kind
  CHECK(node.attributes.get<std::vector<int64_t>>("n") == std::vector<int64_t>{1, -2});
  CHECK(node.attributes.get<DType>("d") == f16);
  CHECK(node.attributes.get<std::string>("s").empty());
  CHECK(node.attributes.get<std::vector<double>>("f").empty());
  CHECK(node.attributes.get<bool>("b"));
}

TEST_CASE("a dtype that does not exist is refused where it is given") {
  const auto none = static_cast<DType>(99);
  Graph g;
  const Value x = g.input("x", f32, {2});
  const auto refused = [](const std::function<void()>& f) {
    expect_error(ErrorCode::invalid_argument, "no dtype 99", f);
  };
  refused([&] { g.input("bad", none, {2}); });
  refused([&] { g.variable("bad", none, {2}); });
  refused([&] { convert(x, none); });
}

TEST_CASE("scopes may end in any order") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  std::unique_ptr<Graph::Scope> outer(new Graph::Scope(g.scope("outer")));
  std::unique_ptr<Graph::Scope> inner(new Graph::Scope(g.scope("inner")));
  CHECK(exp(x).name() == "outer/inner/exp_0");
  outer.reset();
  CHECK(exp(x).name() == "inner/exp_0");
  const auto later = g.scope("later");
  inner.reset();
  CHECK(exp(x).name() == "later/exp_0");
}

TEST_CASE("a variable declared again keeps its first initializer, and another one is refused") {
  Graph g;
  const Value w = g.variable("w", f32, {2}, init::normal(0.5));
  CHECK(g.variable("w", f32, {2}) == w);
  CHECK(g.variable("w", f32, {2}, init::normal(0.5)) == w);
  expect_error(ErrorCode::invalid_argument, "another initializer",
               [&] { g.variable("w", f32, {2}, init::normal(0.25)); });
  expect_error(ErrorCode::invalid_argument, "another initializer",
               [&] { g.variable("w", f32, {2}, init::constant(1)); });
}
