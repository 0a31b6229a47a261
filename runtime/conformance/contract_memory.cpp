// Facts, memory and copies.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

#include "conformance/contract.h"

namespace heddle::conformance {
namespace {

using device::DevicePtr;
using Bytes = std::vector<std::byte>;

Bytes pattern(size_t size, unsigned first) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((first + i * 7) & 0xff);
  return bytes;
}

hd_status fresh_status() {
  hd_status status{};
  status.size = sizeof(status);
  return status;
}

// The code of a failed call must be set, and the text must say something.
void expect_refused(int32_t code, hd_code wanted, const hd_status& status, const std::string& what) {
  expect(code != HD_OK, what + " was accepted; it must fail");
  expect(code == wanted,
         what + " failed with code " + std::to_string(code) + " instead of " + std::to_string(wanted));
  expect(status.code == code, what + " returned code " + std::to_string(code) + ", but hd_status.code is " +
                                  std::to_string(status.code));
  expect(status.text[0] != 0, what + " failed without a text");
}

// ---- facts

void facts(const DevicePtr& device) {
  hd_info info{};
  info.size = sizeof(info);
  device->vtable().info(device->handle(), &info);
  expect(info.name != nullptr && *info.name != 0, "hd_info.name is empty");
  expect(info.description != nullptr && *info.description != 0,
         "hd_info.description is empty; say in one line what the device is");
  expect(info.clock == HD_CLOCK_WALL || info.clock == HD_CLOCK_SIMULATED,
         "hd_info.clock is none of hd_clock");
  expect(std::has_single_bit(info.alignment),
         "hd_info.alignment is " + std::to_string(info.alignment) + ", which is no power of two");
  expect(info.dtypes != 0 && (info.dtypes & ~uint64_t{0xfffe}) == 0,
         "hd_info.dtypes has no bit of hd_dtype, or another one");
}

// A caller built against an older header has a shorter hd_info.
void short_info(const DevicePtr& device) {
  alignas(hd_info) std::array<unsigned char, sizeof(hd_info)> bytes;
  bytes.fill(0xa5);
  auto* info = reinterpret_cast<hd_info*>(bytes.data());
  info->size = offsetof(hd_info, alignment);
  device->vtable().info(device->handle(), info);
  expect(info->size <= offsetof(hd_info, alignment), "info raised hd_info.size of its caller");
  const bool intact = std::all_of(bytes.begin() + offsetof(hd_info, alignment), bytes.end(),
                                  [](unsigned char b) { return b == 0xa5; });
  expect(intact, "info wrote past the size its caller gave");
}

void short_status(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  const device::Buffer buffer = device->alloc(64);
  struct {
    hd_status status;
    std::array<unsigned char, 64> beyond;
  } memory;
  std::memset(&memory, 0xa5, sizeof(memory));
  constexpr size_t room = 24;
  memory.status.size = offsetof(hd_status, text) + room;
  uint64_t tick = 0;
  const int32_t code = device->vtable().copy(device->handle(), stream.get(), device::span_of(buffer, 0, 64),
                                             device::span_of(buffer, 0, 32), &tick, &memory.status);
  expect(code != HD_OK, "a copy of 32 bytes to 64 was accepted");
  const char* text = memory.status.text;
  expect(std::find(text, text + room, '\0') != text + room,
         "hd_status.text does not end within the caller's size");
  const auto* bytes = reinterpret_cast<const unsigned char*>(text);
  expect(std::all_of(bytes + room, bytes + sizeof(memory.status.text),
                     [](unsigned char b) { return b == 0xa5; }),
         "hd_status.text was written past the caller's size");
}

void unknown_extension(const DevicePtr& device) {
  expect(device->extension("heddle.no_such_extension.v1") == nullptr,
         "extension() returned something for a name that does not exist");
}

// ---- memory

void empty_buffer(const DevicePtr& device) {
  hd_status status = fresh_status();
  hd_buffer* buffer = nullptr;
  const int32_t code = device->vtable().alloc(device->handle(), 0, &buffer, &status);
  expect(code == HD_OK && buffer != nullptr,
         "alloc of 0 bytes must give a valid buffer, got: " + std::string(status.text));
  device->vtable().free(device->handle(), buffer);
  device->vtable().free(device->handle(), nullptr);
}

void disjoint_buffers(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  std::vector<device::Buffer> buffers;
  std::vector<Bytes> contents;
  for (const size_t size : {1, 7, 1000, 4097, 65536, 3}) {
    contents.push_back(pattern(size, static_cast<unsigned>(buffers.size() * 31)));
    buffers.push_back(device->alloc(size));
    device->copy_now(stream, device::span_of(buffers.back(), 0, size),
                     device::host_span(contents.back().data(), size));
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    Bytes back(contents[i].size());
    device->copy_now(stream, device::host_span(back.data(), back.size()),
                     device::span_of(buffers[i], 0, back.size()));
    expect(back == contents[i], "a buffer of " + std::to_string(back.size()) +
                                    " bytes lost what was copied into it when others were written");
  }
}

void exhausted(const DevicePtr& device) {
  hd_status status = fresh_status();
  hd_buffer* buffer = nullptr;
  const int32_t code = device->vtable().alloc(device->handle(), uint64_t{1} << 62, &buffer, &status);
  if (code == HD_OK) device->vtable().free(device->handle(), buffer);
  expect_refused(code, HD_ERROR_OUT_OF_MEMORY, status, "alloc of 2^62 bytes");
  const device::Buffer after = device->alloc(64);
  expect(static_cast<bool>(after), "no memory could be allocated after a request that was too large");
}

void released(const DevicePtr& device) {
  hd_info info{};
  info.size = sizeof(info);
  device->vtable().info(device->handle(), &info);
  if (info.memory_bytes == 0) throw NotApplicable("the device does not say how much memory it has");
  // Half of the memory, over and over: what is freed can be allocated again.
  for (int i = 0; i < 5; ++i) {
    const device::Buffer half = device->alloc(std::min<uint64_t>(info.memory_bytes / 2, uint64_t{1} << 30));
    expect(static_cast<bool>(half), "freed memory did not come back");
  }
}

// ---- copies

void round_trip(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  const device::Buffer buffer = device->alloc(4096);
  Bytes image(4096, std::byte{0});
  device->copy_now(stream, device::span_of(buffer, 0, image.size()),
                   device::host_span(image.data(), image.size()));
  // Any offset and size, not only aligned ones.
  const std::array<std::array<size_t, 2>, 6> parts = {
      {{0, 1}, {1, 3}, {63, 130}, {1000, 1}, {2049, 2000}, {4095, 1}}};
  for (const auto& [offset, size] : parts) {
    const Bytes part = pattern(size, static_cast<unsigned>(offset));
    std::copy(part.begin(), part.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
    device->copy_now(stream, device::span_of(buffer, offset, size), device::host_span(part.data(), size));
  }
  Bytes back(image.size());
  device->copy_now(stream, device::host_span(back.data(), back.size()),
                   device::span_of(buffer, 0, back.size()));
  expect(back == image, "copies to odd offsets of a buffer did not arrive where they belong");
  Bytes middle(777);
  device->copy_now(stream, device::host_span(middle.data(), middle.size()),
                   device::span_of(buffer, 333, middle.size()));
  expect(std::equal(middle.begin(), middle.end(), image.begin() + 333),
         "a copy from an odd offset brought other bytes");
}

void within_device(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  const device::Buffer a = device->alloc(1000), b = device->alloc(3000);
  const Bytes contents = pattern(1000, 5);
  device->copy_now(stream, device::span_of(a, 0, 1000), device::host_span(contents.data(), 1000));
  device->copy_now(stream, device::span_of(b, 1999, 1000), device::span_of(a, 0, 1000));
  Bytes back(1000);
  device->copy_now(stream, device::host_span(back.data(), 1000), device::span_of(b, 1999, 1000));
  expect(back == contents, "a copy between two buffers of the device changed the bytes");
  Bytes host(1000);
  device->copy_now(stream, device::host_span(host.data(), 1000), device::host_span(contents.data(), 1000));
  expect(host == contents, "a copy from host memory to host memory changed the bytes");
}

void empty_copy(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  const device::Buffer buffer = device->alloc(0);
  std::byte host{};
  device->copy_now(stream, device::span_of(buffer, 0, 0), device::host_span(&host, 0));
}

void refused_copies(const DevicePtr& device) {
  const device::Stream stream = device->stream();
  const device::Buffer buffer = device->alloc(64);
  Bytes host(256);
  const auto copy = [&](hd_span dst, hd_span src, const std::string& what) {
    hd_status status = fresh_status();
    uint64_t tick = 0;
    const int32_t code = device->vtable().copy(device->handle(), stream.get(), dst, src, &tick, &status);
    expect_refused(code, HD_ERROR_INVALID_ARGUMENT, status, what);
  };
  copy(device::span_of(buffer, 0, 64), device::host_span(host.data(), 32),
       "a copy of 32 bytes to a span of 64");
  copy(device::span_of(buffer, 32, 64), device::host_span(host.data(), 64),
       "a copy beyond the end of its buffer");
  copy(device::host_span(host.data(), 64), device::span_of(buffer, ~uint64_t{0} - 8, 64),
       "a copy from an offset that overflows");
}

void ticks(const DevicePtr& device) {
  const device::Stream stream = device->stream(), other = device->stream();
  const device::Buffer buffer = device->alloc(64);
  const Bytes host = pattern(64, 1);
  uint64_t last = 0;
  for (int i = 0; i < 8; ++i) {
    const uint64_t tick =
        device->copy(stream, device::span_of(buffer, 0, 64), device::host_span(host.data(), 64));
    expect(tick >= last,
           "a stream's tick went from " + std::to_string(last) + " back to " + std::to_string(tick));
    last = tick;
  }
  device->wait(stream, last);
  expect(device->vtable().poll(device->handle(), stream.get(), last) == 1,
         "poll says a tick is not reached that wait returned from");
  device->wait(stream, last);
  device->wait(other, 0);
}

}  // namespace

std::vector<ContractCase> memory_contract() {
  return {{"contract/info/facts", facts, nullptr},
          {"contract/info/short_struct", short_info, nullptr},
          {"contract/status/short_struct", short_status, nullptr},
          {"contract/extension/unknown", unknown_extension, nullptr},
          {"contract/memory/empty", empty_buffer, nullptr},
          {"contract/memory/disjoint", disjoint_buffers, nullptr},
          {"contract/memory/exhausted", exhausted, nullptr},
          {"contract/memory/released", released, nullptr},
          {"contract/copy/round_trip", round_trip, nullptr},
          {"contract/copy/within_device", within_device, nullptr},
          {"contract/copy/empty", empty_copy, nullptr},
          {"contract/copy/refused", refused_copies, nullptr},
          {"contract/stream/ticks", ticks, nullptr}};
}

}  // namespace heddle::conformance
