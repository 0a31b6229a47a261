// The oracle, over nodes and whole graphs.
#pragma once

#include <span>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::conformance {

// The results of one op by its double-precision reference. Undefined tensors are missing operands.
std::vector<Tensor> run_reference(const OpSchema& op, const Attributes& attributes,
                                  std::span<const Tensor> inputs);

// Every value of a graph without named dims and variables, by value id.
std::vector<Tensor> run_reference(const Graph& graph, std::span<const Tensor> inputs);

}  // namespace heddle::conformance
