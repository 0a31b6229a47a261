#include "cpu/kernels/loss.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

LossRows rows_of(const backend::ValueRef& logits, const backend::ValueRef& targets, int64_t ignore_index) {
  return {dtype_of_value(logits), dtype_of_value(targets), targets.elements(), logits.dim(-1), ignore_index};
}

std::optional<backend::Kernel> prepare_forward(const backend::NodeRef& node, const NodeContext& context) {
  if (!is_kernel_float(dtype_of_value(node.input(0)))) return std::nullopt;
  const LossRows rows = rows_of(node.input(0), node.input(1), node.integer("ignore_index", -100));
  const Threads threads = streaming_threads(node.input(0).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.cross_entropy";
  kernel.parallel = threads.count > 1;
  kernel.run = [rows, threads](const backend::Arguments& a) {
    cross_entropy(rows, threads, a.inputs[0], a.inputs[1], a.outputs[0], a.outputs[1]);
  };
  return kernel;
}

std::optional<backend::Kernel> prepare_backward(const backend::NodeRef& node, const NodeContext& context) {
  if (!is_kernel_float(dtype_of_value(node.input(1)))) return std::nullopt;
  const LossRows rows = rows_of(node.input(1), node.input(2), node.integer("ignore_index", -100));
  const Threads threads = streaming_threads(node.input(1).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = "cpu.cross_entropy_grad";
  kernel.in_place = {{0, 1}};
  kernel.parallel = threads.count > 1;
  kernel.run = [rows, threads](const backend::Arguments& a) {
    cross_entropy_grad(rows, threads, a.inputs[0], a.inputs[1], a.inputs[2], a.inputs[3], a.outputs[0]);
  };
  return kernel;
}

}  // namespace

void add_loss_nodes(PrepareTable& table) {
  table["cross_entropy"] = prepare_forward;
  table["cross_entropy_grad"] = prepare_backward;
}

}  // namespace heddle::cpu
