// Simplification: the same results with fewer nodes, on any device. Applied to concrete graphs before
// lowering.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// Removes what nothing reads, what changes nothing (a reshape to the same shape, a convert to the same dtype)
// and what was computed before (equal op, operands and attributes); merges chains of reshapes and of
// transposes; makes a transposed operand a flag of its matmul; drops broadcasts in front of pointwise nodes,
// which broadcast themselves; turns converts into pointwise casts and one-element constants into constant
// steps, so that they fuse; evaluates small nodes whose operands are constants. Names, pins and results stay.
Graph simplify(const Graph& graph);

}  // namespace heddle
