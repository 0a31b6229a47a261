#include "systolic/report/activity.h"

#include <algorithm>
#include <utility>

namespace heddle::systolic {
namespace {

using Spans = std::vector<std::pair<int64_t, int64_t>>;

// Adds the union of the spans to the slices they meet.
std::vector<double> shares_of(Spans& spans, int64_t total, int slices) {
  std::vector<double> share(static_cast<size_t>(slices), 0);
  if (total <= 0) return share;
  std::sort(spans.begin(), spans.end());
  const double width = static_cast<double>(total) / slices;
  int64_t reach = 0;
  for (const auto& [start, end] : spans) {
    const int64_t begin = std::max(start, reach);
    reach = std::max(reach, end);
    if (end <= begin) continue;
    const auto first = static_cast<int>(static_cast<double>(begin) / width);
    for (int s = first; s < slices && s * width < static_cast<double>(end); ++s) {
      const double from = std::max(static_cast<double>(begin), s * width);
      const double to = std::min(static_cast<double>(end), (s + 1) * width);
      if (to > from) share[static_cast<size_t>(s)] += (to - from) / width;
    }
  }
  for (double& s : share) s = std::min(s, 1.0);
  return share;
}

}  // namespace

Activity activity(const Stream& stream, const Timing& timing, int slices) {
  std::array<Spans, resource_count> spans;
  for (uint32_t i = 0; i < timing.record.size(); ++i) {
    const Instruction& instruction = stream.instructions[i];
    const Record& r = timing.record[i];
    const int64_t end = is_dma(instruction.opcode) ? r.issued : std::max(r.end, r.issued);
    spans[static_cast<size_t>(instruction.engine)].emplace_back(r.start, end);
  }
  for (const Transfer& t : timing.transfer)
    spans[static_cast<size_t>(Resource::dma)].emplace_back(t.begin, t.end);
  Activity shares;
  for (size_t r = 0; r < resource_count; ++r) shares[r] = shares_of(spans[r], timing.total, slices);
  return shares;
}

}  // namespace heddle::systolic
