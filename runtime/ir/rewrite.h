// Graph transformations: a walk over a graph that copies it, with a hook that may put other nodes in place of
// any.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::ir {

class Rewriter {
 public:
  // Sees each node that the outputs and updates need, in order, with its operands as values of `destination`.
  // Returns the values of `destination` that take the place of the node's outputs (same types; nodes added to
  // make them are named "NODE/..." and inherit its pin), or nullopt to copy the node as it is.
  using Hook = std::function<std::optional<std::vector<Value>>(
      Graph& destination, NodeId id, const Node& node, std::span<const Value> inputs)>;

  explicit Rewriter(const Graph& source);

  // The rewritten graph: same inputs, variables, outputs, updates, node names and pins; nodes nobody needs
  // are dropped. Throws internal when a replacement has another type than what it replaces. Call once.
  Graph run(const Hook& hook);

  // Inside the hook: what a value of the source is in the destination. Only values of nodes before the
  // current one, inputs, variables and constants.
  Value mapped(ValueId source);

 private:
  void copy_node(const Node& node, std::span<const Value> inputs);

  Graph source_;
  Graph destination_;
  std::vector<Value> map_;
};

// Which nodes the outputs and updates of the graph need.
std::vector<bool> live_nodes(const Graph& graph);

// The same graph without the others.
Graph drop_dead_nodes(const Graph& graph);

}  // namespace heddle::ir
