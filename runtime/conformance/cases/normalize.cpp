#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

const Shape shapes[] = {{1},       {13},     {1, 1},      {5, 7}, {3, 127},  {128, 128},
                        {129, 64}, {7, 129}, {2, 3, 130}, {0, 5}, {200, 31}, {4, 1031}};

struct Variant {
  std::string name;
  Fill x;
  double epsilon;
};

void add(CaseList& list, DType dtype, DType scale, const Shape& shape, const Variant& v) {
  const Shape width = {shape.at(-1)};
  const Attributes epsilon = {{"epsilon", v.epsilon}};
  const std::string id = std::string(short_name(dtype)) +
                         (scale == dtype ? "" : "+" + std::string(short_name(scale))) + "/" +
                         short_name(shape) + "/" + v.name;
  const Operand x{dtype, shape, v.x}, gain{scale, width, fill::uniform(0.5, 1.5)}, bias{scale, width},
      dy{dtype, shape};
  list.add({.op = "layer_norm", .operands = {x, gain, bias}, .attributes = epsilon}, {id});
  list.add({.op = "rms_norm", .operands = {x, gain}, .attributes = epsilon}, {id});
  // The gradients read the statistics of x as the forward op gives them; the bias does not enter them.
  list.add({.op = "layer_norm_grad",
            .operands = {dy, x, gain, {}, {}},
            .derived = {{3, "layer_norm", epsilon, {1, 2, 2}, 1}, {4, "layer_norm", epsilon, {1, 2, 2}, 2}}},
           {id});
  list.add({.op = "rms_norm_grad",
            .operands = {dy, x, gain, {}},
            .derived = {{3, "rms_norm", epsilon, {1, 2}, 1}}},
           {id});
}

}  // namespace

void add_normalize_cases(CaseList& list) {
  for (const DType dtype : compute_floats) {
    for (const Shape& shape : shapes) add(list, dtype, dtype, shape, {"random", fill::uniform(-2, 2), 1e-5});
    // Far from 0: the mean of squares minus the squared mean would cancel.
    add(list, dtype, dtype, {5, 129}, {"offset", fill::uniform(98, 102), 1e-5});
    add(list, dtype, dtype, {5, 33}, {"constant", fill::constant(3), 1e-3});
    if (size_of(dtype) == 2) add(list, dtype, f32, {7, 129}, {"random", fill::uniform(-2, 2), 1e-5});
  }
}

}  // namespace heddle::conformance
