// Which engine takes which step: one rule for every kernel.
//
//   PE      matmul, transpose
//   ACT     functions; what leaves PSUM through one operand (copies, scaling); SBUF tiles times or plus a
//   constant DVE     everything with two tensors, reductions, scans, reciprocal, memset, values per partition
//   GpSimd  iota and masks
// From the published activities: matmul, transpose_matmul and bmm leave DVE idle, so evictions are ACT's;
// adamw keeps ACT busy 62 % with one function and seven constants per block; add_rmsnorm_matmul's DVE time is
// two two-tensor steps and one scaling by a row's value.
#pragma once

#include "systolic/replay/nest.h"

namespace heddle::systolic::replay {

inline bool is_affine(AluOp op) { return op == AluOp::multiply || op == AluOp::add; }

inline Engine engine_for(const Nest& nest, const Statement& s) {
  if (s.engine >= 0) return static_cast<Engine>(s.engine);
  const bool from_psum =
      !s.in.empty() && nest.tiles[static_cast<size_t>(s.in[0].object)].memory == Memory::psum;
  switch (s.verb) {
    case Verb::multiply:
    case Verb::transpose:
      return Engine::pe;
    case Verb::activation:
    case Verb::activation_reduce:
      return Engine::act;
    case Verb::copy:
      return from_psum ? Engine::act : Engine::dve;
    case Verb::tensor_scalar:
      return is_affine(s.op0) && s.op1 == AluOp::bypass && s.first.operand < 0 ? Engine::act : Engine::dve;
    case Verb::iota:
    case Verb::affine_select:
      return Engine::gpsimd;
    default:
      return Engine::dve;
  }
}

}  // namespace heddle::systolic::replay
