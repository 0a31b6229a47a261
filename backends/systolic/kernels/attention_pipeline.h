// Forward attention of heads that fill tiles of their own.
#pragma once

#include "systolic/kernels/attention_tiles.h"

namespace heddle::systolic {

void emit_attention_pipeline(const NodeContext& c, const AttentionShape& a);

}  // namespace heddle::systolic
