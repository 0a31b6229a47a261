#include "kernels/dim_value.h"

#include "heddle/ops/layout.h"
#include "heddle/ops/reduce.h"

namespace heddle {

Value dim_value(Graph graph, const Dim& dim) {
  if (dim.is_number()) return graph.constant(Tensor::of<int64_t>({dim.number()}, {}));
  return sum(full(graph, 1, {dim}, i64));
}

}  // namespace heddle
