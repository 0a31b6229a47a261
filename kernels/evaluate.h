// The oracle for whole graphs: every node by its reference, on the host.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "heddle/graph.h"
#include "heddle/schema.h"

namespace heddle {

// The results of one op on dense tensors. Throws what the schema's shape rule throws.
std::vector<Tensor> evaluate_op(const OpSchema& op, std::span<const Tensor> inputs,
                                const Attributes& attributes);

// The values named in `wanted`, given the inputs and variables in `known`. Only the nodes they need are run.
// The graph's sizes are numbers. Throws not_found for an input or variable that is needed and not known.
std::vector<Tensor> evaluate_values(const Graph& graph, std::span<const ValueId> wanted,
                                    const std::map<ValueId, Tensor>& known = {});

struct Evaluation {
  std::map<std::string, Tensor> outputs;    // by output name
  std::map<std::string, Tensor> variables;  // after the run, those that are updated
};
// One run of a graph; `given` holds inputs and variables by name. Throws not_found for a missing one,
// dtype_mismatch and shape_mismatch for one that does not fit.
Evaluation evaluate(const Graph& graph, const std::map<std::string, Tensor>& given);

}  // namespace heddle
