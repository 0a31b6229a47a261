#include "kernels/pointwise.h"

#include <algorithm>

#include "heddle/ops/layout.h"
#include "heddle/ops/reduce.h"
#include "ir/scalar_error.h"
#include "kernels/catalogue.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

std::vector<ValueType> infer_pointwise(const InferCall& call) {
  const ScalarProgram& program = body_of(call.attributes);
  validate(program);
  if (program.inputs.size() != call.inputs.size()) {
    refuse_argument("the program has " + std::to_string(program.inputs.size()) +
                    " inputs, but the node has " + std::to_string(call.inputs.size()) + " operands");
  }
  if (program.outputs.empty()) refuse_argument("the program has no outputs");
  Dims dims;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const ValueType& x = operand(call, i);
    if (x.dtype != program.inputs[i]) {
      refuse_dtype("operand " + std::to_string(i) + " is " + dtype_name(x.dtype) +
                   ", but the program's input is " + dtype_name(program.inputs[i]));
    }
    dims = broadcast_dims(dims, x.dims);
  }
  std::vector<ValueType> results;
  for (const uint32_t reg : program.outputs) results.push_back({program.dtype(reg), dims});
  return results;
}

Cost cost_pointwise(const CostCall& call) {
  return streaming_cost(call, program_flops(body_of(call.attributes)) * elements_of(call.outputs[0]));
}

std::vector<Value> gradient_pointwise(const GradientCall& call) {
  return program_gradients(call.graph, body_of(call.node.attributes), call.inputs, call.output_gradients);
}

void reference_pointwise(const ReferenceCall& call) {
  evaluate_program(body_of(call.attributes), call.inputs, call.outputs);
}
void magnitude_pointwise(const ReferenceCall& call) {
  program_error(body_of(call.attributes), call.inputs, call.outputs);
}

// Every operand broadcast to the shape of the results, as slots; f(slots, flat) for every element.
template <class F>
void for_each_element(const ScalarProgram& program, std::span<const Tensor> inputs, const Shape& shape,
                      F&& f) {
  std::vector<std::vector<double>> real(inputs.size());
  std::vector<std::vector<int64_t>> integer(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (is_float(program.inputs[i]))
      real[i] = reference::reals(inputs[i], shape);
    else
      integer[i] = reference::integers(inputs[i].broadcast(shape));
  }
  std::vector<ScalarSlot> in(inputs.size());
  for (int64_t flat = 0; flat < shape.elements(); ++flat) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (is_float(program.inputs[i]))
        in[i].real = real[i][static_cast<size_t>(flat)];
      else
        in[i].integer = integer[i][static_cast<size_t>(flat)];
    }
    f(in.data(), static_cast<size_t>(flat));
  }
}

}  // namespace

const ScalarProgram& body_of(const Attributes& attributes) {
  const auto& program = attributes.get<ScalarProgramPtr>("body");
  if (!program) refuse_argument("attribute 'body' holds no program");
  return *program;
}

std::vector<Value> pointwise(Graph graph, ScalarProgram program, std::span<const Value> inputs,
                             const std::string& name) {
  return graph.add(pointwise_op(), inputs,
                   {{"body", std::make_shared<const ScalarProgram>(std::move(program))}}, name);
}

double program_flops(const ScalarProgram& program) {
  double flops = 0;
  for (const ScalarStep& s : program.steps) flops += scalar_op_info(s.op).flops;
  return flops;
}

void evaluate_program(const ScalarProgram& program, std::span<const Tensor> inputs,
                      std::span<Tensor> outputs) {
  const auto elements = static_cast<size_t>(outputs[0].elements());
  std::vector<std::vector<double>> real(outputs.size());
  std::vector<std::vector<int64_t>> integer(outputs.size());
  for (size_t o = 0; o < outputs.size(); ++o)
    if (is_float(outputs[o].dtype()))
      real[o].resize(elements);
    else
      integer[o].resize(elements);
  // Read from the registers, unrounded: storing rounds to whatever the outputs are.
  ScalarProgram steps = program;
  steps.outputs.clear();
  std::vector<ScalarSlot> registers;
  for_each_element(program, inputs, outputs[0].shape(), [&](const ScalarSlot* in, size_t flat) {
    evaluate(steps, in, nullptr, registers);
    for (size_t o = 0; o < outputs.size(); ++o)
      if (real[o].empty())
        integer[o][flat] = registers[program.outputs[o]].integer;
      else
        real[o][flat] = registers[program.outputs[o]].real;
  });
  for (size_t o = 0; o < outputs.size(); ++o)
    if (is_float(outputs[o].dtype()))
      reference::store(outputs[o], real[o]);
    else
      reference::store(outputs[o], integer[o]);
}

