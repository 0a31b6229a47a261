// The element-by-element meaning of the optimizer steps, in double: references and magnitudes of error
// bounds.
#pragma once

#include "heddle/schema.h"

namespace heddle {

// How the operands of an optimizer node stand: `head` scalars, then `count` tensors of each kind in turn.
struct TensorLists {
  size_t head = 0, count = 0;
  size_t parameter(size_t i) const { return head + i; }
  size_t gradient(size_t i) const { return head + count + i; }
  size_t state(size_t kind, size_t i) const { return head + (2 + kind) * count + i; }
};
TensorLists sgd_lists(const Attributes& attributes);
TensorLists adam_lists(const Attributes& attributes);

void reference_sgd(const ReferenceCall& call);
void magnitude_sgd(const ReferenceCall& call);
void reference_adam(const ReferenceCall& call);
void magnitude_adam(const ReferenceCall& call);
void reference_adamw(const ReferenceCall& call);
void magnitude_adamw(const ReferenceCall& call);
void reference_global_norm(const ReferenceCall& call);
void reference_clip_by_global_norm(const ReferenceCall& call);

}  // namespace heddle
