#include "kernels/catalogue.h"

#include <unordered_map>
#include <vector>

namespace heddle {
namespace {

std::vector<const OpSchema*> collect() {
  const OpList families[] = {
      attention_ops(), convert_ops(),   gather_ops(),    layout_ops(),    loss_ops(),
      matmul_ops(),    normalize_ops(), optimizer_ops(), pointwise_ops(), random_ops(),
      reduce_ops(),    rope_ops(),      softmax_ops(),   sort_ops(),
  };
  std::vector<const OpSchema*> ops;
  for (const OpList& family : families) ops.insert(ops.end(), family.begin(), family.end());
  return ops;
}

}  // namespace

OpList all_ops() {
  static const auto* const ops = new std::vector<const OpSchema*>(collect());  // lives for ever
  return *ops;
}

const OpSchema* find_op(std::string_view name) {
  static const auto* const by_name = [] {
    auto* map = new std::unordered_map<std::string_view, const OpSchema*>;
    for (const OpSchema* op : all_ops()) map->emplace(op->name, op);
    return map;
  }();
  const auto at = by_name->find(name);
  return at == by_name->end() ? nullptr : at->second;
}

}  // namespace heddle
