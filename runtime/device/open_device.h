// An opened device: the C contract with C++ lifetimes. Statuses become heddle::Error, objects release
// themselves.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "heddle/device.h"
#include "heddle/device_abi.h"

namespace heddle::device {

class OpenDevice;
using DevicePtr = std::shared_ptr<OpenDevice>;

// Releases one object of a device through one function of its vtable; keeps the device alive.
template <class Handle, void (*hd_device_vtable::*Release)(hd_device*, Handle*)>
class Owned {
 public:
  Owned() = default;
  Owned(DevicePtr device, Handle* handle) : device_(std::move(device)), handle_(handle) {}
  Owned(Owned&& o) noexcept : device_(std::move(o.device_)), handle_(std::exchange(o.handle_, nullptr)) {}
  Owned& operator=(Owned&& o) noexcept {
    if (this != &o) {
      reset();
      device_ = std::move(o.device_);
      handle_ = std::exchange(o.handle_, nullptr);
    }
    return *this;
  }
  ~Owned() { reset(); }
  Handle* get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }
  const DevicePtr& device() const { return device_; }
  void reset();

 private:
  DevicePtr device_;
  Handle* handle_ = nullptr;
};

using Buffer = Owned<hd_buffer, &hd_device_vtable::free>;
using Stream = Owned<hd_stream, &hd_device_vtable::release_stream>;
using Program = Owned<hd_program, &hd_device_vtable::release_program>;
using Binding = Owned<hd_binding, &hd_device_vtable::release_binding>;

struct OfferAnswer {
  bool accepted;
  std::string reason;
};

inline hd_span span_of(const Buffer& buffer, uint64_t offset, uint64_t bytes) {
  return {buffer.get(), offset, bytes};
}
inline hd_span host_span(const void* address, uint64_t bytes) {
  return {nullptr, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address)), bytes};
}

// Every function throws Error with the device's own text, prefixed by the device's name. Nothing that a
// backend throws, leaves out or makes up gets past this class as anything but an Error; where nothing can be
// thrown (releasing, closing) it is logged.
class OpenDevice : public std::enable_shared_from_this<OpenDevice> {
 public:
  // Takes ownership of `device`. Throws unsupported when a required function is missing.
  OpenDevice(hd_device* device, const hd_device_vtable* vtable, std::string spec);
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;
  ~OpenDevice();

  const std::string& name() const { return name_; }
  const std::string& spec() const { return spec_; }
  const std::string& description() const { return description_; }
  bool simulated() const { return clock_ == HD_CLOCK_SIMULATED; }
  bool host_memory() const { return host_memory_; }
  bool computes() const { return computes_; }
  uint64_t memory_bytes() const { return memory_bytes_; }
  uint64_t alignment() const { return alignment_; }

  Buffer alloc(uint64_t bytes);
  Stream stream();
  OfferAnswer offer(const hd_graph& graph, uint32_t node) const;
  Program compile(const hd_graph& graph);
  hd_program_info describe(const Program& program) const;
  Binding bind(const Program& program, const std::vector<hd_span>& spans);
  void rebind(const Binding& binding, uint32_t value, hd_span span) const;
  uint64_t copy(const Stream& stream, hd_span dst, hd_span src) const;
  uint64_t launch(const Stream& stream, const Binding& binding) const;
  void wait(const Stream& stream, uint64_t tick) const;
  // Copies and waits.
  void copy_now(const Stream& stream, hd_span dst, hd_span src) const {
    wait(stream, copy(stream, dst, src));
  }
  // The backend's own answer, unchecked.
  const void* extension(const char* name) const;

  // The extensions; a function that the device leaves out, or whose struct is too small for it, is absent.
  bool models_time() const { return simulated_.program_picoseconds != nullptr; }
  uint64_t program_picoseconds(const Program& program) const;                         // absent: 0
  std::string program_report(const Program& program) const;                           // absent: "{}"
  std::string program_trace(const Program& program) const;                            // absent: "[]"
  void record_spans(const Binding& binding, bool on) const;                           // absent: nothing
  std::vector<hd_span_record> last_spans(const Binding& binding, size_t most) const;  // absent: none
  void trim() const;                                                                  // absent: nothing

  hd_device* handle() const { return device_; }
  const hd_device_vtable& vtable() const { return vtable_; }
  // Logs what a function threw that cannot fail. Called inside a catch of anything.
  void log_thrown(const char* doing) const noexcept;

 private:
  void close() noexcept;
  void read_info();
  void read_extensions();
  [[noreturn]] void fail(const char* doing, int32_t code, const hd_status& status) const;
  [[noreturn]] void refuse(const char* doing, const std::string& text) const;
  [[noreturn]] void rethrow(const char* doing) const;  // inside a catch of anything
  template <class Call>
  auto guarded(const char* doing, const Call& call) const {
    try {
      return call();
    } catch (...) {
      rethrow(doing);
    }
  }

  hd_device* device_;
  hd_device_vtable vtable_{};  // zero-filled past the device's own size
  std::string spec_, name_, description_;
  uint32_t clock_ = HD_CLOCK_WALL;
  bool host_memory_ = false, computes_ = true;
  uint64_t memory_bytes_ = 0, alignment_ = 64;
  hd_simulated_v1 simulated_{};  // zero-filled past the device's own sizes
  hd_spans_v1 spans_{};
  hd_trim_v1 trim_{};
};

template <class Handle, void (*hd_device_vtable::*Release)(hd_device*, Handle*)>
void Owned<Handle, Release>::reset() {
  try {
    if (handle_ != nullptr) (device_->vtable().*Release)(device_->handle(), handle_);
  } catch (...) {
    device_->log_thrown("releasing what it gave");
  }
  handle_ = nullptr;
  device_.reset();
}

}  // namespace heddle::device
