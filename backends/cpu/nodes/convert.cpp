#include "cpu/kernels/convert.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

std::optional<backend::Kernel> prepare(const backend::NodeRef& node, const NodeContext& context) {
  const Threads threads = streaming_threads(node, context);
  backend::Kernel kernel;
  kernel.name = "cpu.convert";
  kernel.parallel = threads.count > 1;
  kernel.run = [from = dtype_of_value(node.input(0)), to = dtype_of_value(node.output(0)),
                n = node.output(0).elements(), threads](const backend::Arguments& a) {
    convert(from, to, a.inputs[0], a.outputs[0], n, threads);
  };
  return kernel;
}

}  // namespace

void add_convert_nodes(PrepareTable& table) { table["convert"] = prepare; }

}  // namespace heddle::cpu
