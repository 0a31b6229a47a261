#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "conformance/contract.h"
#include "conformance/run_case.h"
#include "heddle/conformance.h"

namespace heddle::conformance {
namespace {

// The number of characters two texts begin with alike: what "nearest" means for ids.
size_t common_prefix(const std::string& a, const std::string& b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())),
                    b.begin())
          .first -
      a.begin());
}

bool is_selected(const Selection& s, const std::string& op, const std::string& id) {
  return (s.op.empty() || s.op == op) && (s.id.empty() || s.id == id);
}

[[noreturn]] void refuse_selection(const Selection& s) {
  const std::vector<CaseName> all = list_cases();
  if (!s.op.empty() &&
      std::none_of(all.begin(), all.end(), [&](const CaseName& c) { return c.op == s.op; })) {
    std::string names;
    std::set<std::string> listed;
    for (const CaseName& c : all)
      if (listed.insert(c.op).second) names += (names.empty() ? "" : ", ") + c.op;
    throw Error(ErrorCode::not_found, "there are no cases of the op '" + s.op + "'; the ops are: " + names);
  }
  std::vector<CaseName> near = all;
  std::stable_sort(near.begin(), near.end(), [&](const CaseName& a, const CaseName& b) {
    return common_prefix(a.id, s.id) > common_prefix(b.id, s.id);
  });
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(5, near.size()); ++i) names += (i ? ", " : "") + near[i].id;
  throw Error(ErrorCode::not_found, "there is no case '" + s.id + "'" +
                                        (s.op.empty() ? "" : " of the op '" + s.op + "'") +
                                        "; the nearest are: " + names);
}

}  // namespace

std::vector<CaseName> list_cases(const Selection& selection) {
  std::vector<CaseName> names;
  for (const ContractCase& c : contract_cases())
    if (is_selected(selection, "contract", c.id)) names.push_back({c.id, "contract"});
  for (const Case& c : graph_cases())
    if (is_selected(selection, c.op, c.id)) names.push_back({c.id, c.op});
  if (names.empty()) refuse_selection(selection);
  return names;
}

Report run(const Device& device, const Selection& selection) {
  if (!device) throw Error(ErrorCode::invalid_argument, "conformance was given a device that is not open");
  if (!device.computes())
    throw Error(ErrorCode::invalid_argument,
                "device " + device.spec() + " computes no numbers: there is nothing to prove about it");
  const size_t total = list_cases(selection).size();
  Report report;
  report.device = device.spec();
  report.description = device.description();
  const std::string name = device.spec().substr(0, device.spec().find(':'));
  for (const DeviceListing& listing : list_devices())
    if (listing.name == name) report.plugin = listing.library;
  const auto add = [&](Result result) {
    report.results.push_back(std::move(result));
    if (selection.progress) selection.progress(report.results.back(), report.results.size(), total);
  };
  std::optional<Problem> probe;
  bool probed = false;
  for (const ContractCase& c : contract_cases()) {
    if (!is_selected(selection, "contract", c.id)) continue;
    if (c.prove_with != nullptr && !std::exchange(probed, true)) probe = find_probe(*device.impl());
    add(run_contract_case(device.impl(), c, probe));
  }
  for (const Case& c : graph_cases())
    if (is_selected(selection, c.op, c.id)) add(run_case(device.impl(), c));
  return report;
}

}  // namespace heddle::conformance
