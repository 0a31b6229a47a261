// Which short-lived values lie in PSUM.
//
// A step with two float32 tensors in SBUF costs DVE twice what it costs with one of them in PSUM (ISA26). A
// value that a one-operand step on ACT makes, of at most a bank, and that only the very next step reads, one
// with two tensors, is therefore placed in PSUM. The published psum_write_bytes of adamw are three such tiles
// per block, which is what this rule gives; no other built-in kernel has one.
#pragma once

#include "systolic/replay/nest.h"

namespace heddle::systolic::replay {

void place_in_psum(Nest& nest, int64_t bank_bytes);

}  // namespace heddle::systolic::replay
