#include "conformance/memory.h"

#include <algorithm>

namespace heddle::conformance {

GuardedMemory::GuardedMemory(device::OpenDevice& device, const device::Stream& stream, uint64_t bytes)
    : device_(device),
      stream_(stream),
      guard_(std::max<uint64_t>(device.alignment(), 64)),
      bytes_(bytes),
      buffer_(device.alloc(guard_ + bytes + guard_)) {}

void GuardedMemory::poison(std::byte value) {
  value_ = value;
  const std::vector<std::byte> filled(guard_ + bytes_ + guard_, value);
  device_.copy_now(stream_, device::span_of(buffer_, 0, filled.size()),
                   device::host_span(filled.data(), filled.size()));
}

void GuardedMemory::write(const void* from) {
  if (bytes_ != 0) device_.copy_now(stream_, span(), device::host_span(from, bytes_));
}

void GuardedMemory::read(void* to) const {
  if (bytes_ != 0) device_.copy_now(stream_, device::host_span(to, bytes_), span());
}

bool GuardedMemory::guards_intact() const {
  std::vector<std::byte> guard(guard_);
  for (const uint64_t offset : {uint64_t{0}, guard_ + bytes_}) {
    device_.copy_now(stream_, device::host_span(guard.data(), guard_),
                     device::span_of(buffer_, offset, guard_));
    if (std::any_of(guard.begin(), guard.end(), [&](std::byte b) { return b != value_; })) return false;
  }
  return true;
}

}  // namespace heddle::conformance
