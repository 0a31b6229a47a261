// Rules that several instructions have in common; each rejects the draft in the words of its rule.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "systolic/isa/builder_impl.h"

namespace heddle::systolic {

inline bool is_comparison(AluOp op) { return op >= AluOp::equal && op <= AluOp::less_equal; }

// Shapes of element-wise operands: as many partitions and free elements as the destination.
inline void same_shape(const Draft& draft, const Tile& out, const Tile& in) {
  if (in.partitions() != out.partitions() || in.free_elements() != out.free_elements())
    draft.reject("operands " + shape_text(out.view()) + " and " + shape_text(in.view()) + " differ in shape");
}

inline void on_engine(const Draft& draft, std::initializer_list<Engine> allowed) {
  if (std::find(allowed.begin(), allowed.end(), draft.instruction.engine) != allowed.end()) return;
  std::string names;
  for (Engine e : allowed) names += (names.empty() ? "" : ", ") + std::string(engine_name(e));
  draft.reject(std::string("does not run on the ") + engine_name(draft.instruction.engine) + " engine; use " +
               names);
}

// A destination of `elements` values per partition of `like`.
inline void column(const Draft& draft, const Tile& out, const Tile& like, int elements) {
  if (out.partitions() != like.partitions() || out.free_elements() != elements)
    draft.reject("destination " + shape_text(out.view()) + " must have " + std::to_string(elements) +
                 " elements in each of " + std::to_string(like.partitions()) + " partitions");
}

// Each partition of the operand is one run of elements.
inline void dense(const Draft& draft, const Tile& tile) {
  int64_t stride = 1;
  for (size_t i = tile.view().rank; i-- > 0;) {
    if (tile.view().size[i] != 1 && tile.view().stride[i] != stride)
      draft.reject("operand " + shape_text(tile.view()) + " must be dense in each partition");
    stride *= tile.view().size[i];
  }
}

}  // namespace heddle::systolic
