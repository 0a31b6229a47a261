#include "conformance/memory.h"

#include <algorithm>
#include <string>

namespace heddle::conformance {
namespace {

device::Buffer room_for(device::OpenDevice& device, uint64_t bytes) {
  try {
    return device.alloc(bytes);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::out_of_memory || device.memory_bytes() == 0) throw;
    throw TooLittleMemory(ErrorCode::out_of_memory,
                          "device " + device.spec() + " has " + std::to_string(device.memory_bytes()) +
                              " bytes of memory, too little for the cases that would prove it; open it with "
                              "more (" +
                              e.what() + ")");
  }
}

}  // namespace

GuardedMemory::GuardedMemory(device::OpenDevice& device, const device::Stream& stream, uint64_t bytes)
    : device_(device),
      stream_(stream),
      guard_(std::max<uint64_t>(device.alignment(), 64)),
      bytes_(bytes),
      buffer_(room_for(device, guard_ + bytes + guard_)) {}

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
