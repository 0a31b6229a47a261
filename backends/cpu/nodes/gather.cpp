#include "cpu/kernels/gather.h"

#include <memory>

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

using backend::Arguments;
using backend::Kernel;
using backend::NodeRef;

std::optional<Kernel> prepare_gather(const NodeRef& node, const NodeContext& context) {
  const Threads threads = streaming_threads(node, context);
  const auto gather = std::make_shared<const Gather>(dtype_of_value(node.input(0)), shape_of(node.input(0)),
                                                     static_cast<int>(node.integer("axis")),
                                                     dtype_of_value(node.input(1)), node.input(1).elements());
  Kernel kernel;
  kernel.name = "cpu.gather";
  kernel.parallel = threads.count > 1;
  kernel.run = [gather, threads](const Arguments& a) {
    gather->run(a.inputs[0], a.inputs[1], a.outputs[0], threads);
  };
  return kernel;
}

std::optional<Kernel> scatter_kernel(const NodeRef& node, const NodeContext& context, ScatterMode mode,
                                     const char* name, uint32_t indices, uint32_t updates, bool onto_zeros) {
  const DType dtype = dtype_of_value(node.output(0));
  if (mode == ScatterMode::add &&
      (dtype == DType::float8_e4m3 || dtype == DType::float8_e5m2 || dtype == DType::boolean))
    return std::nullopt;
  const Threads threads = streaming_threads(node, context);
  const auto scatter = std::make_shared<const Scatter>(
      mode, dtype, shape_of(node.output(0)), static_cast<int>(node.integer("axis")),
      dtype_of_value(node.input(indices)), node.input(indices).elements());
  Kernel kernel;
  kernel.name = name;
  kernel.scratch_bytes = scatter->scratch_bytes();
  if (!onto_zeros) kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [scatter, threads, indices, updates, onto_zeros](const Arguments& a) {
    scatter->run(onto_zeros ? nullptr : a.inputs[0], a.inputs[indices], a.inputs[updates], a.outputs[0],
                 a.scratch, threads);
  };
  return kernel;
}

std::optional<Kernel> prepare_scatter(const NodeRef& node, const NodeContext& context) {
  return scatter_kernel(node, context, node.text("mode") == "add" ? ScatterMode::add : ScatterMode::set,
                        "cpu.scatter", 1, 2, false);
}

std::optional<Kernel> prepare_embedding_grad(const NodeRef& node, const NodeContext& context) {
  return scatter_kernel(node, context, ScatterMode::add, "cpu.embedding_grad", 1, 0, true);
}

}  // namespace

void add_gather_nodes(PrepareTable& table) {
  table["gather"] = prepare_gather;
  table["embedding"] = prepare_gather;
  table["scatter"] = prepare_scatter;
  table["embedding_grad"] = prepare_embedding_grad;
}

}  // namespace heddle::cpu
