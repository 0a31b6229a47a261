// gradients(): what it accepts, what it refuses, and every op's gradient rule against finite differences.
#include "heddle/autodiff.h"

#include <set>

#include "heddle/ops/convert.h"
#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/matmul.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/random.h"
#include "heddle/ops/reduce.h"
#include "heddle/ops/sort.h"
#include "kernels/catalogue.h"
#include "kernels/matmul.h"
#include "tests/expect_error.h"
#include "tests/property.h"
#include "tests/transform/finite_differences.h"

using namespace heddle;
using namespace heddle::test;

namespace {

using Values = std::vector<Value>;

Tensor reals(std::mt19937_64& random, const Shape& shape, double low = -2, double high = 2) {
  return random_tensor(random, f64, shape, low, high);
}
// Distinct values in random order, at least 0.1 apart: extremes and orders do not change within a difference
// step.
Tensor distinct(std::mt19937_64& random, const Shape& shape) {
  Tensor t(f64, shape);
  std::vector<int64_t> order(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::shuffle(order.begin(), order.end(), random);
  for (size_t i = 0; i < order.size(); ++i)
    t.set(static_cast<int64_t>(i), 0.1 * static_cast<double>(order[i]) - 1);
  return t;
}

}  // namespace

TEST_CASE("gradients of every unary step") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto check = [&](const char* name, double low, double high, Value (*f)(Value)) {
    INFO(name);
    check_gradients(random, {reals(random, {3, 5}, low, high)},
                    [&](Graph, const Values& x) { return Values{f(x[0])}; });
  };
  check("neg", -2, 2, neg);
  check("abs", 0.1, 2, abs);
  check("abs", -2, -0.1, abs);
  check("sign", 0.1, 2, sign);
  check("square", -2, 2, square);
  check("exp", -2, 2, exp);
  check("log", 0.5, 3, log);
  check("sqrt", 0.5, 3, sqrt);
  check("rsqrt", 0.5, 3, rsqrt);
  check("reciprocal", 0.5, 3, reciprocal);
  check("sin", -3, 3, sin);
  check("cos", -3, 3, cos);
  check("tanh", -2, 2, tanh);
  check("erf", -2, 2, erf);
  check("floor", 0.1, 0.9, floor);
  check("ceil", 0.1, 0.9, ceil);
  check("round", 0.1, 0.4, round);
  check("sigmoid", -3, 3, sigmoid);
  check("relu", 0.1, 2, relu);
  check("relu", -2, -0.1, relu);
  check("silu", -3, 3, silu);
  check("softplus", -3, 3, softplus);
  check("gelu_erf", -3, 3, [](Value x) { return gelu(x); });
  check("gelu_tanh", -3, 3, [](Value x) { return gelu(x, true); });
}

TEST_CASE("gradients of binary steps, broadcast operands summed") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Shape shapes[][2] = {
      {{3, 5}, {3, 5}}, {{3, 5}, {5}}, {{3, 1}, {1, 5}}, {{}, {2, 3}}, {{2, 1, 3}, {4, 1}}};
  Value (*const functions[])(Value, Value) = {add, sub, mul, div, pow, maximum, minimum, mod};
  for (const auto& pair : shapes) {
    for (size_t f = 0; f < std::size(functions); ++f) {
      CAPTURE(to_string(pair[0]), to_string(pair[1]), f);
      // Positive, and never within 0.1 of each other: away from the jumps of mod, maximum and minimum.
      const Tensor a = reals(random, pair[0], 2.3, 2.9), b = reals(random, pair[1], 0.8, 1.1);
      check_gradients(random, {a, b},
                      [&](Graph, const Values& x) { return Values{functions[f](x[0], x[1])}; });
      check_gradients(random, {b, a}, [&](Graph, const Values& x) {
        return functions[f] == static_cast<Value (*)(Value, Value)>(mod) ? Values{mul(x[0], x[1])}
                                                                         : Values{functions[f](x[0], x[1])};
      });
    }
  }
}

