#include "kernels/convert.h"

#include <array>

#include "heddle/ops/convert.h"
#include "kernels/catalogue.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

std::vector<ValueType> infer_convert(const InferCall& call) {
  return {{call.attributes.get<DType>("dtype"), operand(call, 0).dims}};
}

Cost cost_convert(const CostCall& call) { return streaming_cost(call); }

std::vector<Value> gradient_convert(const GradientCall& call) {
  const DType from = call.inputs[0].dtype();
  if (!is_float(from)) return {Value()};
  return {convert(call.output_gradients[0], from)};
}

void reference_convert(const ReferenceCall& call) {
  reference::copy_view(call.outputs[0], call.inputs[0].to(call.outputs[0].dtype()));
}

}  // namespace

Value convert(Value x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return x.graph().add(convert_op(), std::array{x}, {{"dtype", dtype}})[0];
}

const OpSchema& convert_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "convert",
      .family = "convert",
      .summary = "y = x as another dtype",
      .inputs = {{"x", "any dtype"}},
      .outputs =
          {{"y",
            "float to integer truncates toward zero, saturates and takes NaN to 0; to bool is x != 0; to "
            "a float rounds to nearest even; integer to integer keeps the low bits"}},
      .attributes = {{"dtype", "dtype", nullptr, "of the result"}},
      .infer = infer_convert,
      .cost = cost_convert,
      .gradient = gradient_convert,
      .reference = reference_convert,
      .accuracy = {.exact = true},
  };
  return *op;
}

OpList convert_ops() {
  static const OpSchema* const ops[] = {&convert_op()};
  return ops;
}

}  // namespace heddle
