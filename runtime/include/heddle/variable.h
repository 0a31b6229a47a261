// Variables: state that outlives runs and is shared by sessions (training and evaluation, prefill and
// decode).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "heddle/graph.h"
#include "heddle/tensor.h"

namespace heddle {

namespace exec {
struct VariableSet;
}

// A named set of variables. A handle: copies name the same set. A variable comes into being when a session
// whose graph declares it is first planned (initialised from its Initializer and `seed`) or when it is
// written; its bytes then live on the device that first used it. Threads: not while a session that uses the
// set runs.
class Variables {
 public:
  Variables();  // seed 0
  explicit Variables(uint64_t seed);

  uint64_t seed() const;
  std::vector<std::string> names() const;  // sorted
  bool contains(const std::string& name) const;
  // A copy of the contents. Throws not_found, and poisoned after a run that failed half-way.
  Tensor read(const std::string& name) const;
  // Replaces the contents (and ends poisoning); creates the variable when new. Throws dtype_mismatch /
  // shape_mismatch when it exists with another type.
  void write(const std::string& name, const Tensor& contents);
  std::map<std::string, Tensor> read_all() const;
  // Writes every entry; nothing is written unless all types of names that exist already agree. Any names are
  // taken: load_variables() below holds them to those that a graph declares.
  void write_all(const std::map<std::string, Tensor>& contents);

  exec::VariableSet& impl() const { return *impl_; }

 private:
  std::shared_ptr<exec::VariableSet> impl_;
};

// Throws unless `tensors` are exactly the variables that `graph` declares, in name, dtype and shape: one
// error that lists every missing, unexpected and mismatched name (not_found; dtype_mismatch or shape_mismatch
// when only types differ).
void expect_variables(const Graph& graph, const std::map<std::string, Tensor>& tensors);

// The strict way to load a checkpoint: checks as above, then writes all. Nothing is written when anything
// does not fit. (write_all takes any names: a misspelt one would leave the declared variable at its initial
// value.)
//   load_variables(variables, graph, load_checkpoint("model.safetensors").tensors);
void load_variables(Variables variables, const Graph& graph, const std::map<std::string, Tensor>& tensors);

}  // namespace heddle
