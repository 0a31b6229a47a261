// Device memory of a case, with guards around it: what lies beside an operand is not the kernel's to touch.
#pragma once

#include <cstddef>
#include <vector>

#include "device/open_device.h"

namespace heddle::conformance {

// The device knows how much memory it has and has no room for a case: that proves nothing about its kernels,
// so it ends the whole run instead of failing the case.
class TooLittleMemory : public Error {
  using Error::Error;
};

// `bytes` of device memory between two guards, everything filled with one byte value.
class GuardedMemory {
 public:
  // Throws TooLittleMemory, and what allocating throws.
  GuardedMemory(device::OpenDevice& device, const device::Stream& stream, uint64_t bytes);

  hd_span span() const { return device::span_of(buffer_, guard_, bytes_); }
  uint64_t bytes() const { return bytes_; }
  // Sets the contents and both guards to one value.
  void poison(std::byte value);
  void write(const void* from);
  void read(void* to) const;
  // Whether both guards still have the value of the last poison().
  bool guards_intact() const;

 private:
  device::OpenDevice& device_;
  const device::Stream& stream_;
  uint64_t guard_, bytes_;
  std::byte value_{};
  device::Buffer buffer_;
};

}  // namespace heddle::conformance