TEST_CASE("gradients of select, numbers as operands, second derivatives") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  check_gradients(random, {random_tensor(random, boolean, {2, 5}), reals(random, {2, 1}), reals(random, {5})},
                  [](Graph, const Values& x) { return Values{select(x[0], x[1], x[2])}; });
  check_gradients(random, {reals(random, {7}, 0.5, 2)}, [](Graph, const Values& x) {
    return Values{2.0 * x[0] - 1.0, 1.0 - x[0] / 3.0, 1.0 / x[0], pow(x[0], 2.5), clamp(x[0], 0.1, 3), -x[0]};
  });
  Value (*const functions[])(Value) = {square,
                                       exp,
                                       log,
                                       sqrt,
                                       rsqrt,
                                       reciprocal,
                                       sin,
                                       cos,
                                       tanh,
                                       erf,
                                       sigmoid,
                                       silu,
                                       softplus,
                                       [](Value x) { return gelu(x); },
                                       [](Value x) { return gelu(x, true); }};
  for (size_t f = 0; f < std::size(functions); ++f) {
    CAPTURE(f);
    check_gradients(random, {reals(random, {4}, 0.5, 2)},
                    [&](Graph, const Values& x) { return gradients(sum(functions[f](x[0])), {x[0]}); });
  }
}

TEST_CASE("gradients of reductions") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  using Axes = std::vector<int64_t>;
  for (const Axes& axes : {Axes{}, Axes{0}, Axes{1}, Axes{0, 2}, Axes{0, 1, 2}}) {
    for (const bool keepdims : {false, true}) {
      CAPTURE(axes, keepdims);
      check_gradients(random, {distinct(random, {3, 4, 5})}, [&](Graph, const Values& x) {
        return Values{sum(x[0], axes, keepdims), mean(x[0], axes, keepdims), max(x[0], axes, keepdims),
                      min(x[0], axes, keepdims)};
      });
      check_gradients(random, {reals(random, {3, 2, 3}, 0.5, 1.5)},
                      [&](Graph, const Values& x) { return Values{prod(x[0], axes, keepdims)}; });
    }
  }
  SECTION("a product with zeros") {
    check_gradients(random, {Tensor::of<double>({2, 0, 3, 0, 0, 4, 5, 6, 7}, {3, 3})},
                    [](Graph, const Values& x) { return Values{prod(x[0], {1})}; });
  }
  for (const bool exclusive : {false, true}) {
    for (const bool reverse : {false, true}) {
      check_gradients(random, {reals(random, {3, 5, 2})},
                      [&](Graph, const Values& x) { return Values{cumsum(x[0], 1, exclusive, reverse)}; });
    }
  }
}

TEST_CASE("equal largest elements share the gradient evenly") {
  Graph g;
  const Value x = g.input("x", f64, {2, 3});
  const Value dx = gradients(sum(max(x, {1})), {x})[0];
  const auto values =
      evaluate_values(g, std::array{dx.id()}, {{x.id(), Tensor::of<double>({1, 1, 0, 5, 5, 5}, {2, 3})}});
  CHECK(elements(values[0]) == std::vector<double>{0.5, 0.5, 0, 1 / 3.0, 1 / 3.0, 1 / 3.0});
}

TEST_CASE("gradients of layout ops") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  check_gradients(random, {reals(random, {3, 4, 5})}, [](Graph, const Values& x) {
    return Values{reshape(x[0], {5, -1}),  transpose(x[0], {2, 0, 1}), transpose(x[0]),
                  contiguous(x[0]),        slice(x[0], 1, 1, 3),       slice(x[0], 2, 1, 5, 2),
                  slice(x[0], 2, 0, 5, 3), slice(x[0], 0, -2, 3),      pad(x[0], {1, 0, 2}, {0, 3, 1}, 7)};
  });
  check_gradients(random, {reals(random, {3, 1})}, [](Graph, const Values& x) {
    return Values{broadcast(x[0], {2, 3, 4}), broadcast(x[0], {3, 4}), squeeze(x[0], 1), unsqueeze(x[0], 0)};
  });
  check_gradients(random, {reals(random, {2, 3}), reals(random, {2, 1}), reals(random, {2, 4})},
                  [](Graph, const Values& x) { return Values{concat(x, 1)}; });
  for (const int64_t start : {-1, 0, 2, 9}) {
    CAPTURE(start);
    check_gradients(
        random, {reals(random, {4, 5}), reals(random, {2, 3}), Tensor::of<int64_t>({start, 1}, {2})},
        [](Graph, const Values& x) {
          return Values{dynamic_slice(x[0], x[2], {3, 2}), dynamic_update_slice(x[0], x[1], x[2])};
        });
  }
}

