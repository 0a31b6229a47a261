#include "cpu/kernels/layout.h"

#include <memory>
#include <vector>

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

using backend::Arguments;
using backend::Kernel;
using backend::NodeRef;

size_t element_of(const NodeRef& node) { return size_of(dtype_of_value(node.output(0))); }
Threads threads_of(const NodeRef& node, const NodeContext& context) {
  return streaming_threads(node, context);
}

Kernel kernel_of(const char* name, Threads threads, std::function<void(const Arguments&)> run) {
  Kernel kernel;
  kernel.name = name;
  kernel.parallel = threads.count > 1;
  kernel.run = std::move(run);
  return kernel;
}

std::optional<Kernel> prepare_copy(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  Kernel kernel =
      kernel_of("cpu.copy", threads, [bytes = node.output(0).bytes(), threads](const Arguments& a) {
        copy(a.inputs[0], a.outputs[0], bytes, threads);
      });
  kernel.alias = std::string_view(node.op()) == "reshape";
  return kernel;
}

std::optional<Kernel> prepare_transpose(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const StridedCopy moved = transpose(element_of(node), shape_of(node.input(0)), node.ints("order"));
  return kernel_of("cpu.transpose", threads,
                   [moved, threads](const Arguments& a) { moved.run(a.inputs[0], a.outputs[0], threads); });
}

std::optional<Kernel> prepare_broadcast(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const StridedCopy moved = broadcast(element_of(node), shape_of(node.input(0)), shape_of(node.output(0)));
  return kernel_of("cpu.broadcast", threads,
                   [moved, threads](const Arguments& a) { moved.run(a.inputs[0], a.outputs[0], threads); });
}

std::optional<Kernel> prepare_slice(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const auto slice = std::make_shared<const Slice>(element_of(node), shape_of(node.input(0)),
                                                   node.ints("begin"), node.ints("end"), node.ints("step"));
  return kernel_of("cpu.slice", threads,
                   [slice, threads](const Arguments& a) { slice->run(a.inputs[0], a.outputs[0], threads); });
}

std::optional<Kernel> prepare_concat(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  std::vector<Shape> shapes;
  for (uint32_t i = 0; i < node.inputs(); ++i) shapes.push_back(shape_of(node.input(i)));
  const auto concat =
      std::make_shared<const Concat>(element_of(node), shapes, static_cast<int>(node.integer("axis")));
  return kernel_of("cpu.concat", threads,
                   [concat, threads](const Arguments& a) { concat->run(a.inputs, a.outputs[0], threads); });
}

std::optional<Kernel> prepare_pad(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const auto pad = std::make_shared<const Pad>(dtype_of_value(node.output(0)), shape_of(node.input(0)),
                                               node.ints("before"), node.ints("after"), node.real("value"));
  return kernel_of("cpu.pad", threads,
                   [pad, threads](const Arguments& a) { pad->run(a.inputs[0], a.outputs[0], threads); });
}

std::optional<Kernel> prepare_dynamic_slice(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const auto slice = std::make_shared<const DynamicSlice>(element_of(node), shape_of(node.input(0)),
                                                          shape_of(node.output(0)));
  return kernel_of("cpu.dynamic_slice", threads, [slice, threads](const Arguments& a) {
    slice->run(a.inputs[0], a.in<int64_t>(1), a.outputs[0], threads);
  });
}

std::optional<Kernel> prepare_dynamic_update_slice(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  const auto update = std::make_shared<const DynamicUpdateSlice>(element_of(node), shape_of(node.input(0)),
                                                                 shape_of(node.input(1)));
  Kernel kernel = kernel_of("cpu.dynamic_update_slice", threads, [update, threads](const Arguments& a) {
    update->run(a.inputs[0], a.inputs[1], a.in<int64_t>(2), a.outputs[0], threads);
  });
  kernel.in_place = {{0, 0}};  // a cache is not copied to change one row of it
  return kernel;
}

std::optional<Kernel> prepare_iota(const NodeRef& node, const NodeContext& context) {
  const Threads threads = threads_of(node, context);
  return kernel_of("cpu.iota", threads,
                   [dtype = dtype_of_value(node.output(0)), shape = shape_of(node.output(0)),
                    axis = static_cast<int>(node.integer("axis")),
                    threads](const Arguments& a) { iota(dtype, shape, axis, a.outputs[0], threads); });
}

}  // namespace

void add_layout_nodes(PrepareTable& table) {
  table["reshape"] = prepare_copy;
  table["contiguous"] = prepare_copy;
  table["transpose"] = prepare_transpose;
  table["broadcast"] = prepare_broadcast;
  table["slice"] = prepare_slice;
  table["concat"] = prepare_concat;
  table["pad"] = prepare_pad;
  table["dynamic_slice"] = prepare_dynamic_slice;
  table["dynamic_update_slice"] = prepare_dynamic_update_slice;
  table["iota"] = prepare_iota;
}

}  // namespace heddle::cpu
