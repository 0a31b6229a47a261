// What stands behind heddle::Variables: each variable's type and where its bytes are now.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/open_device.h"
#include "heddle/graph.h"

namespace heddle::exec {

struct VariableState {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
  uint64_t uid = 0;         // unique in the process, never 0
  uint64_t generation = 1;  // grows when the contents are replaced from outside or by a run
  bool poisoned = false;    // a failed run may have left it half-written
  Tensor host;              // contents while no device holds them
  device::DevicePtr home;   // the device that holds them
  device::Buffer buffer;

  uint64_t bytes() const { return static_cast<uint64_t>(shape.elements()) * size_of(dtype); }
  Tensor read() const;  // throws poisoned
  void write(const Tensor& contents);
  // Moves host contents to `device` when no device holds the variable yet.
  void settle(const device::DevicePtr& device);
};

struct VariableSet {
  uint64_t seed = 0;
  std::map<std::string, std::shared_ptr<VariableState>> variables;

  // The state of a declared variable, made and initialised when new. Throws shape_mismatch / dtype_mismatch.
  std::shared_ptr<VariableState> declare(const VariableInfo& info);
};

}  // namespace heddle::exec
