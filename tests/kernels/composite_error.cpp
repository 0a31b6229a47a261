// Fused ops refuse wrong operands when they are added, in words that name the operand; and keep named sizes.
#include <array>

#include "heddle/ops/attention.h"
#include "heddle/ops/loss.h"
#include "heddle/ops/normalize.h"
#include "heddle/ops/optimizer.h"
#include "heddle/ops/rope.h"
#include "heddle/ops/softmax.h"
#include "tests/catch.h"
#include "tests/expect_error.h"

namespace heddle::test {
namespace {

constexpr auto shapes = ErrorCode::shape_mismatch;
constexpr auto dtypes = ErrorCode::dtype_mismatch;
constexpr auto arguments = ErrorCode::invalid_argument;

TEST_CASE("softmax refuses integers, axes outside the rank and gradients of another shape") {
  Graph g;
  const Value x = g.input("x", f32, {"batch", 4});
  CHECK(softmax(x).dims() == Dims{"batch", 4});
  CHECK(log_softmax(x, 0).dims() == Dims{"batch", 4});
  expect_error(dtypes, "x is int64", [&] { softmax(g.input("i", i64, {2})); });
  expect_error(arguments, "softmax: axis 2 is outside a value of shape [batch,4]", [&] { softmax(x, 2); });
  expect_error(arguments, "axis -3", [&] { log_softmax(x, -3); });
  expect_error(arguments, "softmax: axis -1", [&] { softmax(g.scalar(1)); });
  expect_error(shapes, "dy must have shape [batch,4]", [&] {
    softmax_grad(x, g.input("dy", f32, {"batch", 5}));
  });
  expect_error(dtypes, "dy", [&] { softmax_grad(x, g.input("dy16", bf16, {"batch", 4})); });
}

TEST_CASE("norms refuse weights of another size or dtype") {
  Graph g;
  const Value x = g.input("x", bf16, {"batch", "seq", 8});
  const Value narrow = g.input("narrow", bf16, {8}), wide = g.input("wide", f32, {8}),
              longer = g.input("l", f32, {9});
  CHECK(layer_norm(x, narrow, narrow).dims() == x.dims());
  CHECK(rms_norm(x, wide).dtype() == bf16);
  const std::string text = expect_error(shapes, "scale must have shape [8]", [&] { rms_norm(x, longer); });
  CHECK_THAT(text, ContainsSubstring("rms_norm"));
  expect_error(shapes, "bias must have shape [8]", [&] { layer_norm(x, wide, longer); });
  expect_error(dtypes, "scale is float32 but bias is bfloat16", [&] { layer_norm(x, wide, narrow); });
  expect_error(dtypes, "scale must be float32", [&] { rms_norm(x, g.input("half", f16, {8})); });
  expect_error(dtypes, "x is int32", [&] { rms_norm(g.input("i", i32, {8}), wide); });
  expect_error(shapes, "rank 1", [&] { rms_norm(g.scalar(1), wide); });
}

TEST_CASE("attention refuses heads that do not divide, other sizes and masks that do not broadcast") {
  Graph g;
  const Value q = g.input("q", f32, {"b", 6, "s", 4}), k = g.input("k", f32, {"b", 2, "t", 4});
  const Value v = g.input("v", f32, {"b", 2, "t", 5});
  CHECK(attention(q, k, v).dims() == Dims{"b", 6, "s", 5});
  CHECK(attention(q, k, v, {}, g.input("m", boolean, {"s", "t"})).dims() == Dims{"b", 6, "s", 5});
  // The same shapes read as [batch, positions, heads, size].
  expect_error(shapes, "k must have shape [b,2,t,4]", [&] {
    attention(q, g.input("k7", f32, {"b", 2, "t", 7}), v, {.layout = HeadLayout::bhsd});
  });
  expect_error(shapes, "the 4 heads of k and v must divide the 6 heads of q", [&] {
    const Value k4 = g.input("k4", f32, {"b", 4, "t", 4});
    attention(q, k4, k4);
  });
  expect_error(shapes, "v must have shape", [&] { attention(q, k, g.input("vt", f32, {"b", 2, 3, 5})); });
  expect_error(shapes, "rank 4", [&] { attention(q, g.input("k3", f32, {"b", 2, 4}), v); });
  expect_error(dtypes, "q is float32 but k is bfloat16", [&] {
    attention(q, g.input("k16", bf16, {"b", 2, "t", 4}), v);
  });
  expect_error(shapes, "mask must broadcast to [b,6,s,t]", [&] {
    attention(q, k, v, {}, g.input("mt", boolean, {"t", "s"}));
  });
  expect_error(dtypes, "mask must be bool or float32",
               [&] { attention(q, k, v, {}, g.input("mi", i32, {"t"})); });
}

TEST_CASE("rope refuses odd sizes and tables of another shape") {
  Graph g;
  const Value x = g.input("x", f16, {1, "s", 2, 6});
  const Value table = g.input("t", f32, {"s", 3}), other = g.input("o", f32, {2, 3});
  CHECK(rope(x, table, table, {.layout = HeadLayout::bshd}).dims() == x.dims());
  CHECK(rope(x, other, other).dims() == x.dims());
  expect_error(shapes, "cos must have shape [2,3]", [&] { rope(x, table, table); });
  expect_error(shapes, "must be even", [&] { rope(g.input("odd", f32, {1, 1, 1, 5}), table, table); });
  expect_error(dtypes, "sin must be float32", [&] { rope(x, other, g.input("s16", f16, {2, 3})); });
  expect_error(arguments, "rope_tables", [&] { rope_tables(4, 5); });
  const RopeTables tables = rope_tables(3, 4, 100);
  CHECK(tables.cos.shape() == Shape{3, 2});
  CHECK(tables.sin.at(3) == Approx(std::sin(0.1)));  // position 1, pair 1: 100^(-1/2)
}

TEST_CASE("cross_entropy refuses targets of another shape and float targets") {
  Graph g;
  const Value logits = g.input("x", bf16, {"b", 10});
  CHECK(cross_entropy_per_position(logits, g.input("t", i32, {"b"})).dtype() == f32);
  CHECK(cross_entropy(logits, g.input("t8", u8, {"b"})).rank() == 0);
  expect_error(shapes, "targets must have shape [b]", [&] {
    cross_entropy(logits, g.input("t2", i64, {"b", 10}));
  });
  expect_error(dtypes, "targets is float32", [&] { cross_entropy(logits, g.input("tf", f32, {"b"})); });
  expect_error(dtypes, "logits is int64",
               [&] { cross_entropy(g.input("xi", i64, {3}), g.input("t0", i64, {})); });
}

TEST_CASE("optimizers refuse lists that do not match and hyperparameters out of range") {
  Graph g;
  const Value rate = g.scalar(0.1), step = g.scalar(1);
  const Value p = g.input("p", bf16, {2, 3}), grad = g.input("g", f32, {2, 3}), m = g.input("m", f32, {2, 3});
  const std::array ps = {p}, gs = {grad}, ms = {m};
  CHECK(sgd(rate, ps, gs, {}).parameters[0].dtype() == bf16);
  CHECK(adam(rate, step, ps, gs, ms, ms).m[0].dtype() == f32);
  expect_error(arguments, "count is 1 and there are 4 operands", [&] { sgd(rate, ps, gs, ms); });
  expect_error(arguments, "nesterov needs", [&] { sgd(rate, ps, gs, {}, {.nesterov = true}); });
  expect_error(arguments, "momentum must be in [0, 1)", [&] { sgd(rate, ps, gs, ms, {.momentum = 1}); });
  expect_error(arguments, "beta2 must be in [0, 1)",
               [&] { adam(rate, step, ps, gs, ms, ms, {.beta2 = -0.5}); });
  expect_error(dtypes, "state 1 of parameter 0 must be float32", [&] { adamw(rate, step, ps, gs, ms, ps); });
  const std::array wrong = {g.input("g2", f32, {3, 2})};
  expect_error(shapes, "gradient 0 must have shape [2,3]", [&] { sgd(rate, ps, wrong, {}); });
  expect_error(shapes, "lr must have rank 0", [&] { sgd(m, ps, gs, {}); });
  expect_error(dtypes, "step must be float32 or float64",
               [&] { adam(rate, g.scalar(1, i64), ps, gs, ms, ms); });
  expect_error(arguments, "max_norm must be above 0", [&] { clip_by_global_norm(gs, 0); });
  expect_error(arguments, "there is no tensor", [&] { global_norm({}); });
  expect_error(dtypes, "tensor 0 is int32", [&] {
    const std::array ints = {g.input("i", i32, {2})};
    global_norm(ints);
  });
}

}  // namespace
}  // namespace heddle::test
