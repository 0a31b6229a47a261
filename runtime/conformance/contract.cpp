#include "conformance/contract.h"

#include "conformance/execution.h"

namespace heddle::conformance {

void expect(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorCode::internal, what);
}

const std::vector<ContractCase>& contract_cases() {
  static const auto* const all = [] {
    auto* cases = new std::vector<ContractCase>(memory_contract());  // lives for ever
    const std::vector<ContractCase> programs = program_contract();
    cases->insert(cases->end(), programs.begin(), programs.end());
    return cases;
  }();
  return *all;
}

std::optional<Problem> find_probe(const device::OpenDevice& device) {
  for (const Case& c : graph_cases()) {
    if (c.op == "partition") continue;
    Problem problem = c.make();
    if (problem.inputs.empty() || problem.inputs[0].elements() < 5 || problem.graph.outputs().empty())
      continue;
    Partition partition(problem);
    try {
      if (!refusal(device, partition.graph())) return problem;
    } catch (const Error&) {
      continue;  // reported where that case itself runs
    }
  }
  return std::nullopt;
}

Result run_contract_case(const device::DevicePtr& device, const ContractCase& c,
                         const std::optional<Problem>& probe) {
  Result result;
  result.id = c.id;
  result.op = "contract";
  result.exact = true;
  result.outcome = Outcome::passed;
  try {
    if (c.prove != nullptr) {
      c.prove(device);
    } else if (probe) {
      c.prove_with(device, *probe);
    } else {
      throw NotApplicable("the device offers none of the kit's cases");
    }
  } catch (const TooLittleMemory&) {
    throw;
  } catch (const NotApplicable& e) {
    result.outcome = Outcome::unsupported;
    result.reason = e.what();
  } catch (const std::exception& e) {
    result.outcome = Outcome::failed;
    result.reason = e.what();
  } catch (...) {
    result.outcome = Outcome::failed;
    result.reason = "the device threw something that is no std::exception";
  }
  return result;
}

}  // namespace heddle::conformance