TEST_CASE("gradients of gather, scatter and embedding, also for rows that do not exist") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Tensor rows = Tensor::of<int64_t>({0, 2, -1, 2}, {2, 2});
  for (const int axis : {0, 1, 2}) {
    check_gradients(random, {reals(random, {3, 4, 3}), rows},
                    [&](Graph, const Values& x) { return Values{gather(x[0], x[1], axis)}; });
  }
  // Missing rows give NaN in gather, so only scatter and embedding_grad are differentiated through them.
  check_gradients(
      random, {reals(random, {3, 4, 2}), Tensor::of<int32_t>({1, 7, 3, -9}, {4}), reals(random, {3, 4, 2})},
      [](Graph, const Values& x) {
        return Values{scatter_set(x[0], x[1], x[2], 1), scatter_add(x[0], x[1], x[2], 1)};
      });
  check_gradients(random, {reals(random, {5, 3}), rows},
                  [](Graph, const Values& x) { return Values{embedding(x[0], x[1])}; });
  check_gradients(random, {reals(random, {2, 2, 3}), Tensor::of<int64_t>({0, 9, -1, 2}, {2, 2})},
                  [](Graph g, const Values& x) {
                    return g.add(*find_op("embedding_grad"), x, {{"rows", int64_t{4}}});
                  });
}

TEST_CASE("gradients of sort and topk") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const int axis : {0, 1, 2}) {
    check_gradients(random, {distinct(random, {3, 4, 2})}, [&](Graph, const Values& x) {
      return Values{sort(x[0], axis).values, sort(x[0], axis, true).values, topk(x[0], 2, axis).values,
                    topk(x[0], 1, axis, false).values};
    });
  }
}

TEST_CASE("gradients of matmul and matmul_pointwise") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      CAPTURE(ta, tb);
      const Shape a = ta ? Shape{5, 3} : Shape{3, 5}, b = tb ? Shape{2, 5} : Shape{5, 2};
      check_gradients(random, {reals(random, a), reals(random, b)},
                      [&](Graph, const Values& x) { return Values{matmul(x[0], x[1], ta, tb)}; });
      const Shape batch_a = ta ? Shape{2, 1, 5, 3} : Shape{2, 1, 3, 5},
                  batch_b = tb ? Shape{3, 2, 5} : Shape{3, 5, 2};
      check_gradients(random, {reals(random, batch_a), reals(random, batch_b)},
                      [&](Graph, const Values& x) { return Values{matmul(x[0], x[1], ta, tb)}; });
      check_gradients(random, {reals(random, a), reals(random, b), reals(random, {2})},
                      [&](Graph, const Values& x) {
                        ScalarProgram p;
                        const uint32_t product = p.input(f64), bias = p.input(f64);
                        const uint32_t biased = p.add(ScalarOp::add, product, bias);
                        p.outputs = {p.add(ScalarOp::gelu_erf, biased), biased};
                        return matmul_pointwise(x[0], x[1], ta, tb, std::array{x[2]}, p);
                      });
    }
  }
}

TEST_CASE("gradients of dropout use the same mask; convert goes back") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  check_gradients(random,
                  {reals(random, {6, 7}), Tensor::of<uint64_t>({7}, {1}), Tensor::of<uint64_t>({3}, {1})},
                  [](Graph, const Values& x) { return Values{dropout(x[0], 0.4, x[1], x[2])}; });
  Graph g;
  const Value x = g.input("x", bf16, {3});
  const Value dx = gradients(sum(convert(x, f32) * 3.0), {x})[0];
  CHECK(dx.dtype() == bf16);
  CHECK(elements(evaluate_values(g, std::array{dx.id()}, {{x.id(), Tensor(bf16, {3})}})[0]) ==
        std::vector<double>{3, 3, 3});
}