void program_error(const ScalarProgram& program, std::span<const Tensor> inputs, std::span<Tensor> outputs,
                   std::span<const double> first_error) {
  ScalarErrorBound bound(program);
  std::vector<double> error(outputs.size());
  for_each_element(program, inputs, outputs[0].shape(), [&](const ScalarSlot* in, size_t flat) {
    bound(in, first_error.empty() ? 0 : first_error[flat], error.data());
    for (size_t o = 0; o < outputs.size(); ++o) outputs[o].values<double>()[flat] = error[o];
  });
}

Value sum_to(Value gradient, const Dims& dims) {
  if (gradient.dims() == dims) return gradient;
  const std::vector<int64_t> axes = broadcast_axes(dims, gradient.dims());
  const Value summed = axes.empty() ? gradient : sum(gradient, axes, true);
  return summed.dims() == dims ? summed : reshape(summed, dims);
}

std::vector<Value> program_gradients(Graph graph, const ScalarProgram& program, std::span<const Value> inputs,
                                     std::span<const Value> output_gradients) {
  // Only outputs that have a gradient, and only inputs that can have one.
  ScalarProgram forward = program;
  forward.outputs.clear();
  std::vector<Value> operands(inputs.begin(), inputs.end());
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (!output_gradients[i]) continue;
    forward.outputs.push_back(program.outputs[i]);
    operands.push_back(output_gradients[i]);
  }
  std::vector<uint32_t> wrt;
  for (uint32_t i = 0; i < program.inputs.size(); ++i)
    if (is_float(program.inputs[i])) wrt.push_back(i);
  ScalarProgram backward = differentiate(forward, wrt);

  // A gradient that is one of the operands needs no node, one that is zero is none.
  std::vector<Value> gradients(inputs.size());
  std::vector<size_t> computed;
  std::vector<uint32_t> outputs;
  for (size_t i = 0; i < wrt.size(); ++i) {
    const uint32_t reg = backward.outputs[i];
    if (reg < backward.inputs.size()) {
      gradients[wrt[i]] = operands[reg];
      continue;
    }
    const ScalarStep& step = backward.steps[reg - backward.inputs.size()];
    if (step.op == ScalarOp::constant && step.value == 0) continue;
    computed.push_back(wrt[i]);
    outputs.push_back(reg);
  }
  if (!computed.empty()) {
    backward.outputs = outputs;
    backward = simplify(backward);
    std::vector<Value> read;
    for (const uint32_t i : drop_unread_inputs(backward)) read.push_back(operands[i]);
    const std::vector<Value> results = pointwise(graph, std::move(backward), read);
    for (size_t i = 0; i < computed.size(); ++i) gradients[computed[i]] = results[i];
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (gradients[i]) gradients[i] = sum_to(gradients[i], inputs[i].dims());
  return gradients;
}

const OpSchema& pointwise_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "pointwise",
      .family = "pointwise",
      .summary = "y0, y1, ... = body(x0, x1, ...) for every element; operands broadcast to one shape",
      .inputs = {{"x", "operands, of the dtypes of the program's inputs", OperandDoc::Arity::variadic}},
      .outputs = {{"y", "one per output of the program, all of the common shape",
                   OperandDoc::Arity::variadic}},
      .attributes = {{"body", "program", nullptr, "the scalar program; its steps are listed below"}},
      .infer = infer_pointwise,
      .cost = cost_pointwise,
      .gradient = gradient_pointwise,
      .reference = reference_pointwise,
      .accuracy = {.c = 4, .magnitude = magnitude_pointwise},
  };
  return *op;
}

OpList pointwise_ops() {
  static const OpSchema* const ops[] = {&pointwise_op()};
  return ops;
}

}  // namespace heddle
