// Checkpoints against graphs.
#include <algorithm>

#include "heddle/error.h"
#include "heddle/variable.h"

namespace heddle {
namespace {

// "'a', 'b' and 5 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t shown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown); ++i) text += (i ? ", '" : "'") + names[i] + "'";
  return names.size() > shown ? text + " and " + std::to_string(names.size() - shown) + " more" : text;
}

}  // namespace

void expect_variables(const Graph& graph, const std::map<std::string, Tensor>& tensors) {
  std::vector<std::string> missing, unexpected;
  std::string mismatched;
  ErrorCode code = ErrorCode::shape_mismatch;
  std::map<std::string, const VariableInfo*> declared;
  for (const VariableInfo& variable : graph.variables()) declared.emplace(variable.name, &variable);
  for (const auto& [name, variable] : declared) {
    const auto entry = tensors.find(name);
    if (entry == tensors.end() || !entry->second.defined()) {
      missing.push_back(name);
      continue;
    }
    const Tensor& tensor = entry->second;
    if (tensor.dtype() == variable->dtype && tensor.shape() == variable->shape) continue;
    if (tensor.dtype() != variable->dtype) code = ErrorCode::dtype_mismatch;
    mismatched += (mismatched.empty() ? "'" : ", '") + name + "' is " + dtype_name(tensor.dtype()) +
                  to_string(tensor.shape()) + " instead of " + dtype_name(variable->dtype) +
                  to_string(variable->shape);
  }
  for (const auto& [name, tensor] : tensors)
    if (!declared.contains(name)) unexpected.push_back(name);
  if (!missing.empty() || !unexpected.empty()) code = ErrorCode::not_found;
  std::string text;
  const auto say = [&](const char* what, const std::string& names) {
    if (!names.empty()) text += (text.empty() ? "" : "; ") + std::string(what) + names;
  };
  say("missing: ", listed(missing));
  say("unexpected: ", listed(unexpected));
  say("of another type: ", mismatched);
  if (!text.empty()) throw Error(code, "the tensors are not the variables of the graph; " + text);
}

void load_variables(Variables variables, const Graph& graph, const std::map<std::string, Tensor>& tensors) {
  expect_variables(graph, tensors);
  variables.write_all(tensors);
}

}  // namespace heddle
