// The pointwise op: one node that holds a scalar program.
#pragma once

#include <span>
#include <vector>

#include "heddle/schema.h"
#include "ir/scalar_program.h"

namespace heddle {

const OpSchema& pointwise_op();

// Adds a pointwise node: one operand per program input, one result per program output.
std::vector<Value> pointwise(Graph graph, ScalarProgram program, std::span<const Value> inputs,
                             const std::string& name = "");

// The program of a pointwise node (or of any node with an attribute "body").
const ScalarProgram& body_of(const Attributes& attributes);

// `gradient` of a value of dims `to` brought to the dims it was broadcast from: summed over the broadcast
// axes.
Value sum_to(Value gradient, const Dims& dims);

// Shared by pointwise and matmul_pointwise: adds the nodes that compute the gradients of `program` applied to
// `inputs`, one per input (no value where there is none). `output_gradients` may miss some.
std::vector<Value> program_gradients(Graph graph, const ScalarProgram& program, std::span<const Value> inputs,
                                     std::span<const Value> output_gradients);

// Evaluates `program` for every element of the broadcast operands, in double, and rounds once.
void evaluate_program(const ScalarProgram& program, std::span<const Tensor> inputs,
                      std::span<Tensor> outputs);
// The first-order bound of the rounding error of each element, in unit roundoffs of the output's arithmetic
// dtype.
// `first_error`, when given, is the absolute error of input 0, element by element of the common shape; the
// others are exact.
void program_error(const ScalarProgram& program, std::span<const Tensor> inputs, std::span<Tensor> outputs,
                   std::span<const double> first_error = {});

double program_flops(const ScalarProgram& program);

}  // namespace heddle
