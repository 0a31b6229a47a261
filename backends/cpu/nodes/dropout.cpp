#include "cpu/kernels/dropout.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

std::optional<backend::Kernel> prepare(const backend::NodeRef& node, const NodeContext& context) {
  const backend::ValueRef x = node.input(0);
  const DType dtype = dtype_of_value(x);
  if (!is_kernel_float(dtype)) return std::nullopt;
  const int64_t elements = x.elements();
  const double rate = node.real("rate");
  const Threads threads = streaming_threads(elements, context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.dropout";
  kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [=](const backend::Arguments& a) {
    dropout(dtype, elements, rate, threads, a.inputs[0], a.in<uint64_t>(1), a.in<uint64_t>(2), a.outputs[0]);
  };
  return kernel;
}

}  // namespace

void add_dropout_nodes(PrepareTable& table) { table["dropout"] = prepare; }

}  // namespace heddle::cpu
