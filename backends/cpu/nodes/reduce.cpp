#include "cpu/kernels/reduce.h"

#include <memory>

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

using backend::Arguments;
using backend::Kernel;
using backend::NodeRef;

std::optional<ReduceKind> kind_of(std::string_view kind) {
  if (kind == "sum") return ReduceKind::sum;
  if (kind == "mean") return ReduceKind::mean;
  if (kind == "max") return ReduceKind::max;
  if (kind == "min") return ReduceKind::min;
  if (kind == "prod") return ReduceKind::prod;
  return std::nullopt;
}

bool covered(DType d) { return d != DType::float8_e4m3 && d != DType::float8_e5m2 && d != DType::boolean; }

std::optional<Kernel> prepare_reduce(const NodeRef& node, const NodeContext& context) {
  const auto kind = kind_of(node.text("kind"));
  const DType dtype = dtype_of_value(node.input(0));
  if (!kind || !covered(dtype)) return std::nullopt;
  const Threads threads = streaming_threads(node, context);
  const auto reduce =
      std::make_shared<const Reduce>(*kind, dtype, shape_of(node.input(0)), node.ints("axes"));
  Kernel kernel;
  kernel.name = "cpu.reduce";
  kernel.scratch_bytes = reduce->scratch_bytes(threads);
  kernel.parallel = threads.count > 1;
  kernel.run = [reduce, threads](const Arguments& a) {
    reduce->run(a.inputs[0], a.outputs[0], a.scratch, threads);
  };
  return kernel;
}

std::optional<Kernel> prepare_argmax(const NodeRef& node, const NodeContext& context) {
  const DType dtype = dtype_of_value(node.input(0));
  if (!covered(dtype)) return std::nullopt;
  const Threads threads = streaming_threads(node, context);
  const auto arg =
      std::make_shared<const ArgReduce>(node.text("kind", "max") == "max", dtype, shape_of(node.input(0)),
                                        static_cast<int>(node.integer("axis")));
  Kernel kernel;
  kernel.name = "cpu.argmax";
  kernel.parallel = threads.count > 1;
  kernel.run = [arg, threads](const Arguments& a) { arg->run(a.inputs[0], a.out<int64_t>(0), threads); };
  return kernel;
}

std::optional<Kernel> prepare_cumsum(const NodeRef& node, const NodeContext& context) {
  const DType dtype = dtype_of_value(node.input(0));
  if (!covered(dtype)) return std::nullopt;
  const Threads threads = streaming_threads(node, context);
  const auto sum = std::make_shared<const CumulativeSum>(
      dtype, shape_of(node.input(0)), static_cast<int>(node.integer("axis")), node.integer("exclusive") != 0,
      node.integer("reverse") != 0);
  Kernel kernel;
  kernel.name = "cpu.cumsum";
  kernel.parallel = threads.count > 1;
  kernel.run = [sum, threads](const Arguments& a) { sum->run(a.inputs[0], a.outputs[0], threads); };
  return kernel;
}

}  // namespace

void add_reduce_nodes(PrepareTable& table) {
  table["reduce"] = prepare_reduce;
  table["argmax"] = prepare_argmax;
  table["cumsum"] = prepare_cumsum;
}

}  // namespace heddle::cpu
