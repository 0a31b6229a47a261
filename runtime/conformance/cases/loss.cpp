#include <cmath>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

// What the targets are: classes, classes of which some are ignored, or also numbers that are neither (NaN).
struct Targets {
  const char* name;
  Fill fill;
  int64_t ignore;
};

void add(CaseList& list, DType dtype, const Shape& logits, DType index, const Targets& t, const Fill& fill,
         const char* fill_name) {
  Shape positions;
  for (int i = 0; i + 1 < logits.rank(); ++i) positions.push_back(logits[i]);
  const Attributes ignore = {{"ignore_index", t.ignore}};
  const Operand x{dtype, logits, fill}, targets{index, positions, t.fill}, gradient{wide(dtype), positions};
  const std::string id = std::string(short_name(dtype)) + "/" + short_name(logits) + "/" + short_name(index) +
                         "/" + t.name + "/" + fill_name;
  list.add({.op = "cross_entropy", .operands = {x, targets}, .attributes = ignore}, {id});
  list.add({.op = "cross_entropy_grad",
            .operands = {gradient, x, targets, {}},
            .attributes = ignore,
            .derived = {{3, "cross_entropy", ignore, {1, 2}, 1}}},
           {id});
}

}  // namespace

void add_loss_cases(CaseList& list) {
  const Shape shapes[] = {{1},        {13},       {1, 1}, {7, 2},    {3, 127},
                          {128, 129}, {2, 5, 65}, {0, 5}, {200, 31}, {3, 1031}};
  for (const DType dtype : compute_floats) {
    for (const Shape& s : shapes) {
      const int64_t classes = s.at(-1);
      const Targets all{"classes", fill::integers(0, classes - 1), -100};
      const Targets some{"ignored", fill::sprinkled(fill::integers(0, classes - 1), -100, 3), -100};
      for (const DType index : {i64, i32}) add(list, dtype, s, index, all, fill::uniform(-3, 3), "random");
      add(list, dtype, s, i32, some, fill::uniform(-3, 3), "random");
    }
    add(list, dtype, {7, 33}, i32, {"ignored2", fill::integers(0, 4), 2}, fill::uniform(-3, 3), "random");
    add(list, dtype, {9, 33}, i32, {"all-ignored", fill::constant(-100), -100}, fill::uniform(-3, 3),
        "random");
    add(list, dtype, {9, 33}, i32, {"outside", fill::values({0, 33, 32, -1, 5, -100, 1000}), -100},
        fill::uniform(-3, 3), "random");
    add(list, dtype, {9, 33}, i32, {"classes", fill::integers(0, 32), -100}, fill::uniform(900, 1000),
        "large");
    // Classes that cannot be: minus infinity everywhere but at the targets.
    add(list, dtype, {9, 14}, i32, {"class0", fill::constant(0), -100},
        fill::sprinkled(fill::uniform(-2, 2), -INFINITY, 14), "hidden");
    // A gradient that is NaN (a mean over no positions) does not reach the positions that are ignored.
    const Attributes ignore = {{"ignore_index", int64_t{-100}}};
    list.add({.op = "cross_entropy_grad",
              .operands = {{wide(dtype), {9}, fill::values({NAN, 0.5, 0.25})},
                           {dtype, {9, 33}, fill::uniform(-3, 3)},
                           {i32, {9}, fill::values({-100, 3, 5})},
                           {}},
              .attributes = ignore,
              .derived = {{3, "cross_entropy", ignore, {1, 2}, 1}}},
             {short_name(dtype), "9x33", "i32", "ignored-nan"});
  }
}

}  // namespace heddle::conformance
