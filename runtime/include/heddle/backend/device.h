// The base of a backend: facts, memory, programs, bindings.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heddle/backend/kernel.h"
#include "heddle/backend/options.h"

namespace heddle::backend {

inline constexpr uint64_t all_dtype_bits = 0xfffe;

struct DeviceFacts {
  std::string name;
  std::string description = {};  // one line for people; required: heddle conform refuses an empty one
  uint64_t memory_bytes = 0;
  uint64_t alignment = 64;
  uint64_t dtypes = all_dtype_bits;
  hd_clock clock = HD_CLOCK_WALL;
  bool host_memory = true;  // device memory is host memory: spans may be host addresses
  bool computes = true;     // false: launches model time and write nothing (HD_INFO_TIMING_ALONE)
};

struct ProgramFacts {
  uint64_t scratch_bytes = 0;
  uint64_t scratch_align = 64;
  uint64_t scratch_lower_bound = 0;
  std::vector<hd_pair> in_place = {};
  std::vector<std::string> kernels = {};  // per node
  bool inline_launch = true;
};

class Program {
 public:
  virtual ~Program() = default;
  ProgramFacts facts;
};

class Binding {
 public:
  virtual ~Binding() = default;
  virtual void rebind(uint32_t value, void* address) = 0;
};

// A device whose memory is host memory. Derive, override what differs, hand instances to Plugin. `launch` is
// synchronous here; KernelDevice with an Executor is not.
class Device {
 public:
  explicit Device(DeviceFacts facts) : facts_(std::move(facts)) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;
  const DeviceFacts& facts() const { return facts_; }

  virtual Offer offer(const NodeRef& node) = 0;
  virtual std::unique_ptr<Program> compile(const hd_graph& graph) = 0;
  // `address` per value of the partition (null for intermediates), scratch last.
  virtual std::unique_ptr<Binding> bind(Program& program, std::vector<void*> addresses) = 0;
  // Enqueues a run and returns its tick; the base class's streams are synchronous.
  virtual uint64_t launch(Binding& binding) = 0;
  virtual void wait(uint64_t) {}
  virtual bool reached(uint64_t) { return true; }
  virtual const void* extension(std::string_view) { return nullptr; }

  // Refuses when facts().memory_bytes would be exceeded.
  void* allocate(uint64_t bytes) {
    const uint64_t used = used_.fetch_add(bytes) + bytes;
    if (facts_.memory_bytes != 0 && used > facts_.memory_bytes) {
      used_.fetch_sub(bytes);
      throw Failure(HD_ERROR_OUT_OF_MEMORY, out_of_memory_text(bytes, used - bytes));
    }
    const uint64_t rounded =
        std::max<uint64_t>(1, (bytes + facts_.alignment - 1) / facts_.alignment) * facts_.alignment;
    void* memory = rounded < bytes ? nullptr : std::aligned_alloc(facts_.alignment, rounded);
    if (memory == nullptr) {
      used_.fetch_sub(bytes);
      throw Failure(HD_ERROR_OUT_OF_MEMORY, out_of_memory_text(bytes, used - bytes));
    }
    return memory;
  }
  void release(void* memory, uint64_t bytes) {
    std::free(memory);
    used_.fetch_sub(bytes);
  }
  uint64_t used_bytes() const { return used_.load(); }

 private:
  std::string out_of_memory_text(uint64_t bytes, uint64_t used) const {
    return "device " + facts_.name + " is out of memory: asked for " + std::to_string(bytes) +
           " bytes with " + std::to_string(used) + " in use" +
           (facts_.memory_bytes ? " of " + std::to_string(facts_.memory_bytes) : std::string());
  }
  DeviceFacts facts_;
  std::atomic<uint64_t> used_{0};
};

}  // namespace heddle::backend
