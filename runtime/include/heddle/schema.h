// Op schemas: what an op is. kernels/<family>.cpp defines one constant OpSchema per op; users may define
// their own and pass it to Graph::add. A schema is immutable and lives for ever.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

struct ValueType {
  DType dtype = DType::float32;
  Dims dims;
  bool operator==(const ValueType&) const = default;
};

// "float32[batch,784]"
std::string to_string(const ValueType& type);

struct OperandDoc {
  enum class Arity : uint8_t {
    one,
    optional,
    variadic
  };  // variadic: zero or more, only last or counted by `count`
  const char* name;
  const char* doc;
  Arity arity = Arity::one;
};

struct AttributeDoc {
  const char* name;
  const char* kind;      // "int", "float", "string", "ints", "floats", "dims", "dtype", "bool", "program"
  const char* fallback;  // default as text, or nullptr when required
  const char* doc;
};

// What shape rules see. A missing optional operand is null.
struct InferCall {
  std::span<const ValueType* const> inputs;
  const Attributes& attributes;
};

// What a gradient rule sees. It adds nodes to `graph` and returns one gradient per input; no value where
// there is none (integers, masks). Output gradients may be missing when nothing depends on that output, never
// all of them.
struct GradientCall {
  Graph graph;
  const Node& node;
  std::span<const Value> inputs;
  std::span<const Value> outputs;
  std::span<const Value> output_gradients;
};

// What a decomposition sees: the node, and its operands as values of `graph`, to which it adds core ops (or
// smaller composites). Returns one value per output.
struct DecomposeCall {
  Graph graph;
  const Node& node;
  std::span<const Value> inputs;
};

// What the oracle sees: dense host tensors; outputs are allocated with the inferred types. Missing operands
// are undefined tensors. The oracle computes in double and rounds once, at the end. For ops that are not
// exact, a float output may also be allocated as float64, whatever its type: then it is the unrounded result.
struct ReferenceCall {
  const Attributes& attributes;
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
};

// Work of one node with concrete shapes: floating-point operations, and bytes that must cross memory at least
// once (each operand and result once, unless the rule knows better).
struct Cost {
  double flops = 0;
  double bytes = 0;
};
struct CostCall {
  std::span<const ValueType* const> inputs;
  std::span<const ValueType> outputs;
  const Attributes& attributes;
};

// How far a device may be from the unrounded oracle, element by element:
//   |got - ref| <= c * u_acc * sqrt(K) * magnitude + u_out * |ref|
// u_acc is float32's unit roundoff (float64's for float64), u_out the output dtype's. Against an oracle that
// is rounded to the output dtype, u_out counts twice: a difference too small to see may round the two to
// different sides.
struct Accuracy {
  bool exact = false;  // bit for bit (data movement, integers)
  double c = 4;
  // Length of the longest sum behind an output element; null: 1.
  double (*depth)(const CostCall&) = nullptr;
  // Fills `outputs` (float64, same shapes) with the magnitude, such as |A||B| for matmul; null: |ref|.
  void (*magnitude)(const ReferenceCall&) = nullptr;
};

struct OpSchema {
  const char* name;     // "softmax"
  const char* family;   // file and section: "softmax"
  const char* summary;  // one line with the equation
  std::vector<OperandDoc> inputs = {};
  std::vector<OperandDoc> outputs = {};
  std::vector<AttributeDoc> attributes = {};
  // The types of the results; throws Error with what is wrong (Graph::add names the node and the operands).
  std::vector<ValueType> (*infer)(const InferCall&) = nullptr;
  Cost (*cost)(const CostCall&) = nullptr;
  // Null: not differentiable; `no_gradient` says why ("the result is an integer").
  std::vector<Value> (*gradient)(const GradientCall&) = nullptr;
  const char* no_gradient = "";
  // Null for core ops.
  std::vector<Value> (*decompose)(const DecomposeCall&) = nullptr;
  void (*reference)(const ReferenceCall&) = nullptr;
  Accuracy accuracy = {};

  bool is_composite() const { return decompose != nullptr; }
};

}  // namespace heddle
