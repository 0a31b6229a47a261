// The CPU as a Heddle device. Options: threads=N.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/executor.h"
#include "cpu/isa.h"
#include "cpu/nodes/nodes.h"
#include "heddle/backend.h"
#include "kernels/catalogue.h"
#include "kernels/oracle_kernel.h"

namespace heddle::cpu {
namespace {

using namespace heddle::backend;

class DeviceExecutor final : public backend::Executor {
 public:
  uint64_t submit(void (*work)(void*), void* argument) override { return executor_.submit(work, argument); }
  void wait(uint64_t tick) override { executor_.wait(tick); }
  bool reached(uint64_t tick) override { return executor_.reached(tick); }

 private:
  cpu::Executor executor_;
};

PrepareTable prepare_table() {
  PrepareTable table;
  add_attention_nodes(table);
  add_convert_nodes(table);
  add_dropout_nodes(table);
  add_gather_nodes(table);
  add_layout_nodes(table);
  add_loss_nodes(table);
  add_matmul_nodes(table);
  add_normalize_nodes(table);
  add_optimizer_nodes(table);
  add_pointwise_nodes(table);
  add_random_nodes(table);
  add_reduce_nodes(table);
  add_rope_nodes(table);
  add_softmax_nodes(table);
  add_sort_nodes(table);
  return table;
}

KernelTable kernel_table(const NodeContext& context) {
  const auto prepare = std::make_shared<const PrepareTable>(prepare_table());
  KernelTable table;
  for (const OpSchema* op : all_ops()) {
    const auto make = [op, prepare, context](const NodeRef& node) {
      if (const auto it = prepare->find(std::string_view(op->name)); it != prepare->end())
        if (std::optional<Kernel> kernel = it->second(node, context)) return *std::move(kernel);
      return oracle_kernel(*op, node, "cpu.oracle");
    };
    table[op->name] = {[](const NodeRef&) { return yes(); }, make};
  }
  return table;
}

std::vector<DeviceFactory> devices() {
  return {
      {"cpu", [](const Options& options) {
         options.expect({"threads", "memory"});
         const Cpu& cpu = this_cpu();
         const NodeContext context{{static_cast<int>(options.integer("threads", cpu.processors, 1, 1024))}};
         DeviceFacts facts{.name = "cpu", .description = describe(cpu, context.threads.count)};
         facts.memory_bytes = static_cast<uint64_t>(options.integer("memory", 0, 0, INT64_MAX));
         // One thread needs no pool: programs run on the launching thread.
         std::unique_ptr<backend::Executor> executor;
         if (context.threads.count > 1) executor = std::make_unique<DeviceExecutor>();
         return std::make_unique<KernelDevice>(std::move(facts), kernel_table(context), std::move(executor));
       }}};
}

}  // namespace
}  // namespace heddle::cpu

extern "C" const hd_plugin* heddle_cpu_plugin() {
  return heddle::backend::plugin<heddle::cpu::devices>("cpu", "0.1");
}
