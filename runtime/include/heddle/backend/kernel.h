// Offers, kernels and the table of them that a kernel-by-kernel device is made of.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "heddle/backend/partition.h"

namespace heddle::backend {

struct Offer {
  bool accepted = false;
  std::string reason;  // why not
};
inline Offer yes() { return {true, {}}; }
inline Offer no(std::string reason) { return {false, std::move(reason)}; }

// Pointers of one kernel run, by operand position; a missing optional operand is null.
struct Arguments {
  const void* const* inputs;
  void* const* outputs;
  void* scratch;
  template <class T>
  const T* in(uint32_t i) const {
    return static_cast<const T*>(inputs[i]);
  }
  template <class T>
  T* out(uint32_t i) const {
    return static_cast<T*>(outputs[i]);
  }
};

// A prepared kernel for one node: shapes and attributes are baked in. `run` must not allocate.
struct Kernel {
  std::string name;  // "cpu.matmul.onednn"
  std::function<void(const Arguments&)> run;
  uint64_t scratch_bytes = 0;          // given to run, 64-byte aligned
  std::vector<hd_pair> in_place = {};  // (output, input) positions that may be the same memory
  bool alias = false;                  // output 0 is input 0 in another shape: run copies, or is skipped
  bool parallel = false;               // starts threads: programs with one run on the device's executor
};

struct KernelEntry {
  std::function<Offer(const NodeRef&)> offer;
  std::function<Kernel(const NodeRef&)> make;
};
using KernelTable = std::map<std::string, KernelEntry, std::less<>>;

}  // namespace heddle::backend
