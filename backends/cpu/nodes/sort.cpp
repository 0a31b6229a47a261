#include "cpu/kernels/sort.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

backend::Kernel prepare(const char* name, const backend::NodeRef& node, const NodeContext& context,
                        bool descending) {
  const backend::ValueRef x = node.input(0);
  const int axis = static_cast<int>(node.integer("axis"));
  const Sort sort(dtype_of_value(x), shape_of(x), axis, descending, shape_of(node.output(0))[axis]);
  const Threads threads = streaming_threads(x.elements() * 8, context.threads);  // each is read many times
  backend::Kernel kernel;
  kernel.name = name;
  kernel.scratch_bytes = sort.scratch_bytes(threads);
  kernel.parallel = threads.count > 1;
  kernel.run = [=](const backend::Arguments& a) {
    sort.run(a.inputs[0], a.outputs[0], a.out<int64_t>(1), a.scratch, threads);
  };
  return kernel;
}

}  // namespace

void add_sort_nodes(PrepareTable& table) {
  table["sort"] = [](const backend::NodeRef& node, const NodeContext& context) {
    return prepare("cpu.sort", node, context, node.integer("descending") != 0);
  };
  table["topk"] = [](const backend::NodeRef& node, const NodeContext& context) {
    return prepare("cpu.topk", node, context, node.integer("largest", 1) != 0);
  };
}

}  // namespace heddle::cpu