TEST_CASE("gradients work with named sizes") {
  Graph g;
  const Value x = g.input("x", f32, {"batch", 3}), w = g.variable("w", f32, {3, 2});
  const Value loss = mean(max(relu(matmul(x, w)), {1})) + mean(slice(x, 0, 1, Dim("batch"))) * 2.0;
  const std::vector<Value> grads = gradients(loss, {w, x});
  CHECK(grads[0].dims() == Dims{3, 2});
  CHECK(grads[1].dims() == Dims{"batch", 3});
  g.output("dx", grads[1]);
  const Graph bound = g.bind({{"batch", 4}});
  const Tensor dx =
      evaluate(bound, {{"x", Tensor(f32, {4, 3})}, {"w", Tensor(f32, {3, 2})}}).outputs.at("dx");
  for (int64_t i = 0; i < 12; ++i) CHECK(dx.at(i) == Approx(i < 3 ? 0.0 : 2.0 / 9).epsilon(1e-7));
}

TEST_CASE("a value used twice collects both gradients, and what the loss does not need has gradient zero") {
  Graph g;
  const Value x = g.input("x", f32, {2}), unused = g.input("unused", f32, {3});
  const Value loss = sum(x * x) + sum(x) + sum(convert(greater(unused, 0), f32));
  const std::vector<Value> grads = gradients(loss, {x, unused});
  const auto values = evaluate_values(g, std::array{grads[0].id(), grads[1].id()},
                                      {{x.id(), Tensor::of<float>({1, -2}, {2})}});
  CHECK(elements(values[0]) == std::vector<double>{3, -3});
  CHECK(elements(values[1]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("backward nodes carry the name and the pin of their node") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  g.pin("trn1");
  Value y;
  {
    const auto scope = g.scope("layer0");
    y = tanh(x);
  }
  g.pin("");
  const size_t before = g.node_count();
  gradients(sum(y), {x});
  bool seen = false;
  for (NodeId id = static_cast<NodeId>(before); id < g.node_count(); ++id) {
    if (g.node(id).name.rfind("layer0/tanh_0/grad/", 0) != 0) continue;
    seen = true;
    CHECK(g.node(id).device == "trn1");
  }
  CHECK(seen);
  CHECK(tanh(x).name() == "tanh_0");  // the scope and the pin of the caller are back
}

TEST_CASE("gradients refuse what has none") {
  Graph g, other;
  const Value x = g.input("x", f32, {2}), n = g.input("n", i64, {2});
  expect_error(ErrorCode::shape_mismatch, "not rank 0", [&] { gradients(x, {x}); });
  expect_error(ErrorCode::dtype_mismatch, "not a float", [&] { gradients(sum(n), {x}); });
  expect_error(ErrorCode::dtype_mismatch, "'n' (int64[2])", [&] { gradients(sum(x), {n}); });
  expect_error(ErrorCode::invalid_argument, "not of the graph",
               [&] { gradients(sum(x), {other.input("x", f32, {})}); });
  static const OpSchema opaque = {
      .name = "opaque",
      .family = "test",
      .summary = "",
      .inputs = {{"x", ""}},
      .outputs = {{"y", ""}},
      .attributes = {},
      .infer = [](const InferCall& call) { return std::vector<ValueType>{*call.inputs[0]}; },
      .no_gradient = "it is opaque"};
  const Value y = g.add(opaque, std::array{x}, {}, "black_box")[0];
  expect_error(ErrorCode::unsupported, "opaque 'black_box', which has no gradient: it is opaque",
               [&] { gradients(sum(y), {x}); });
  CHECK(gradients(sum(y) + sum(x), {g.input("z", f32, {})}).size() == 1);  // not on the way
}
