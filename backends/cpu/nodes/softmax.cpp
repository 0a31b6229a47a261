#include "cpu/kernels/softmax.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

SoftmaxLines lines_of(const backend::NodeRef& node) {
  const backend::ValueRef x = node.input(0);
  const auto axis = static_cast<int>(node.integer("axis"));
  SoftmaxLines lines{dtype_of_value(x), 1, x.dim(axis), 1};
  for (int i = 0; i < axis; ++i) lines.outer *= x.dim(i);
  for (int i = axis + 1; i < x.rank(); ++i) lines.inner *= x.dim(i);
  return lines;
}

std::optional<backend::Kernel> prepare_forward(const backend::NodeRef& node, const NodeContext& context) {
  if (!is_kernel_float(dtype_of_value(node.input(0)))) return std::nullopt;
  const bool logarithm = std::string_view(node.op()) == "log_softmax";
  const SoftmaxLines lines = lines_of(node);
  const Threads threads = streaming_threads(node.input(0).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = std::string("cpu.") + node.op();
  kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [lines, threads, logarithm](const backend::Arguments& a) {
    (logarithm ? log_softmax : softmax)(lines, threads, a.inputs[0], a.outputs[0]);
  };
  return kernel;
}

std::optional<backend::Kernel> prepare_backward(const backend::NodeRef& node, const NodeContext& context) {
  if (!is_kernel_float(dtype_of_value(node.input(0)))) return std::nullopt;
  const SoftmaxLines lines = lines_of(node);
  const Threads threads = streaming_threads(node.input(0).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.softmax_grad";
  kernel.in_place = {{0, 0}, {0, 1}};
  kernel.parallel = threads.count > 1;
  kernel.run = [lines, threads](const backend::Arguments& a) {
    softmax_grad(lines, threads, a.inputs[0], a.inputs[1], a.outputs[0]);
  };
  return kernel;
}

}  // namespace

void add_softmax_nodes(PrepareTable& table) {
  table["softmax"] = prepare_forward;
  table["log_softmax"] = prepare_forward;
  table["softmax_grad"] = prepare_backward;
}

}  // namespace heddle::cpu
