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
  // Writes every entry; nothing is written unless all names and types that exist already agree.
  void write_all(const std::map<std::string, Tensor>& contents);

  exec::VariableSet& impl() const { return *impl_; }

 private:
  std::shared_ptr<exec::VariableSet> impl_;
};

}  // namespace heddle
