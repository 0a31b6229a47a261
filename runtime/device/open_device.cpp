#include "device/open_device.h"

#include <algorithm>
#include <cstring>

namespace heddle::device {
namespace {

// Only `text`'s first byte is cleared: a status is made on every launch.
hd_status fresh_status() {
  hd_status status;
  status.size = sizeof(status);
  status.code = HD_OK;
  status.text[0] = 0;
  return status;
}

}  // namespace

OpenDevice::OpenDevice(hd_device* device, const hd_device_vtable* vtable, std::string spec)
    : device_(device), spec_(std::move(spec)) {
  std::memcpy(&vtable_, vtable, std::min<size_t>(vtable->size, sizeof(vtable_)));
  const auto& v = vtable_;
  const bool complete = v.info && v.alloc && v.free && v.stream && v.release_stream && v.copy && v.offer &&
                        v.compile && v.release_program && v.describe && v.bind && v.release_binding &&
                        v.launch && v.wait && v.poll && v.close && v.extension;
  if (!complete) {
    if (v.close) v.close(device_);
    throw Error(ErrorCode::unsupported, "device " + spec_ +
                                            " leaves out a required function of device_abi.h; rebuild "
                                            "its backend against the header of this Heddle");
  }
  hd_info info{};
  info.size = sizeof(info);
  v.info(device_, &info);
  name_ = info.name ? info.name : spec_;
  description_ = info.description ? info.description : "";
  clock_ = info.clock;
  memory_bytes_ = info.memory_bytes;
  alignment_ = std::max<uint64_t>(info.alignment, 1);
  host_memory_ = (info.flags & HD_INFO_HOST_MEMORY) != 0 && v.rebind != nullptr;
  computes_ = (info.flags & HD_INFO_TIMING_ALONE) == 0;
}

OpenDevice::~OpenDevice() { vtable_.close(device_); }

void OpenDevice::fail(const char* doing, int32_t code, const hd_status& status) const {
  const bool known = code >= HD_ERROR_INVALID_ARGUMENT && code <= HD_ERROR_INTERNAL;
  std::string text = "device " + name_ + ", " + doing + ": ";
  text +=
      status.text[0] ? status.text : "failed without saying why (please report it to the backend's author)";
  throw Error(known ? static_cast<ErrorCode>(code) : ErrorCode::device, text);
}

Buffer OpenDevice::alloc(uint64_t bytes) {
  hd_status status = fresh_status();
  hd_buffer* buffer = nullptr;
  if (const int32_t code = vtable_.alloc(device_, bytes, &buffer, &status))
    fail("allocating memory", code, status);
  return Buffer(shared_from_this(), buffer);
}

Stream OpenDevice::stream() {
  hd_status status = fresh_status();
  hd_stream* stream = nullptr;
  if (const int32_t code = vtable_.stream(device_, &stream, &status)) fail("making a stream", code, status);
  return Stream(shared_from_this(), stream);
}

OfferAnswer OpenDevice::offer(const hd_graph& graph, uint32_t node) const {
  hd_offer answer{};
  answer.size = sizeof(answer);
  if (const int32_t code = vtable_.offer(device_, &graph, node, &answer); code != HD_OK)
    return {false, "failed to answer (code " + std::to_string(code) + ")"};
  answer.reason[sizeof(answer.reason) - 1] = 0;
  if (answer.verdict == HD_OFFER_YES) return {true, {}};
  return {false, answer.reason[0] ? answer.reason : "refused without a reason"};
}

Program OpenDevice::compile(const hd_graph& graph) {
  hd_status status = fresh_status();
  hd_program* program = nullptr;
  if (const int32_t code = vtable_.compile(device_, &graph, &program, &status))
    fail("compiling", code, status);
  return Program(shared_from_this(), program);
}

hd_program_info OpenDevice::describe(const Program& program) const {
  hd_program_info info{};
  info.size = sizeof(info);
  vtable_.describe(device_, program.get(), &info);
  return info;
}

Binding OpenDevice::bind(const Program& program, const std::vector<hd_span>& spans) {
  hd_status status = fresh_status();
  hd_binding* binding = nullptr;
  if (const int32_t code = vtable_.bind(device_, program.get(), spans.data(),
                                        static_cast<uint32_t>(spans.size()), &binding, &status))
    fail("binding memory", code, status);
  return Binding(shared_from_this(), binding);
}

void OpenDevice::rebind(const Binding& binding, uint32_t value, hd_span span) const {
  hd_status status = fresh_status();
  if (const int32_t code = vtable_.rebind(device_, binding.get(), value, span, &status))
    fail("rebinding memory", code, status);
}

uint64_t OpenDevice::copy(const Stream& stream, hd_span dst, hd_span src) const {
  hd_status status = fresh_status();
  uint64_t tick = 0;
  if (const int32_t code = vtable_.copy(device_, stream.get(), dst, src, &tick, &status))
    fail("copying", code, status);
  return tick;
}

uint64_t OpenDevice::launch(const Stream& stream, const Binding& binding) const {
  hd_status status = fresh_status();
  uint64_t tick = 0;
  if (const int32_t code = vtable_.launch(device_, stream.get(), binding.get(), &tick, &status))
    fail("running", code, status);
  return tick;
}

void OpenDevice::wait(const Stream& stream, uint64_t tick) const {
  hd_status status = fresh_status();
  if (const int32_t code = vtable_.wait(device_, stream.get(), tick, &status)) fail("running", code, status);
}

const void* OpenDevice::extension(const char* name) const { return vtable_.extension(device_, name); }

}  // namespace heddle::device
