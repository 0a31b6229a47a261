#include <algorithm>
#include <map>

#include "conformance/execution.h"
#include "heddle/conformance.h"

namespace heddle::conformance {

std::vector<OfferCount> count_offers(const Device& device, const Selection& selection) {
  if (!device) throw Error(ErrorCode::invalid_argument, "conformance was given a device that is not open");
  list_cases(selection);  // refuses a selection of nothing
  std::vector<OfferCount> counts;
  std::vector<std::map<std::string, size_t>> refusals;  // per op, by reason
  for (const Case& c : graph_cases()) {
    if (!selection.op.empty() && selection.op != c.op) continue;
    if (!selection.id.empty() && selection.id != c.id) continue;
    const auto known =
        std::find_if(counts.begin(), counts.end(), [&](const auto& o) { return o.op == c.op; });
    const auto i = static_cast<size_t>(known - counts.begin());
    if (known == counts.end()) counts.push_back({c.op, 0, 0, ""}), refusals.emplace_back();
    const Problem problem = c.make();
    Partition partition(problem);
    ++counts[i].cases;
    if (const auto reason = refusal(*device.impl(), partition.graph()))
      ++refusals[i][*reason];
    else
      ++counts[i].offered;
  }
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto most = std::max_element(refusals[i].begin(), refusals[i].end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != refusals[i].end()) counts[i].reason = most->first;
  }
  return counts;
}

}  // namespace heddle::conformance
