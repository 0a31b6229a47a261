// Attention and its gradient: which kernel a shape gets. Heads of at most 64 rows share tiles
// (attention_panels.h), longer ones are pipelined (attention_pipeline.h, attention_backward.h).
#include "systolic/kernels/attention_backward.h"
#include "systolic/kernels/attention_panels.h"
#include "systolic/kernels/attention_pipeline.h"

namespace heddle::systolic {
namespace {

void emit_forward(const NodeContext& c) {
  const AttentionShape a = attention_shape(c);
  if (a.pack > 1)
    emit_attention_packed(c, a);
  else
    emit_attention_pipeline(c, a);
}

void emit_backward(const NodeContext& c) {
  const AttentionShape a = attention_shape(c);
  if (a.pack > 1)
    emit_attention_packed_grad(c, a);
  else
    emit_attention_grad(c);
}

backend::Offer offer(const backend::NodeRef& node) {
  for (uint32_t i = 0; i < 3; ++i) {
    if (node.input(i).dim(3) > 128) return backend::no("heads deeper than 128 do not fit the partitions");
    if (node.input(i).dtype() != node.input(0).dtype()) return backend::no("q, k and v of different dtypes");
  }
  const backend::ValueRef mask = node.input(3);
  if (mask && mask.dtype() != HD_DTYPE_BOOL && mask.dtype() != HD_DTYPE_FLOAT32 &&
      mask.dtype() != HD_DTYPE_BFLOAT16)
    return backend::no("masks are bool, float32 or bfloat16");
  const uint32_t d = node.input(0).dtype();
  return d == HD_DTYPE_FLOAT32 || d == HD_DTYPE_BFLOAT16
             ? backend::yes()
             : backend::no("the tensor engine takes float32 and bfloat16");
}

backend::Offer offer_backward(const backend::NodeRef& node) {
  const backend::Offer o = offer(node);
  if (!o.accepted) return o;
  const bool bshd = node.text("layout") == "bshd";
  const int64_t queries = node.input(0).dim(bshd ? 1 : 2),
                group = node.input(0).dim(bshd ? 2 : 1) / node.input(1).dim(bshd ? 2 : 1);
  if (queries * group > 4096)
    return backend::no("more than 4096 query rows per key head do not stay in SBUF");
  return o;
}

constexpr Lowering lowerings[] = {{"attention", offer, emit_forward},
                                  {"attention_grad", offer_backward, emit_backward}};

}  // namespace

std::span<const Lowering> attention_lowerings() { return lowerings; }

}  // namespace heddle::systolic
