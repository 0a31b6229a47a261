#include "cpu/kernels/pointwise.h"

#include <memory>
#include <vector>

#include "cpu/nodes/nodes.h"
#include "ir/abi_codec.h"

namespace heddle::cpu {
namespace {

std::optional<backend::Kernel> prepare(const backend::NodeRef& node, const NodeContext& context) {
  const ScalarProgram program = decode_program(*node.program());
  if (!pointwise_supported(program)) return std::nullopt;
  std::vector<Shape> shapes;
  for (uint32_t i = 0; i < node.inputs(); ++i) shapes.push_back(shape_of(node.input(i)));
  const auto plan = std::make_shared<const PointwisePlan>(program, shape_of(node.output(0)), shapes);
  backend::Kernel kernel;
  kernel.name = "cpu.pointwise";
  kernel.scratch_bytes = plan->scratch_bytes(context.threads);
  for (const auto& [output, input] : plan->in_place()) kernel.in_place.push_back({output, input});
  kernel.parallel = plan->parallel(context.threads);
  kernel.run = [plan, threads = context.threads](const backend::Arguments& a) {
    plan->run(threads, a.inputs, a.outputs, a.scratch);
  };
  return kernel;
}

}  // namespace

void add_pointwise_nodes(PrepareTable& table) { table["pointwise"] = prepare; }

}  // namespace heddle::cpu
