#include "cpu/kernels/rope.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

std::optional<backend::Kernel> prepare(const backend::NodeRef& node, const NodeContext& context) {
  const backend::ValueRef x = node.input(0);
  if (!is_kernel_float(dtype_of_value(x))) return std::nullopt;
  const bool bshd = node.text("layout") == "bshd";
  RopeRows rows{dtype_of_value(x),   dtype_of_value(node.input(1)), x.dim(0) * x.dim(1) * x.dim(2),
                x.dim(bshd ? 1 : 2), bshd ? x.dim(2) : 1,           x.dim(3)};
  rows.interleaved = node.integer("interleaved") != 0;
  rows.inverse = node.integer("inverse") != 0;
  const Threads threads = streaming_threads(x.elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.rope";
  kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [rows, threads](const backend::Arguments& a) {
    rope(rows, threads, a.inputs[0], a.inputs[1], a.inputs[2], a.outputs[0]);
  };
  return kernel;
}

}  // namespace

void add_rope_nodes(PrepareTable& table) { table["rope"] = prepare; }

}  // namespace heddle::cpu
