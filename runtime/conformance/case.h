// Cases as data: a node with its operands, or a small graph.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <unordered_set>
#include <vector>

#include "conformance/fill.h"
#include "heddle/graph.h"

namespace heddle::conformance {

// "f32", "bf16", "i64", "bool": as in ids.
const char* short_name(DType dtype);
// "128x129", "scalar".
std::string short_name(const Shape& shape);

struct Operand {
  DType dtype = DType::float32;
  Shape shape = {};
  Fill fill = fill::uniform(-1, 1);
  bool constant = false;  // known when the device compiles
  bool missing = false;   // an optional operand left out
};
inline Operand missing() {
  Operand operand;
  operand.missing = true;
  return operand;
}

// An operand that only makes sense together with others: output `output` of `op` applied to the operands
// `from`.
struct Derived {
  size_t operand;
  const char* op;
  Attributes attributes;
  std::vector<size_t> from;
  size_t output;
};

struct NodeCase {
  const char* op;
  std::vector<Operand> operands;
  Attributes attributes = {};
  // The fill makes every intermediate result a number that its dtype holds: all devices agree on every
  // element.
  bool exact = false;
  std::vector<Derived> derived = {};
};

// What runs: a graph without named dims, its inputs and the contents of its variables, in order.
struct Problem {
  Graph graph;
  std::vector<Tensor> inputs = {};
  std::vector<Tensor> variables = {};
  bool exact = false;
  uint64_t generation = 0;  // of the variables' contents, which are frozen unless it is 0
};

struct Case {
  std::string id;
  std::string op;
  std::function<Problem()> make;
};

// Collects cases; ids are the op and the parts, joined by '/'.
class CaseList {
 public:
  // Throws internal when the id is taken.
  void add(NodeCase node, std::initializer_list<std::string> parts);
  void add(const std::string& op, std::initializer_list<std::string> parts, std::function<Problem()> make);
  const std::vector<Case>& cases() const { return cases_; }

 private:
  std::vector<Case> cases_;
  std::unordered_set<std::string> ids_;
};

// Every case of the kit that runs a graph, in a fixed order.
const std::vector<Case>& graph_cases();

}  // namespace heddle::conformance
