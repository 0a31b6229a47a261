#include "cpu/kernels/matmul.h"

#include <memory>
#include <vector>

#include "cpu/kernels/pointwise.h"
#include "cpu/nodes/nodes.h"
#include "ir/abi_codec.h"

namespace heddle::cpu {
namespace {

MatmulShape shape_of_node(const backend::NodeRef& node) {
  return matmul_shape(dtype_of_value(node.input(0)), shape_of(node.input(0)), shape_of(node.input(1)),
                      node.integer("transpose_a") != 0, node.integer("transpose_b") != 0);
}

bool covered(const backend::NodeRef& node) {
  switch (dtype_of_value(node.input(0))) {
    case DType::float64:
    case DType::float32:
    case DType::bfloat16:
    case DType::float16:
    case DType::int8:
      return true;
    default:
      return false;
  }
}

std::optional<backend::Kernel> prepare_matmul(const backend::NodeRef& node, const NodeContext& context) {
  if (!covered(node)) return std::nullopt;
  const auto matmul = std::make_shared<Matmul>(shape_of_node(node), context.threads);
  backend::Kernel kernel;
  kernel.name = matmul->plan().name;
  kernel.scratch_bytes = matmul->plan().scratch_bytes;
  kernel.parallel = matmul->plan().threads.count > 1;
  kernel.run = [matmul](const backend::Arguments& a) {
    matmul->run(a.inputs[0], a.inputs[1], a.outputs[0], a.scratch);
  };
  return kernel;
}

// The product goes to scratch, and the program runs over it.
std::optional<backend::Kernel> prepare_matmul_pointwise(const backend::NodeRef& node,
                                                        const NodeContext& context) {
  const ScalarProgram program = decode_program(*node.program());
  if (!covered(node) || node.input(0).dtype() == HD_DTYPE_INT8 || !pointwise_supported(program))
    return std::nullopt;
  const auto matmul = std::make_shared<Matmul>(shape_of_node(node), context.threads);
  const Shape result = shape_of(node.output(0));
  std::vector<Shape> shapes{result};
  for (uint32_t i = 2; i < node.inputs(); ++i) shapes.push_back(shape_of(node.input(i)));
  const auto plan = std::make_shared<const PointwisePlan>(program, result, shapes);
  const uint64_t product =
      (static_cast<uint64_t>(result.elements()) * size_of(dtype_of_value(node.input(0))) + 63) / 64 * 64;
  const uint64_t matmul_scratch = (matmul->plan().scratch_bytes + 63) / 64 * 64;
  backend::Kernel kernel;
  kernel.name = std::string(matmul->plan().name) + "+pointwise";
  kernel.scratch_bytes = product + std::max(matmul_scratch, plan->scratch_bytes(context.threads));
  kernel.parallel = matmul->plan().threads.count > 1 || plan->parallel(context.threads);
  // Operand pointers of the program; a binding runs one launch at a time, but a program may have several
  // bindings.
  constexpr size_t most_operands = 32;
  if (shapes.size() > most_operands) return std::nullopt;
  kernel.run = [matmul, plan, product, threads = context.threads,
                n = shapes.size()](const backend::Arguments& a) {
    char* scratch = static_cast<char*>(a.scratch);
    matmul->run(a.inputs[0], a.inputs[1], scratch, scratch + product);
    const void* operands[most_operands] = {scratch};
    for (size_t i = 1; i < n; ++i) operands[i] = a.inputs[i + 1];
    plan->run(threads, operands, a.outputs, scratch + product);
  };
  return kernel;
}

}  // namespace

void add_matmul_nodes(PrepareTable& table) {
  table["matmul"] = prepare_matmul;
  table["matmul_pointwise"] = prepare_matmul_pointwise;
}

}  // namespace heddle::cpu
