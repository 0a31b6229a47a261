#include "cpu/kernels/normalize.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

NormRows rows_of(const backend::ValueRef& x, const backend::ValueRef& scale, double epsilon) {
  const int64_t length = x.dim(-1);
  int64_t rows = 1;
  for (int i = 0; i + 1 < x.rank(); ++i) rows *= x.dim(i);
  return {dtype_of_value(x), dtype_of_value(scale), rows, length, epsilon};
}

// Weights in x's dtype or in float32 (float64 for float64).
bool covered(const backend::ValueRef& x, const backend::ValueRef& scale) {
  const DType dtype = dtype_of_value(x), weights = dtype_of_value(scale);
  return is_kernel_float(dtype) &&
         (weights == dtype || (dtype != DType::float64 && weights == DType::float32));
}

std::optional<backend::Kernel> prepare_forward(const backend::NodeRef& node, const NodeContext& context) {
  if (!covered(node.input(0), node.input(1))) return std::nullopt;
  const bool centred = std::string_view(node.op()) == "layer_norm";
  const NormRows rows = rows_of(node.input(0), node.input(1), node.real("epsilon"));
  const Threads threads = streaming_threads(node.input(0).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = std::string("cpu.") + node.op();
  kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [rows, threads, centred](const backend::Arguments& a) {
    if (centred) {
      layer_norm(rows, threads, a.inputs[0], a.inputs[1], a.inputs[2], a.outputs[0], a.outputs[1],
                 a.outputs[2]);
    } else {
      rms_norm(rows, threads, a.inputs[0], a.inputs[1], a.outputs[0], a.outputs[1]);
    }
  };
  return kernel;
}

std::optional<backend::Kernel> prepare_backward(const backend::NodeRef& node, const NodeContext& context) {
  if (!covered(node.input(1), node.input(2))) return std::nullopt;
  const bool centred = std::string_view(node.op()) == "layer_norm_grad";
  const NormRows rows = rows_of(node.input(1), node.input(2), 0);
  const Threads threads = streaming_threads(node.input(1).elements(), context.threads);
  backend::Kernel kernel;
  kernel.name = std::string("cpu.") + node.op();
  kernel.scratch_bytes = norm_grad_scratch_bytes(rows, threads);
  kernel.in_place = {{0, 0}};
  kernel.parallel = threads.count > 1;
  kernel.run = [rows, threads, centred](const backend::Arguments& a) {
    if (centred) {
      layer_norm_grad(rows, threads, a.inputs[0], a.inputs[1], a.inputs[2], a.inputs[3], a.inputs[4],
                      a.outputs[0], a.outputs[1], a.outputs[2], a.scratch);
    } else {
      rms_norm_grad(rows, threads, a.inputs[0], a.inputs[1], a.inputs[2], a.inputs[3], a.outputs[0],
                    a.outputs[1], a.scratch);
    }
  };
  return kernel;
}

}  // namespace

void add_normalize_nodes(PrepareTable& table) {
  table["layer_norm"] = prepare_forward;
  table["rms_norm"] = prepare_forward;
  table["layer_norm_grad"] = prepare_backward;
  table["rms_norm_grad"] = prepare_backward;
}

}  // namespace heddle::cpu
