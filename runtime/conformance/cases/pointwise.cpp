// Single steps: every scalar op in every dtype it takes.
#include "conformance/cases/families.h"
#include "conformance/cases/programs.h"

namespace heddle::conformance {
namespace {

using enum ScalarOp;

ScalarProgram step(ScalarOp op, DType dtype, int operands) {
  ScalarProgram p;
  const uint32_t a = p.input(dtype);
  if (operands == 2) {
    const uint32_t b = p.input(dtype);
    p.outputs = {p.add(op, a, b)};
  } else {
    p.outputs = {p.add(op, a)};
  }
  return p;
}

// Numbers for which the op is defined and float16 holds the result.
Fill domain(ScalarOp op) {
  switch (op) {
    case log:
    case sqrt:
    case rsqrt:
    case reciprocal:
      return fill::uniform(0.01, 9);
    case exp:
      return fill::uniform(-9, 9);
    default:
      return fill::uniform(-6, 6);
  }
}
Fill second(ScalarOp op) {
  return op == div || op == mod ? fill::uniform(0.5, 3)
         : op == pow            ? fill::uniform(-2, 2)
                                : fill::uniform(-6, 6);
}

// What is chosen or moved rather than computed has no error at all.
bool is_exact(ScalarOp op) {
  return op == min || op == max || op == neg || op == abs || op == sign || op == floor || op == ceil ||
         op == round || op == relu || (op >= equal && op <= greater_equal) || op == is_nan;
}
bool takes_special(ScalarOp op) {
  switch (op) {
    case add:
    case sub:
    case mul:
    case div:
    case exp:
    case sqrt:
    case tanh:
    case erf:
    case sigmoid:
      return true;
    default:
      return is_exact(op);
  }
}

void add_float_steps(CaseList& list, const ScalarOpInfo& info) {
  const ScalarOp op = info.op;
  for (const DType dtype : compute_floats) {
    const auto id = [&](const char* variant) {
      return std::string(info.name) + "/" + short_name(dtype) + "/" + variant;
    };
    const Shape shape = {5, 127};
    if (info.operands == 1) {
      list.add(program_case(step(op, dtype, 1), {{dtype, shape, domain(op)}}, is_exact(op)), {id("5x127")});
      if (takes_special(op))
        list.add(program_case(step(op, dtype, 1), {{dtype, {3, fill::special_count}, fill::special()}},
                              is_exact(op)),
                 {id("special")});
    } else {
      const Fill first = op == pow ? fill::uniform(0.1, 4) : fill::uniform(-6, 6);
      list.add(
          program_case(step(op, dtype, 2), {{dtype, shape, first}, {dtype, shape, second(op)}}, is_exact(op)),
          {id("5x127")});
      if (takes_special(op)) {
        const Shape all = {fill::special_count, fill::special_count};
        list.add(
            program_case(step(op, dtype, 2),
                         {{dtype, all, fill::special()}, {dtype, all, fill::special(fill::special_count)}},
                         is_exact(op)),
            {id("special")});
      }
    }
  }
}

void add_integer_steps(CaseList& list, const ScalarOpInfo& info) {
  for (const DType dtype : integers) {
    const auto id = [&](const char* variant) {
      return std::string(info.name) + "/" + short_name(dtype) + "/" + variant;
    };
    const Shape shape = {5, 127}, all = {fill::special_count, fill::special_count};
    const bool shift = info.op == shift_left || info.op == shift_right;
    // Shifts by the whole width and more are defined too.
    const Fill fill = shift ? fill::integers(0, 70) : fill::bits();
    std::vector<Operand> random = {{dtype, shape, fill::bits()}}, special = {{dtype, all, fill::special()}};
    if (info.operands == 2) {
      random.push_back({dtype, shape, fill});
      special.push_back({dtype, all, fill::special(fill::special_count)});
    }
    list.add(program_case(step(info.op, dtype, info.operands), random), {id("5x127")});
    list.add(program_case(step(info.op, dtype, info.operands), special), {id("special")});
  }
}

bool takes_floats(ScalarOp op) {
  return (op >= add && op <= mod) || (op >= equal && op <= sigmoid) || (op >= is_nan && op < count_);
}
bool takes_integers(ScalarOp op) {
  return op == add || op == sub || op == mul || op == div || op == min || op == max || op == mod ||
         (op >= bit_and && op <= shift_right) || (op >= equal && op <= greater_equal) || op == neg ||
         op == abs || op == sign || op == square;
}

void add_bool_steps(CaseList& list) {
  for (const ScalarOp op : {logical_and, logical_or, logical_xor, equal, not_equal, logical_not}) {
    const ScalarOpInfo& info = scalar_op_info(op);
    std::vector<Operand> operands(static_cast<size_t>(info.operands),
                                  Operand{boolean, {5, 127}, fill::bits()});
    list.add(program_case(step(op, boolean, info.operands), operands), {info.name, "bool", "5x127"});
  }
}

void add_selects_and_casts(CaseList& list) {
  for (const DType dtype : all_dtypes) {
    if (dtype == f8e4m3 || dtype == f8e5m2) continue;
    ScalarProgram p;
    const uint32_t c = p.input(boolean), a = p.input(dtype), b = p.input(dtype);
    p.outputs = {p.select(c, a, b)};
    list.add(program_case(p,
                          {{boolean, {5, 127}, fill::bits()},
                           {dtype, {5, 127}, fill::bits()},
                           {dtype, {5, 127}, fill::bits()}},
                          true),
             {"select", short_name(dtype), "5x127"});
    for (const DType to : all_dtypes) {
      if (to == dtype) continue;
      ScalarProgram cast;
      const uint32_t x = cast.input(dtype);
      cast.outputs = {cast.cast(x, to)};
      list.add(program_case(
                   cast, {{dtype, {3, 43}, is_float(dtype) ? fill::uniform(-300, 300) : fill::bits()}}, true),
               {"cast", std::string(short_name(dtype)) + "-" + short_name(to), "3x43"});
    }
  }
}

void add_shapes(CaseList& list) {
  for (const DType dtype : compute_floats) {
    for (const Shape& shape :
         {Shape{}, Shape{1}, Shape{13}, Shape{128}, Shape{129}, Shape{127, 129}, Shape{200, 130}, Shape{0, 3},
          Shape{3, 0}, Shape{2, 3, 5, 7}, Shape{1, 1, 1, 1, 1, 1, 1, 3}}) {
      list.add(
          program_case(step(add, dtype, 2),
                       {{dtype, shape, fill::integers(-9, 9)}, {dtype, shape, fill::integers(-9, 9)}}, true),
          {"add", short_name(dtype), short_name(shape), "integers"});
    }
    struct Forms {
      Shape a, b;
    };
    for (const Forms& f :
         {Forms{{}, {129}}, Forms{{127, 129}, {129}}, Forms{{127, 129}, {127, 1}}, Forms{{127, 1}, {1, 129}},
          Forms{{1}, {5, 7}}, Forms{{2, 3, 5, 7}, {3, 1, 7}}, Forms{{2, 1, 5, 1}, {1, 3, 1, 7}},
          Forms{{0, 3}, {3}}, Forms{{1, 3}, {0, 3}}, Forms{{5, 1, 7}, {}}, Forms{{33, 1, 64}, {33, 17, 1}}}) {
      list.add(program_case(step(sub, dtype, 2),
                            {{dtype, f.a, fill::integers(-9, 9)}, {dtype, f.b, fill::integers(-9, 9)}}, true),
               {"sub", short_name(dtype), short_name(f.a) + "_" + short_name(f.b), "integers"});
    }
  }
}

}  // namespace

void add_pointwise_cases(CaseList& list) {
  for (const ScalarOpInfo& info : all_scalar_ops()) {
    if (info.op == constant || info.op == cast || info.op == ScalarOp::select) continue;
    if (takes_floats(info.op)) add_float_steps(list, info);
    if (takes_integers(info.op)) add_integer_steps(list, info);
  }
  add_bool_steps(list);
  add_selects_and_casts(list);
  add_shapes(list);
}

}  // namespace heddle::conformance
