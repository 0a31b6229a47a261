// oneDNN, version 2 or 3, behind functions of our own types; onednn_api.h has what differs between the two.
// Built without oneDNN, every function says that it is missing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cpu/kernels/matmul.h"

namespace heddle::cpu::onednn {

// "2.6.3"; "" when the build has no oneDNN.
std::string version();

// A multiplication compiled by oneDNN for a thread count; memory that it needs while running is the caller's.
class MatmulPrimitive {
 public:
  // Throws unsupported with the reason when oneDNN cannot, or only with its slow reference loops.
  MatmulPrimitive(const MatmulShape& shape, Threads threads);
  ~MatmulPrimitive();

  uint64_t scratch_bytes() const;
  // oneDNN's own name of what runs: "brg:avx512_core_bf16".
  const std::string& implementation() const;
  // One call at a time. Throws device when oneDNN reports a failure.
  void run(const void* a, const void* b, void* y, void* scratch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heddle::cpu::onednn
