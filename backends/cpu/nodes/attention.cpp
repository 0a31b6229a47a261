#include "cpu/kernels/attention.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

// Work below this many multiply-adds is done before a second thread has woken.
constexpr double parallel_flops = 1 << 24;

Attention attention_of(const backend::NodeRef& node) {
  Attention a;
  const backend::ValueRef q = node.input(0), k = node.input(1), v = node.input(2), mask = node.input(3);
  a.dtype = dtype_of_value(q);
  a.layout = node.text("layout") == "bshd" ? Attention::Layout::bshd : Attention::Layout::bhsd;
  a.causal = node.integer("causal") != 0;
  a.scale = node.real("scale");
  const bool bshd = a.layout == Attention::Layout::bshd;
  a.batch = q.dim(0);
  a.heads = q.dim(bshd ? 2 : 1);
  a.kv_heads = k.dim(bshd ? 2 : 1);
  a.queries = q.dim(bshd ? 1 : 2);
  a.keys = k.dim(bshd ? 1 : 2);
  a.depth = q.dim(3);
  a.value_depth = v.dim(3);
  if (mask) {
    a.mask = mask.dtype() == HD_DTYPE_BOOL ? Attention::Mask::boolean : Attention::Mask::added;
    a.mask_strides = attention_mask_strides(a, shape_of(mask));
  }
  return a;
}

bool covered(const backend::NodeRef& node) {
  switch (dtype_of_value(node.input(0))) {
    case DType::float64:
    case DType::float32:
    case DType::bfloat16:
    case DType::float16:
      break;
    default:
      return false;
  }
  return !node.input(3) || node.input(3).dtype() == HD_DTYPE_BOOL ||
         node.input(3).dtype() == node.input(0).dtype();
}

Threads threads_for(const Attention& a, Threads all) {
  const double work = static_cast<double>(a.batch * a.heads * a.queries) *
                      static_cast<double>(a.keys * (a.depth + a.value_depth));
  return work < parallel_flops ? Threads{1} : all;
}

std::optional<backend::Kernel> prepare_forward(const backend::NodeRef& node, const NodeContext& context) {
  if (!covered(node)) return std::nullopt;
  const Attention a = attention_of(node);
  check_attention(a);
  const Threads threads = threads_for(a, context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.attention";
  kernel.scratch_bytes = attention_scratch_bytes(a, threads);
  kernel.parallel = threads.count > 1;
  kernel.run = [a, threads](const backend::Arguments& g) {
    attention(a, threads, g.inputs[0], g.inputs[1], g.inputs[2], g.inputs[3], g.outputs[0], g.outputs[1],
              g.scratch);
  };
  return kernel;
}

std::optional<backend::Kernel> prepare_backward(const backend::NodeRef& node, const NodeContext& context) {
  if (!covered(node)) return std::nullopt;
  const Attention a = attention_of(node);
  check_attention(a);
  const Threads threads = threads_for(a, context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.attention_grad";
  kernel.scratch_bytes = attention_grad_scratch_bytes(a, threads);
  kernel.parallel = threads.count > 1;
  kernel.run = [a, threads](const backend::Arguments& g) {
    const AttentionGradIo io{g.inputs[0], g.inputs[1], g.inputs[2],  g.inputs[3],  g.inputs[4],
                             g.inputs[5], g.inputs[6], g.outputs[0], g.outputs[1], g.outputs[2]};
    attention_grad(a, threads, io, g.scratch);
  };
  return kernel;
}

}  // namespace

void add_attention_nodes(PrepareTable& table) {
  table["attention"] = prepare_forward;
  table["attention_grad"] = prepare_backward;
}

}  // namespace heddle::cpu
