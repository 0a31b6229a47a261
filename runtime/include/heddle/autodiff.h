// Derivatives as graph nodes.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

// d loss / d wrt[i] for every i, as values of the same graph made of the same ops (reverse mode). The loss is
// a float of rank 0; wrt are floats: variables, inputs or results. A value that the loss does not depend on
// has gradient zero, and so has one that it depends on only through integers and comparisons. New nodes are
// named "NODE/grad/..." after the node they belong to, and inherit its pin. Throws shape_mismatch for a loss
// that is not rank 0, dtype_mismatch for a loss or a wrt that is not a float, invalid_argument for values of
// different graphs, and unsupported when the way from the loss to a wrt leads through an op without a
// gradient, naming the node and the reason.
std::vector<Value> gradients(Value loss, std::span<const Value> wrt);
inline std::vector<Value> gradients(Value loss, std::initializer_list<Value> wrt) {
  return gradients(loss, std::span<const Value>(wrt.begin(), wrt.size()));
}

}  // namespace heddle
