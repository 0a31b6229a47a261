#include "ir/scalar_program.h"

#include <set>

#include "tests/expect_error.h"
#include "tests/ir/random_program.h"

using namespace heddle;
using namespace heddle::test;

TEST_CASE("every scalar step has one name, by which it is found") {
  std::set<std::string> names;
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    CHECK(names.insert(info.name).second);
    CHECK(find_scalar_op(info.name) == &info);
    CHECK(&scalar_op_info(info.op) == &info);
    CHECK(std::string(info.equation) != "");
  }
  CHECK(names.size() == static_cast<size_t>(ScalarOp::count_));
  CHECK(find_scalar_op("no_such_step") == nullptr);
  expect_error(ErrorCode::invalid_argument, "no scalar step", [] { scalar_op_info(ScalarOp::count_); });
}

TEST_CASE("programs print as text") {
  ScalarProgram p;
  const uint32_t a = p.input(f32), b = p.input(f32);
  const uint32_t product = p.add(ScalarOp::mul, a, b);
  const uint32_t scaled = p.add(ScalarOp::add, product, p.constant(0.5, f32));
  p.outputs = {p.add(ScalarOp::gelu_erf, scaled), p.cast(product, bf16)};
  CHECK(to_string(p) ==
        "(%0: float32, %1: float32) { %2 = mul %0 %1; %3 = constant float32 0.5; %4 = add %2 %3; %5 = "
        "gelu_erf %4; "
        "%6 = cast bfloat16 %2; return %5, %6 }");
  ScalarProgram constants;
  constants.outputs = {constants.constant(-3, i8), constants.constant(1, boolean)};
  constants.steps.push_back({ScalarOp::constant, u64, {0, 0, 0}, 0, -1});
  CHECK(to_string(constants) ==
        "() { %0 = constant int8 -3; %1 = constant bool true; %2 = constant uint64 18446744073709551615; "
        "return %0, %1 }");
}

TEST_CASE("the builder checks dtypes and registers") {
  ScalarProgram p;
  const uint32_t x = p.input(f32), half = p.input(f16), n = p.input(i32), c = p.input(boolean),
                 u = p.input(u8);
  const auto refuses = [&](ErrorCode code, const char* part, const std::function<void()>& f) {
    expect_error(code, part, f);
  };
  refuses(ErrorCode::dtype_mismatch,
          "add: both operands must have one dtype; use convert, but got float32, float16",
          [&] { p.add(ScalarOp::add, x, half); });
  refuses(ErrorCode::dtype_mismatch, "exp: needs floats", [&] { p.add(ScalarOp::exp, n); });
  refuses(ErrorCode::dtype_mismatch, "pow: needs floats", [&] { p.add(ScalarOp::pow, n, n); });
  refuses(ErrorCode::dtype_mismatch, "bit_and: needs integers", [&] { p.add(ScalarOp::bit_and, x, x); });
  refuses(ErrorCode::dtype_mismatch, "logical_not: needs bool", [&] { p.add(ScalarOp::logical_not, n); });
  refuses(ErrorCode::dtype_mismatch, "add: needs numbers", [&] { p.add(ScalarOp::add, c, c); });
  refuses(ErrorCode::dtype_mismatch, "is_nan: needs floats", [&] { p.add(ScalarOp::is_nan, n); });
  refuses(ErrorCode::dtype_mismatch, "select: the condition must be bool", [&] { p.select(n, x, x); });
  refuses(ErrorCode::dtype_mismatch, "select: both branches", [&] { p.select(c, x, half); });
  refuses(ErrorCode::invalid_argument, "reads register %99", [&] { p.add(ScalarOp::exp, 99); });
  refuses(ErrorCode::invalid_argument, "takes 2 operands", [&] { p.add(ScalarOp::add, x); });
  refuses(ErrorCode::invalid_argument, "is no uint8", [&] { p.constant(256, u8); });
  refuses(ErrorCode::invalid_argument, "is no int32", [&] { p.constant(0.5, i32); });
  CHECK(p.steps.empty());  // nothing refused was added
  CHECK(p.dtype(p.add(ScalarOp::less, u, u)) == boolean);
  CHECK(p.dtype(p.add(ScalarOp::is_nan, half)) == boolean);
  CHECK(p.dtype(p.add(ScalarOp::neg, u)) == u8);
  CHECK(p.cast(x, f32) == x);
  CHECK(p.steps.back().op == ScalarOp::neg);                          // no cast to the same dtype
  CHECK(p.steps[p.constant(0.1, f16) - 5].value == 0.0999755859375);  // rounded to the dtype
  refuses(ErrorCode::invalid_argument, "before its steps", [&] { p.input(f32); });
  validate(p);
}

TEST_CASE("validate refuses what the builder would not make") {
  ScalarProgram good;
  const uint32_t x = good.input(f32);
  good.outputs = {good.add(ScalarOp::mul, x, x)};
  validate(good);
  ScalarProgram p = good;
  p.steps[0].operand[1] = 1;  // itself
  expect_error(ErrorCode::invalid_argument, "%1 (mul) reads register %1", [&] { validate(p); });
  p = good;
  p.steps[0].dtype = f16;
  expect_error(ErrorCode::dtype_mismatch, "declared float16, but computes float32", [&] { validate(p); });
  p = good;
  p.steps[0].op = ScalarOp::bit_or;
  expect_error(ErrorCode::dtype_mismatch, "needs integers", [&] { validate(p); });
  p = good;
  p.steps[0].op = static_cast<ScalarOp>(200);
  expect_error(ErrorCode::invalid_argument, "no scalar step 200", [&] { validate(p); });
  p = good;
  p.outputs = {7};
  expect_error(ErrorCode::invalid_argument, "%7", [&] { validate(p); });
  p = good;
  p.inputs[0] = static_cast<DType>(77);
  expect_error(ErrorCode::dtype_mismatch, "no known dtype", [&] { validate(p); });
  p = good;
  p.steps.push_back({ScalarOp::cast, static_cast<DType>(0), {0, 0, 0}, 0, 0});
  expect_error(ErrorCode::dtype_mismatch, "no known dtype", [&] { validate(p); });
}

TEST_CASE("only_step sees one step besides constants") {
  ScalarProgram p;
  const uint32_t x = p.input(f32);
  CHECK(only_step(p) == nullptr);
  const uint32_t two = p.constant(2, f32);
  p.outputs = {p.add(ScalarOp::mul, x, two)};
  REQUIRE(only_step(p) != nullptr);
  CHECK(only_step(p)->op == ScalarOp::mul);
  p.outputs = {p.outputs[0], p.outputs[0]};
  CHECK(only_step(p) == nullptr);
  p.outputs = {p.add(ScalarOp::exp, p.outputs[0])};
  CHECK(only_step(p) == nullptr);
  p.outputs = {x};
  CHECK(only_step(p) == nullptr);
}
