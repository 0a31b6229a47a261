// The oracle as a device: every op of the catalogue, run by its double-precision reference. The smallest
// backend; read it before writing one. Options: composites=off offers core ops and elementary scalar steps
// only.
#include <memory>
#include <string>
#include <vector>

#include "heddle/backend.h"
#include "heddle/schema.h"
#include "ir/scalar_program.h"
#include "kernels/catalogue.h"
#include "kernels/oracle_kernel.h"

namespace heddle::reference {
namespace {

using namespace heddle::backend;

Offer offer(const OpSchema& op, const NodeRef& node, bool composites) {
  if (composites) return yes();
  if (op.is_composite()) return no("composites are switched off (composites=off)");
  if (const hd_graph* body = node.program()) {
    for (uint32_t i = 0; i < body->n_node; ++i) {
      const ScalarOpInfo* step = find_scalar_op(body->node[i]->op);
      if (step == nullptr || step->compound)
        return no("compound scalar steps are switched off (composites=off)");
    }
  }
  return yes();
}

std::vector<DeviceFactory> devices() {
  return {{"reference", [](const Options& options) {
             options.expect({"composites", "memory"});
             const std::string composites = options.get("composites", "on");
             if (composites != "on" && composites != "off")
               throw Failure(HD_ERROR_INVALID_ARGUMENT,
                             "option composites=" + composites + " is neither on nor off");
             KernelTable table;
             for (const OpSchema* op : all_ops()) {
               table[op->name] = {
                   [op, on = composites == "on"](const NodeRef& n) { return offer(*op, n, on); },
                   [op](const NodeRef& n) { return oracle_kernel(*op, n, "reference"); }};
             }
             DeviceFacts facts{.name = "reference",
                               .description = "double-precision reference kernels, one thread"};
             facts.memory_bytes = static_cast<uint64_t>(options.integer("memory", 0, 0, INT64_MAX));
             return std::make_unique<KernelDevice>(std::move(facts), std::move(table));
           }}};
}

}  // namespace
}  // namespace heddle::reference

extern "C" const hd_plugin* heddle_reference_plugin() {
  return heddle::backend::plugin<heddle::reference::devices>("reference", "0.1");
}
