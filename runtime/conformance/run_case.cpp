#include "conformance/run_case.h"

#include <algorithm>
#include <cstring>

#include "conformance/bound.h"
#include "conformance/execution.h"
#include "conformance/memory.h"
#include "conformance/reference_run.h"
#include "ir/graph_data.h"

namespace heddle::conformance {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

void add(Result& result, const std::string& output, const Tensor& got, const Comparison& c) {
  result.error = std::max(result.error, c.error);
  if (c.wrong == 0) return;
  result.outcome = Outcome::failed;
  result.reason += (result.reason.empty() ? "" : "; ") + output + c.first + "; " + std::to_string(c.wrong) +
                   " of " + std::to_string(got.elements()) + " elements are wrong";
}

// Bit for bit, or where the fill makes arithmetic exact, by value: it may give either zero.
void judge_exactly(Result& result, const Problem& problem, const std::vector<Tensor>& got) {
  result.exact = true;
  const std::vector<Tensor> values = run_reference(problem);
  for (size_t i = 0; i < got.size(); ++i) {
    const NamedValue& output = problem.graph.outputs()[i];
    add(result, output.name, got[i], compare_exactly(got[i], values[output.value], problem.exact));
  }
}

// A node whose results are the graph's outputs.
void judge_within_bounds(Result& result, const Problem& problem, const std::vector<Tensor>& got) {
  const Node& node = problem.graph.node(0);
  const std::vector<Tensor> values = given_values(problem);
  std::vector<Tensor> operands;
  for (const ValueId v : node.inputs) operands.push_back(v == no_value ? Tensor() : values[v]);
  std::vector<ValueType> types;
  for (const ValueId v : node.outputs) types.push_back(ir::type_of(problem.graph.info(v)));
  const std::vector<Tensor> unrounded = unrounded_reference(*node.op, node.attributes, operands, types);
  const std::vector<Bound> bounds = bounds_of(*node.op, node.attributes, operands, types, unrounded);
  for (size_t i = 0; i < got.size(); ++i) {
    const std::string& name = problem.graph.outputs()[i].name;
    add(result, name, got[i],
        bounds[i].defined() ? compare_within(got[i], unrounded[i], bounds[i])
                            : compare_exactly(got[i], unrounded[i], false));
  }
}

// Several nodes are exact by construction: bounds do not add up along a graph.
void judge(Result& result, const Problem& problem, const std::vector<Tensor>& got) {
  const Graph& graph = problem.graph;
  if (problem.exact || graph.node_count() != 1 || graph.node(0).op->accuracy.exact)
    judge_exactly(result, problem, got);
  else
    judge_within_bounds(result, problem, got);
}

}  // namespace

Result run_case(const device::DevicePtr& device, const Case& c) {
  Result result;
  result.id = c.id;
  result.op = c.op;
  const char* doing = "";
  try {
    const Problem problem = c.make();
    Partition partition(problem);
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
  } catch (const TooLittleMemory&) {
    throw;
  } catch (const std::exception& e) {
    result.outcome = Outcome::failed;
    result.reason = std::string(doing) + e.what();
  } catch (...) {
    result.outcome = Outcome::failed;
    result.reason = "the device threw something that is no std::exception";
  }
  return result;
}

}  // namespace heddle::conformance
