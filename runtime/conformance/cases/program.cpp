// Scalar programs of several steps: what fusion makes of chains of pointwise nodes.
#include <cmath>

#include "conformance/cases/families.h"
#include "conformance/cases/programs.h"

namespace heddle::conformance {
namespace {

using enum ScalarOp;

struct Chain {
  const char* name;
  ScalarProgram program;
  std::vector<Operand> operands;
  bool exact;
};

// x * sigmoid(x) * y: the gate of a GLU.
Chain gate(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), y = p.input(dtype);
  p.outputs = {p.add(mul, p.add(silu, x), y)};
  return {"gate", p, {{dtype, shape, fill::uniform(-4, 4)}, {dtype, shape}}, false};
}

// Two results of one pass: the sum, and its square.
Chain two_results(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), y = p.input(dtype);
  const uint32_t sum = p.add(add, x, y);
  p.outputs = {sum, p.add(square, sum)};
  return {"two-results",
          p,
          {{dtype, shape, fill::integers(-5, 5)}, {dtype, {shape.at(-1)}, fill::integers(-5, 5)}},
          true};
}

// Clamped between operands, chosen by a comparison.
Chain choice(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), low = p.input(dtype), high = p.input(dtype);
  const uint32_t clamped = p.add(min, p.add(max, x, low), high);
  p.outputs = {p.select(p.add(less, x, low), p.add(mul, low, p.constant(2, dtype)), clamped),
               p.add(greater_equal, x, high)};
  return {"choice",
          p,
          {{dtype, shape, fill::uniform(-2, 2)},
           {dtype, {}, fill::constant(-1)},
           {dtype, {shape.at(-1)}, fill::uniform(0, 1)}},
          true};
}

// Computed in float32 between casts: rounded where the program says, nowhere else.
Chain mixed(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), scale = p.input(wide(dtype));
  const uint32_t y = p.add(mul, p.add(exp, p.cast(x, wide(dtype))), scale);
  p.outputs = {p.cast(y, dtype), y};
  return {"mixed", p, {{dtype, shape}, {wide(dtype), {shape.at(-1)}, fill::uniform(0.5, 2)}}, false};
}

// A polynomial in Horner's form with constants: the same register read many times.
Chain polynomial(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype);
  uint32_t y = p.constant(0.5, dtype);
  for (const double c : {-0.25, 1.0, 3.0, -2.0, 0.125, 1.5, -1.0})
    y = p.add(add, p.add(mul, y, x), p.constant(c, dtype));
  p.outputs = {y};
  return {"polynomial", p, {{dtype, shape}}, false};
}

// Results that are operands and constants, and one register given out twice.
Chain passed_through(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), y = p.input(dtype);
  const uint32_t seven = p.constant(7, dtype), sum = p.add(add, x, y);
  p.outputs = {y, sum, seven, sum, x};
  return {"passed-through",
          p,
          {{dtype, shape, fill::integers(-5, 5)}, {dtype, {shape.at(-1)}, fill::integers(-5, 5)}},
          true};
}

// Many operands, each broadcast in its own way.
Chain many_operands(DType dtype, const Shape& shape) {
  ScalarProgram p;
  std::vector<uint32_t> x;
  for (int i = 0; i < 9; ++i) x.push_back(p.input(dtype));
  uint32_t y = x[0];
  for (size_t i = 1; i < x.size(); ++i) y = p.add(i % 2 ? add : sub, y, x[i]);
  p.outputs = {y};
  std::vector<Operand> operands;
  for (int i = 0; i < 9; ++i) {
    Shape s = shape;
    for (int axis = 0; axis < s.rank(); ++axis)
      if ((i >> (axis % 3)) & 1) s[axis] = 1;
    if (i == 8) s = Shape{};
    if (i == 0) s = shape;
    operands.push_back({dtype, s, fill::integers(-3, 3)});
  }
  return {"many-operands", p, operands, true};
}

// The derivative of a compound, times the gradient that arrives: what autodiff fuses.
Chain derivative(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t x = p.input(dtype), dy = p.input(dtype);
  p.outputs = {p.add(mul, p.add(gelu_tanh_grad, x), dy), p.add(mul, p.add(gelu_erf_grad, x), dy)};
  return {"derivative", p, {{dtype, shape, fill::uniform(-4, 4)}, {dtype, shape}}, false};
}

// Four results of four moments: an optimizer step written out.
Chain optimizer(DType dtype, const Shape& shape) {
  ScalarProgram p;
  const uint32_t w = p.input(dtype), g = p.input(dtype), m = p.input(dtype), v = p.input(dtype),
                 rate = p.input(dtype);
  const uint32_t b1 = p.constant(0.875, dtype), b2 = p.constant(0.96875, dtype),
                 c1 = p.constant(0.125, dtype), c2 = p.constant(0.03125, dtype);
  const uint32_t m2 = p.add(add, p.add(mul, b1, m), p.add(mul, c1, g));
  const uint32_t v2 = p.add(add, p.add(mul, b2, v), p.add(mul, c2, p.add(square, g)));
  const uint32_t step =
      p.add(div, p.add(mul, rate, m2), p.add(add, p.add(sqrt, v2), p.constant(0.0078125, dtype)));
  p.outputs = {p.add(sub, w, step), m2, v2};
  return {"optimizer",
          p,
          {{dtype, shape},
           {dtype, shape},
           {dtype, shape},
           {dtype, shape, fill::uniform(0.01, 1)},
           {dtype, {}, fill::constant(0.01)}},
          false};
}

void add_integer_programs(CaseList& list) {
  // A hash: wrapping arithmetic and shifts, in every width.
  for (const DType dtype : integers) {
    ScalarProgram p;
    const uint32_t x = p.input(dtype), key = p.input(dtype);
    uint32_t h = p.add(bit_xor, x, key);
    for (const double odd : {73.0, 59.0, 101.0}) {
      h = p.add(mul, h, p.constant(odd, dtype));
      h = p.add(bit_xor, h, p.add(shift_right, h, p.constant(3, dtype)));
    }
    p.outputs = {h, p.add(less, h, x)};
    list.add(program_case(p, {{dtype, {3, 129}, fill::bits()}, {dtype, {129}, fill::bits()}}, true),
             {"hash", short_name(dtype), "3x129"});
  }
  // Floats to masks and back.
  ScalarProgram p;
  const uint32_t x = p.input(f32), allowed = p.input(boolean), index = p.input(i64);
  const uint32_t kept = p.add(logical_and, allowed, p.add(less, p.cast(x, i64), index));
  p.outputs = {kept, p.select(kept, x, p.constant(-INFINITY, f32)), p.cast(kept, i32)};
  list.add(program_case(p,
                        {{f32, {5, 127}, fill::uniform(-50, 50)},
                         {boolean, {127}, fill::bits()},
                         {i64, {5, 1}, fill::integers(-40, 40)}},
                        true),
           {"mask", "f32+bool+i64", "5x127"});
}

}  // namespace

void add_program_cases(CaseList& list) {
  using Make = Chain (*)(DType, const Shape&);
  for (const Make make :
       {gate, two_results, choice, mixed, polynomial, passed_through, many_operands, derivative, optimizer})
    for (const DType dtype : compute_floats)
      for (const Shape& shape : {Shape{1}, Shape{5, 127}, Shape{3, 7, 129}, Shape{0, 5}}) {
        Chain c = make(dtype, shape);
        list.add(program_case(c.program, c.operands, c.exact),
                 {c.name, short_name(dtype), short_name(shape)});
      }
  add_integer_programs(list);
}

}  // namespace heddle::conformance
