#include "conformance/cases/families.h"

namespace heddle::conformance {

const std::vector<Case>& graph_cases() {
  static const auto* const list = [] {
    auto* const made = new CaseList;  // lives for ever
    add_convert_cases(*made);
    add_gather_cases(*made);
    add_layout_cases(*made);
    add_window_cases(*made);
    add_random_cases(*made);
    add_matmul_cases(*made);
    add_matmul_pointwise_cases(*made);
    add_pointwise_cases(*made);
    add_program_cases(*made);
    add_reduce_cases(*made);
    add_sort_cases(*made);
    add_softmax_cases(*made);
    add_normalize_cases(*made);
    add_attention_cases(*made);
    add_rope_cases(*made);
    add_loss_cases(*made);
    add_optimizer_cases(*made);
    add_partition_cases(*made);
    return made;
  }();
  return list->cases();
}

}  // namespace heddle::conformance
