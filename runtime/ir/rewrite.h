// Graph transformations: a walk over a graph that builds another one with the same inputs, variables, outputs
// and updates.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::ir {

// The bookkeeping of a walk: which value of the target stands for which value of the source. The target
// starts with the source's inputs and variables; constants follow when they are used. The caller decides,
// node by node and in order, to copy, to replace or to skip, and then calls finish().
class Rewriter {
 public:
  explicit Rewriter(const Graph& source);

  Graph target() const { return target_; }
  // Whether an output or an update needs the node.
  bool is_live(NodeId id) const { return live_[id]; }
  // The value of the target that stands for `source` (no value for no_value). Throws internal when its node
  // has neither been copied nor replaced.
  Value map(ValueId source);
  std::vector<Value> inputs(NodeId id);
  // Adds the node as it is, with its name and pin, and maps its results.
  std::vector<Value> copy(NodeId id);
  // Maps the node's results to `values`; throws internal when one has another type than what it replaces.
  void replace(NodeId id, std::span<const Value> values);
  void set(ValueId source, Value value);
  // Gives the target the source's outputs and updates.
  void finish();

 private:
  Graph source_;
  Graph target_;
  std::vector<bool> live_;
  std::vector<Value> map_;
};

// Sees each live node in order with its operands as values of `target`; returns the values that take the
// place of its results (nodes it adds are named "NODE/..." and inherit the pin), or nullopt to copy the node
// as it is.
using RewriteHook = std::function<std::optional<std::vector<Value>>(
    Graph& target, NodeId id, const Node& node, std::span<const Value> inputs)>;

// The graph with `hook` applied to every node that is needed; nodes that the replacements left without use
// are gone.
Graph rewrite(const Graph& source, const RewriteHook& hook);

// Which nodes the outputs and updates of the graph need.
std::vector<bool> live_nodes(const Graph& graph);

// The same graph without the others.
Graph drop_dead_nodes(const Graph& graph);

}  // namespace heddle::ir
