// What a Graph handle points to.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::ir {

struct GraphData : std::enable_shared_from_this<GraphData> {
  // Deques: references to nodes and values stay good while gradient and decomposition rules add more.
  std::deque<Node> nodes;
  std::deque<ValueInfo> values;
  std::vector<ValueId> inputs;
  std::vector<VariableInfo> variables;
  std::vector<NamedValue> outputs;
  std::vector<Update> updates;

  std::string scope;  // "layer0/": put before the names of new nodes
  struct OpenScope {
    size_t id, begin, length;  // of its prefix in `scope`
  };
  std::vector<OpenScope> open_scopes;  // in the order they began
  size_t scopes_made = 0;
  std::string device;  // pin of new nodes
  std::unordered_set<std::string> node_names;
  std::unordered_map<std::string, uint32_t> next_suffix;  // per scope and op
  std::unordered_map<std::string, ValueId> interface;     // inputs and variables by name
  std::map<std::string, Dim> dim_names;                   // of the inputs, with the ranges all of them allow

  ValueId add_value(ValueInfo info);
  // `wanted` in the scope, or "op_N" when empty; a number is appended until it is unique.
  std::string unique_name(const std::string& wanted, const char* op);
  // Appends a node as it is: the inputs exist, the types are those of its results.
  NodeId add_node(Node node, std::span<const ValueType> results);
};

ValueType type_of(const ValueInfo& info);

// Whether it is one of the dtypes: a DType may be made of any number.
bool is_dtype(DType dtype);

// What people call a node: its op, or its step for a pointwise node of one step ("add").
const char* kind_of(const OpSchema& op, const Attributes& attributes);

// "matmul 'layer0/matmul_1' (float32[batch,784], -)": how messages name a node. Without a name: "matmul
// (...)".
std::string describe_node(const char* kind, const std::string& name,
                          std::span<const ValueType* const> inputs);

// Checks the operand count against the schema and pads missing optional operands at the end. Throws
// invalid_argument.
void check_operands(const OpSchema& op, std::vector<ValueId>& inputs);

// The attributes in the schema's order with defaults filled in, and numbers brought to the schema's kind (an
// int given for a float, ints for dims). Throws invalid_argument for unknown, missing and ill-kinded ones.
Attributes complete_attributes(const OpSchema& op, const Attributes& given);

// Throws what initial_value() would throw, and draws nothing.
void check_initializer(const Initializer& initializer, const std::string& name, DType dtype,
                       const Shape& shape);

// Runs the schema's shape rule; errors are prefixed with describe_node().
std::vector<ValueType> infer_types(const OpSchema& op, const std::string& name,
                                   std::span<const ValueType* const> inputs, const Attributes& attributes);

}  // namespace heddle::ir
