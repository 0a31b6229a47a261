// Sizes as values of the graph, where a gradient needs a size that is only a name so far.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// int64 [], equal to `dim` in every run: a constant, or for named sizes the sum of that many ones.
Value dim_value(Graph graph, const Dim& dim);

}  // namespace heddle
