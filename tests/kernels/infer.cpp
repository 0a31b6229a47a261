// Shape rules: named sizes go through, and what does not fit is refused with the reason.
#include <limits>

#include <array>

#include "heddle/ops.h"
#include "kernels/catalogue.h"
#include "kernels/evaluate.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "tests/expect_error.h"

namespace heddle::test {
namespace {

struct Operands {
  Graph g;
  Value x = g.input("x", f32, {"batch", 4, 6}), n = g.input("n", i32, {"batch"}), h = g.input("h", f16, {6});
  Value w = g.input("w", f32, {6, 5}), c = g.input("c", boolean, {4, 1}), big = g.input("big", u64, {3});
  Value start = g.input("start", i64, {3}), word = g.input("word", u64, {1});
  const OpSchema& op(const char* name) const { return *find_op(name); }
};
const auto shape = ErrorCode::shape_mismatch, dtype = ErrorCode::dtype_mismatch,
           argument = ErrorCode::invalid_argument;

TEST_CASE("pointwise builders: broadcasting, result dtypes, numbers") {
  Operands o;
  CHECK((o.x + 1.0).dims() == Dims{"batch", 4, 6});
  CHECK(add(unsqueeze(unsqueeze(o.n, 1), 1), o.n * 2.0).dims() == Dims{"batch", 1, "batch"});
  CHECK(less(o.x, 0).dtype() == boolean);
  CHECK(select(o.c, o.x, 0.0).dims() == Dims{"batch", 4, 6});
  CHECK(select(o.c, 0.0, o.x).dtype() == f32);
  CHECK((1.0 - o.h).dtype() == f16);
  CHECK(is_nan(o.h).dtype() == boolean);
  CHECK((-o.n).dtype() == i32);
  expect_error(dtype,
               "add (x: float32[batch,4,6], h: float16[6]): both operands must have one dtype; use convert",
               [&] { add(o.x, o.h); });
  expect_error(shape, "do not broadcast", [&] { add(o.x, o.w); });
  expect_error(argument, "0.5", [&] { mul(o.n, 0.5); });
  expect_error(dtype, "exp (n: int32[batch]): needs floats", [&] { exp(o.n); });
  expect_error(argument, "lower bound", [&] { clamp(o.x, 2, 1); });
  expect_error(dtype, "condition must be bool", [&] { select(o.x, o.x, o.x); });
}

TEST_CASE("pointwise nodes fit their program") {
  Operands o;
  ScalarProgram p;
  const uint32_t a = p.input(f32);
  p.outputs = {p.add(ScalarOp::exp, a), p.add(ScalarOp::less, a, a)};
  const auto results = pointwise(o.g, p, std::array{o.x});
  CHECK(results[1].dtype() == boolean);
  CHECK(results[0].dims() == o.x.dims());
  expect_error(dtype, "operand 0 is float16, but the program's input is float32",
               [&] { pointwise(o.g, p, std::array{o.h}); });
  expect_error(argument, "1 inputs, but the node has 2 operands", [&] {
    pointwise(o.g, p, std::array{o.x, o.x});
  });
  ScalarProgram bad = p;
  bad.outputs = {9};
  expect_error(argument, "undefined register", [&] { pointwise(o.g, bad, std::array{o.x}); });
  bad.outputs = {};
  expect_error(argument, "no outputs", [&] { pointwise(o.g, bad, std::array{o.x}); });
}

TEST_CASE("reductions") {
  Operands o;
  CHECK(sum(o.x).rank() == 0);
  CHECK(sum(o.x, {-1, 0}).dims() == Dims{4});
  CHECK(max(o.x, {1}, true).dims() == Dims{"batch", 1, 6});
  CHECK(argmax(o.x, 0).dims() == Dims{4, 6});
  CHECK(argmin(o.x, -1, true).dims() == Dims{"batch", 4, 1});
  CHECK(argmax(o.x).dtype() == i64);
  CHECK(cumsum(o.x, -2).dims() == o.x.dims());
  expect_error(argument, "axis 3 is outside rank 3", [&] { sum(o.x, {3}); });
  expect_error(argument, "given twice", [&] { sum(o.x, {2, -1}); });
  expect_error(dtype, "float", [&] { mean(o.n); });
  expect_error(dtype, "bool", [&] { sum(o.c); });
  expect_error(shape, "empty", [&] { argmax(o.g.input("none", f32, {0})); });
  const auto reduce = [&](const char* kind, std::vector<int64_t> axes) {
    o.g.add(o.op("reduce"), std::array{o.x}, {{"kind", std::string(kind)}, {"axes", std::move(axes)}});
  };
  expect_error(argument, "kind is 'median'", [&] { reduce("median", {}); });
  expect_error(argument, "sorted", [&] { reduce("sum", {1, 0}); });
}

TEST_CASE("reshape finds the open size, also with names") {
  Operands o;
  CHECK(reshape(o.x, {"batch", -1}).dims() == Dims{"batch", 24});
  CHECK(reshape(o.x, {-1, 6}).dims() == Dims{Dim("batch") * Dim(4), 6});
  CHECK(reshape(o.x, {-1}).dims() == Dims{Dim("batch") * Dim(24)});
  CHECK(reshape(o.w, std::vector<int64_t>{3, 10}).dims() == Dims{3, 10});
  CHECK(reshape(o.w, o.w.dims()) == o.w);
  CHECK(squeeze(unsqueeze(o.x, -1), 3).dims() == o.x.dims());
  CHECK(unsqueeze(o.x, 0).dims() == Dims{1, "batch", 4, 6});
  expect_error(shape, "no size for -1", [&] { reshape(o.x, {-1, 5}); });
  expect_error(shape, "no size for -1", [&] { reshape(o.x, {-1, 0}); });
  expect_error(shape, "has 30 elements, but [4,7] has 28", [&] { reshape(o.w, {4, 7}); });
  expect_error(argument, "at most one", [&] { reshape(o.w, {-1, -1}); });
  expect_error(shape, "is not 1", [&] { squeeze(o.x, 1); });
}

TEST_CASE("transpose and broadcast") {
  Operands o;
  CHECK(transpose(o.x).dims() == Dims{"batch", 6, 4});
  CHECK(transpose(o.x, {-1, 0, 1}).dims() == Dims{6, "batch", 4});
  CHECK(transpose(o.x, {0, 1, 2}) == o.x);
  expect_error(argument, "every axis", [&] { transpose(o.x, {0, 0, 1}); });
  expect_error(argument, "every axis", [&] { transpose(o.x, {0, 1}); });
  expect_error(shape, "last two axes", [&] { transpose(o.h); });
  CHECK(broadcast(o.h, {"batch", 6}).dims() == Dims{"batch", 6});
  expect_error(shape, "does not broadcast to [6,4]", [&] { broadcast(o.h, {6, 4}); });
  expect_error(shape, "does not broadcast", [&] { broadcast(o.x, {6}); });
}

TEST_CASE("slice and split") {
  Operands o;
  CHECK(slice(o.x, 2, 1, -1).dims() == Dims{"batch", 4, 4});
  CHECK(slice(o.x, 2, -100, 100, 4).dims() == Dims{"batch", 4, 2});
  CHECK(slice(o.x, 0, 1, Dim("batch")).dims() == Dims{Dim("batch") - Dim(1), 4, 6});
  CHECK(slice(o.x, 0, 0, Dim("batch")) == o.x);
  CHECK(slice(o.w, {1, 0}, {4, 5}, {2, 1}).dims() == Dims{2, 5});
  expect_error(argument, "not inside", [&] { slice(o.w, {1, 0}, {7, 5}); });
  expect_error(argument, "must be positive", [&] { slice(o.w, 0, 0, 2, 0); });
  expect_error(shape, "multiple of the step", [&] { slice(o.x, 0, 0, Dim("batch"), 2); });
  CHECK(slice(concat({o.x, o.x}, 0), 0, 0, Dim("batch") * Dim(2), 2).dims()[0] == Dim("batch"));
  CHECK(split(o.x, 3, -1).size() == 3);
  CHECK(split(o.x, {1, 5}, 2)[1].dims() == Dims{"batch", 4, 5});
  CHECK(split(concat({o.x, o.x}, 0), 2, 0)[1].dims() == o.x.dims());
  expect_error(shape, "equal parts", [&] { split(o.x, 4, 2); });
  expect_error(shape, "equal parts", [&] { split(o.x, std::numeric_limits<int64_t>::max(), 2); });
  const int64_t most = std::numeric_limits<int64_t>::max();
  expect_error(shape, "do not add up", [&] { split(o.x, {most, most, 8}, 2); });
  expect_error(shape, "equal parts", [&] { split(o.x, 2, 0); });
  expect_error(shape, "do not add up", [&] { split(o.x, {1, 4}, 2); });
}

TEST_CASE("concat, pad, dynamic windows, iota") {
  Operands o;
  CHECK(concat({o.x, o.x}, -1).dims() == Dims{"batch", 4, 12});
  expect_error(shape, "only the sizes of axis 1 may differ", [&] { concat({o.x, slice(o.x, 2, 0, 3)}, 1); });
  expect_error(dtype, "use convert", [&] { concat({o.h, convert(o.h, f32)}, 0); });
  expect_error(argument, "no values", [&] { concat({}, 0); });
  CHECK(pad(o.x, {1, 0, 0}, {0, 0, 2}).dims() == Dims{Dim("batch") + Dim(1), 4, 8});
  expect_error(argument, "negative", [&] { pad(o.h, {-1}, {0}); });
  expect_error(argument, "one entry", [&] { pad(o.x, {1}, {0}); });
  CHECK(dynamic_slice(o.x, o.start, {"batch", 2, 6}).dims() == Dims{"batch", 2, 6});
  expect_error(shape, "does not fit", [&] { dynamic_slice(o.x, o.start, {"batch", 5, 6}); });
  expect_error(dtype, "must be int64", [&] { dynamic_slice(o.x, convert(o.start, i32), {1, 1, 1}); });
  expect_error(shape, "start is [3]", [&] { dynamic_slice(o.w, o.start, {1, 1}); });
  expect_error(shape, "differ in rank", [&] { dynamic_update_slice(o.x, o.w, o.start); });
  expect_error(dtype, "use convert", [&] { dynamic_update_slice(o.x, convert(o.x, f16), o.start); });
  CHECK(iota(o.g, {"batch", 3}, -1, f32).dtype() == f32);
  expect_error(dtype, "bool", [&] { iota(o.g, {3}, 0, boolean); });
  CHECK(full(o.g, 2, {"batch"}, bf16).dtype() == bf16);
  CHECK(zeros(o.g, {}).rank() == 0);
}

TEST_CASE("gather, scatter, embedding, one_hot") {
  Operands o;
  CHECK(gather(o.x, o.n, 1).dims() == Dims{"batch", "batch", 6});
  CHECK(gather(o.x, unsqueeze(o.n, 1), -1).dims() == Dims{"batch", 4, "batch", 1});
  CHECK(scatter_add(o.x, o.n, gather(o.x, o.n, 1), 1).dims() == o.x.dims());
  expect_error(dtype, "must be an integer", [&] { gather(o.x, o.h); });
  expect_error(dtype, "uint64", [&] { gather(o.x, o.big); });
  expect_error(shape, "updates is [batch,4,6], but must be [batch,batch,6]",
               [&] { scatter_set(o.x, o.n, o.x, 1); });
  expect_error(dtype, "use convert", [&] { scatter_set(o.h, o.n, o.n); });
  expect_error(argument, "mode is 'max'", [&] {
    o.g.add(o.op("scatter"), std::array{o.h, o.n, convert(o.n, f16)}, {{"mode", std::string("max")}});
  });
  CHECK(embedding(o.w, o.n).dims() == Dims{"batch", 5});
  expect_error(shape, "[rows, columns]", [&] { embedding(o.x, o.n); });
  CHECK(one_hot(o.n, 7, bf16).dims() == Dims{"batch", 7});
  CHECK(one_hot(o.n, 7).dtype() == f32);
  expect_error(argument, "depth is -1", [&] { one_hot(o.n, -1); });
}

TEST_CASE("matmul") {
  Operands o;
  CHECK(matmul(o.x, o.w).dims() == Dims{"batch", 4, 5});
  CHECK(matmul(o.w, o.x, true, true).dims() == Dims{"batch", 5, 4});
  CHECK(matmul(unsqueeze(o.x, 1), broadcast(o.w, {3, 6, 5})).dims() == Dims{"batch", 3, 4, 5});
  CHECK(matmul(convert(o.w, i8), convert(o.w, i8), true).dtype() == i32);
  expect_error(shape, "a (transposed) has 4 columns, but b has 6 rows", [&] { matmul(o.x, o.w, true); });
  expect_error(shape, "rank 2", [&] { matmul(convert(o.h, f32), o.w); });
  expect_error(dtype, "use convert", [&] { matmul(convert(o.x, f16), o.w); });
  expect_error(shape, "do not broadcast", [&] {
    matmul(broadcast(o.w, {3, 6, 5}), broadcast(o.w, {2, 6, 5}), true);
  });
  ScalarProgram p;
  const uint32_t product = p.input(f32), other = p.input(f32);
  p.outputs = {p.cast(p.add(ScalarOp::add, product, other), f16)};
  const Value row = slice(o.w, 0, 0, 1), wide = unsqueeze(broadcast(row, {2, 1, 5}), 1);
  CHECK(matmul_pointwise(o.x, o.w, false, false, std::array{row}, p)[0].dtype() == f16);
  expect_error(shape, "which is not the shape of the product",
               [&] { matmul_pointwise(o.w, o.w, true, false, std::array{wide}, p); });
}

TEST_CASE("sort, topk, random bits, dropout") {
  Operands o;
  CHECK(sort(o.x, 1).indices.dtype() == i64);
  CHECK(topk(o.x, 2).values.dims() == Dims{"batch", 4, 2});
  CHECK(topk(o.x, 2, 0).values.dims() == Dims{2, 4, 6});  // checked when batch is bound
  expect_error(argument, "k is 7, but axis 2 has 6", [&] { topk(o.x, 7); });
  CHECK(random_bits(o.word, o.word, {"batch", 2}).dtype() == u32);
  expect_error(argument, "uint64[1]", [&] { random_bits(o.word, o.start, {2}); });
  CHECK(dropout(o.x, 0.1, o.word, o.word).dims() == o.x.dims());
  expect_error(argument, "[0, 1)", [&] { dropout(o.x, 1, o.word, o.word); });
  expect_error(dtype, "float", [&] { dropout(o.n, 0.1, o.word, o.word); });
}

TEST_CASE("evaluate says what is missing or does not fit") {
  Graph g;
  const Value x = g.input("x", f32, {2});
  g.output("y", exp(x));
  expect_error(ErrorCode::not_found, "'x' has no contents", [&] { evaluate(g, {}); });
  expect_error(dtype, "'x' is float32, but got float64", [&] { evaluate(g, {{"x", Tensor(f64, {2})}}); });
  expect_error(shape, "'x' is [2], but got [3]", [&] { evaluate(g, {{"x", Tensor(f32, {3})}}); });
}

}  // namespace
}  // namespace heddle::test
