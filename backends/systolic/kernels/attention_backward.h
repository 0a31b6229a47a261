#pragma once

#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// attention_grad: probabilities are computed again from lse; five products per pair of tiles.
void emit_attention_grad(const NodeContext& c);

}  // namespace heddle::systolic
