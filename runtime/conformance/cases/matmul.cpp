#include <cmath>
#include <tuple>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Sizes {
  int64_t m, k, n;
};

std::string text(const Sizes& s) {
  return "m" + std::to_string(s.m) + "k" + std::to_string(s.k) + "n" + std::to_string(s.n);
}

const Sizes shapes[] = {{1, 1, 1},       {1, 7, 1},    {1, 1, 129},   {129, 1, 1},     {1, 130, 3},
                        {2, 3, 5},       {17, 13, 7},  {64, 64, 64},  {127, 128, 129}, {128, 129, 127},
                        {129, 127, 128}, {4, 1031, 5}, {200, 130, 31}};
const Sizes empty[] = {{0, 3, 5}, {3, 0, 5}, {3, 5, 0}};

// Shapes of a and b, batch in front, the last two exchanged where the operand is transposed.
Shape sides(std::initializer_list<int64_t> batch, int64_t rows, int64_t columns, bool transposed) {
  Shape shape(batch);
  shape.push_back(transposed ? columns : rows);
  shape.push_back(transposed ? rows : columns);
  return shape;
}

NodeCase product(DType dtype, Sizes s, const Fill& fill, bool exact, bool transpose_a = false,
                 bool transpose_b = false, std::initializer_list<int64_t> batch_a = {},
                 std::initializer_list<int64_t> batch_b = {}) {
  return {.op = "matmul",
          .operands = {{dtype, sides(batch_a, s.m, s.k, transpose_a), fill},
                       {dtype, sides(batch_b, s.k, s.n, transpose_b), fill}},
          .attributes = {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}},
          .exact = exact};
}

void add_batched(CaseList& list, DType dtype) {
  struct Batch {
    const char* name;
    std::initializer_list<int64_t> a, b;
  };
  static const Batch batches[] = {
      {"batch3x3", {3}, {3}},   {"batch2x3x2x3", {2, 3}, {2, 3}}, {"batch4xnone", {4}, {}},
      {"batchnonex4", {}, {4}}, {"batch2x1x1x3", {2, 1}, {1, 3}}, {"batch3x2x3", {3}, {2, 3}},
      {"batch0x0", {0}, {0}}};
  for (const Batch& b : batches) {
    list.add(product(dtype, {5, 7, 3}, fill::uniform(-1, 1), false, false, false, b.a, b.b),
             {short_name(dtype), b.name, "m5k7n3"});
    list.add(product(dtype, {33, 17, 29}, fill::integers(-3, 3), true, true, true, b.a, b.b),
             {short_name(dtype), b.name, "m33k17n29", "tt", "integers"});
  }
}

}  // namespace

void add_matmul_cases(CaseList& list) {
  for (const DType dtype : compute_floats) {
    for (const Sizes& s : shapes) {
      list.add(product(dtype, s, fill::uniform(-1, 1), false), {short_name(dtype), text(s)});
      // 1031 products of at most 4: float16 still holds the sum, and bfloat16 rounds it once.
      list.add(product(dtype, s, fill::integers(-2, 2), true), {short_name(dtype), text(s), "integers"});
    }
    for (const Sizes& s : empty)
      list.add(product(dtype, s, fill::uniform(-1, 1), true), {short_name(dtype), text(s)});
    for (const auto& [a, b, name] :
         {std::tuple(true, false, "tn"), std::tuple(false, true, "nt"), std::tuple(true, true, "tt")}) {
      for (const Sizes& s : {Sizes{17, 13, 7}, Sizes{1, 130, 3}, Sizes{127, 128, 129}, Sizes{3, 0, 5}})
        list.add(product(dtype, s, fill::integers(-3, 3), true, a, b),
                 {short_name(dtype), text(s), name, "integers"});
      list.add(product(dtype, {127, 128, 129}, fill::uniform(-1, 1), false, a, b),
               {short_name(dtype), "m127k128n129", name});
    }
    add_batched(list, dtype);
    // A weight known when the device compiles, which it may pack.
    NodeCase constant = product(dtype, {33, 130, 65}, fill::integers(-2, 2), true);
    constant.operands[1].constant = true;
    list.add(std::move(constant), {short_name(dtype), "m33k130n65", "constant"});
    // Cancellation: large terms of both signs leave a small sum, and the bound is relative to the terms.
    list.add(product(dtype, {9, 257, 11}, fill::uniform(-30, 30), false),
             {short_name(dtype), "m9k257n11", "wide"});
    // NaN and infinities reach exactly the rows and columns they touch.
    NodeCase special = product(dtype, {19, 23, 21}, fill::integers(1, 3), true);
    special.operands[0].fill = fill::sprinkled(fill::sprinkled(fill::integers(1, 3), NAN, 97), INFINITY, 41);
    list.add(std::move(special), {short_name(dtype), "m19k23n21", "special"});
  }
  for (const Sizes& s :
       {Sizes{1, 1, 1}, Sizes{17, 13, 7}, Sizes{127, 128, 129}, Sizes{3, 0, 5}, Sizes{4, 1031, 5}})
    list.add(product(i8, s, fill::bits(), true), {"i8", text(s)});
}

}  // namespace heddle::conformance
