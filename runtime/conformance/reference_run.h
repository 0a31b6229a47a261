// The oracle, over nodes and whole graphs.
#pragma once

#include <span>
#include <vector>

#include "conformance/case.h"
#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle::conformance {

// The results of one op by its double-precision reference. Undefined tensors are missing operands.
std::vector<Tensor> run_reference(const OpSchema& op, const Attributes& attributes,
                                  std::span<const Tensor> inputs);

// The inputs, variables and constants of a problem's graph, by value id; its results are undefined tensors.
std::vector<Tensor> given_values(const Problem& problem);

// Every value of a problem's graph, by value id.
std::vector<Tensor> run_reference(const Problem& problem);

}  // namespace heddle::conformance
