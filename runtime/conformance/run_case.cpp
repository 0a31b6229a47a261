#include "conformance/run_case.h"

#include <algorithm>
#include <cstring>

#include "conformance/bound.h"
#include "conformance/execution.h"
#include "conformance/reference_run.h"

namespace heddle::conformance {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

// The bound of each output of the graph. Those of more than one node are exact by construction.
std::vector<Bound> bounds(const Problem& problem, const std::vector<Tensor>& values,
                          const std::vector<Tensor>& references) {
  if (problem.exact || problem.graph.node_count() != 1) return std::vector<Bound>(references.size());
  const Node& node = problem.graph.node(0);
  std::vector<Tensor> operands;
  for (const ValueId v : node.inputs) operands.push_back(v == no_value ? Tensor() : values[v]);
  return bounds_of(*node.op, node.attributes, operands, references);
}

void judge(Result& result, const Problem& problem, const std::vector<Tensor>& got) {
  const std::vector<Tensor> values = run_reference(problem.graph, problem.inputs);
  std::vector<Tensor> references;
  for (const NamedValue& o : problem.graph.outputs()) references.push_back(values[o.value]);
  const std::vector<Bound> bound = bounds(problem, values, references);
  result.exact = std::none_of(bound.begin(), bound.end(), [](const Bound& b) { return b.defined(); });
  for (size_t i = 0; i < got.size(); ++i) {
    // Arithmetic may give either zero; moved data keeps its sign.
    const bool by_value = problem.exact;
    const Comparison c = compare(got[i], references[i], bound[i], by_value);
    result.error = std::max(result.error, c.error);
    if (c.wrong == 0) continue;
    result.outcome = Outcome::failed;
    result.reason += (result.reason.empty() ? "" : "; ") + problem.graph.outputs()[i].name + c.first + "; " +
                     std::to_string(c.wrong) + " of " + std::to_string(got[i].elements()) +
                     " elements are wrong";
  }
}

}  // namespace

Result run_case(const device::DevicePtr& device, const Case& c) {
  Result result;
  result.id = c.id;
  result.op = c.op;
  const char* doing = "";
  try {
    const Problem problem = c.make();
    Partition partition(problem.graph);
    if (const auto reason = refusal(*device, partition.graph())) {
      result.outcome = Outcome::unsupported;
      result.reason = *reason;
      return result;
    }
    doing = "offered, but ";
    Execution execution(device, problem);
    result.kernel = execution.kernels();
    result.outcome = Outcome::passed;
    const std::vector<Tensor> got = execution.run(std::byte{0xff});
    judge(result, problem, got);
    // What a kernel leaves in its results, its scratch or itself must not change what it computes next.
    const std::vector<Tensor> again = execution.run(std::byte{0x5a});
    for (size_t i = 0; i < got.size() && result.outcome == Outcome::passed; ++i) {
      if (same_bits(got[i], again[i])) continue;
      result.outcome = Outcome::failed;
      result.reason =
          problem.graph.outputs()[i].name +
          " differs between two launches with the same operands: it depends on what was in the results "
          "or the scratch before, or elements are never written";
    }
  } catch (const std::exception& e) {
    result.outcome = Outcome::failed;
    result.reason = std::string(doing) + e.what();
  }
  return result;
}

}  // namespace heddle::conformance
