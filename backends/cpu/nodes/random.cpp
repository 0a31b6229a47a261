#include "cpu/kernels/random.h"

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

std::optional<backend::Kernel> prepare(const backend::NodeRef& node, const NodeContext& context) {
  const Threads threads = streaming_threads(node, context);
  backend::Kernel kernel;
  kernel.name = "cpu.random_bits";
  kernel.parallel = threads.count > 1;
  kernel.run = [n = node.output(0).elements(), threads](const backend::Arguments& a) {
    random_bits(a.in<uint64_t>(0)[0], a.in<uint64_t>(1)[0], n, a.out<uint32_t>(0), threads);
  };
  return kernel;
}

}  // namespace

void add_random_nodes(PrepareTable& table) { table["random_bits"] = prepare; }

}  // namespace heddle::cpu
