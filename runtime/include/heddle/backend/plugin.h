// The C side: the vtable over backend::Device, and the struct a backend library exports.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heddle/backend/device.h"

namespace heddle::backend {

// The meaning of ops that this kit was written for (hd_node.version); newer ones are refused, not guessed.
inline constexpr uint32_t op_version = 1;

namespace detail {

struct Buffer {
  void* memory;
  uint64_t bytes;
};
struct Stream {
  uint64_t last = 0;
};
struct Described {
  Program* program;
  std::vector<const char*> kernels;
};

inline Device* device(hd_device* d) { return reinterpret_cast<Device*>(d); }
inline void* address(const hd_span& s) {
  if (s.buffer == nullptr) return reinterpret_cast<void*>(static_cast<uintptr_t>(s.offset));
  return static_cast<char*>(reinterpret_cast<Buffer*>(s.buffer)->memory) + s.offset;
}
inline void check_span(const hd_span& s) {
  if (s.buffer == nullptr) return;
  const Buffer* b = reinterpret_cast<const Buffer*>(s.buffer);
  if (s.offset > b->bytes || s.bytes > b->bytes - s.offset)
    throw Failure(HD_ERROR_INVALID_ARGUMENT, "span of " + std::to_string(s.bytes) + " bytes at offset " +
                                                 std::to_string(s.offset) + " leaves its buffer of " +
                                                 std::to_string(b->bytes) + " bytes");
}

inline void info(hd_device* d, hd_info* out) {
  const DeviceFacts& f = device(d)->facts();
  hd_info i{};
  i.size = std::min<uint32_t>(out->size, sizeof(hd_info));
  i.clock = f.clock;
  i.name = f.name.c_str();
  i.description = f.description.c_str();
  i.memory_bytes = f.memory_bytes;
  i.alignment = f.alignment;
  i.dtypes = f.dtypes;
  i.flags = (f.host_memory ? uint64_t{HD_INFO_HOST_MEMORY} : 0) |
            (f.computes ? uint64_t{0} : uint64_t{HD_INFO_TIMING_ALONE});
  std::memcpy(out, &i, i.size);
}
inline int32_t alloc(hd_device* d, uint64_t bytes, hd_buffer** out, hd_status* status) {
  return guarded(status, [&] {
    auto buffer = std::make_unique<Buffer>(Buffer{device(d)->allocate(bytes), bytes});
    *out = reinterpret_cast<hd_buffer*>(buffer.release());
  });
}
inline void free_buffer(hd_device* d, hd_buffer* b) {
  if (b == nullptr) return;
  auto* buffer = reinterpret_cast<Buffer*>(b);
  device(d)->release(buffer->memory, buffer->bytes);
  delete buffer;
}
inline int32_t stream(hd_device*, hd_stream** out, hd_status* status) {
  return guarded(status, [&] { *out = reinterpret_cast<hd_stream*>(new Stream); });
}
inline void release_stream(hd_device*, hd_stream* s) { delete reinterpret_cast<Stream*>(s); }
inline int32_t copy(hd_device* d, hd_stream* s, hd_span dst, hd_span src, uint64_t* tick, hd_status* status) {
  return guarded(status, [&] {
    if (dst.bytes != src.bytes)
      throw Failure(HD_ERROR_INVALID_ARGUMENT, "a copy needs spans of equal size, got " +
                                                   std::to_string(src.bytes) + " to " +
                                                   std::to_string(dst.bytes) + " bytes");
    check_span(dst);
    check_span(src);
    auto* st = reinterpret_cast<Stream*>(s);
    device(d)->wait(st->last);  // in order with what was launched before
    if (dst.bytes != 0) std::memmove(address(dst), address(src), dst.bytes);
    *tick = st->last;
  });
}
inline int32_t offer(hd_device* d, const hd_graph* graph, uint32_t node, hd_offer* out) {
  const auto write = [out](bool accepted, const char* reason) {
    out->verdict = accepted ? HD_OFFER_YES : HD_OFFER_NO;
    copy_text(out->reason, out->size, offsetof(hd_offer, reason), sizeof(out->reason), reason);
  };
  hd_status status{};
  status.size = sizeof(status);
  const int32_t code = guarded(&status, [&] {
    const NodeRef n(graph, node);
    if (n.get()->version > op_version) {
      write(false, ("knows version " + std::to_string(op_version) + " of " + n.op() + ", not " +
                    std::to_string(n.get()->version))
                       .c_str());
      return;
    }
    const Offer o = device(d)->offer(n);
    write(o.accepted, o.reason.c_str());
  });
  if (code != HD_OK) write(false, status.text);
  return HD_OK;
}
inline int32_t compile(hd_device* d, const hd_graph* graph, hd_program** out, hd_status* status) {
  return guarded(status, [&] {
    auto described = std::make_unique<Described>();
    std::unique_ptr<Program> program = device(d)->compile(*graph);
    for (const std::string& k : program->facts.kernels) described->kernels.push_back(k.c_str());
    described->program = program.release();
    *out = reinterpret_cast<hd_program*>(described.release());
  });
}
inline void release_program(hd_device*, hd_program* p) {
  auto* described = reinterpret_cast<Described*>(p);
  if (described == nullptr) return;
  delete described->program;
  delete described;
}
inline void describe(hd_device*, hd_program* p, hd_program_info* out) {
  const auto* described = reinterpret_cast<const Described*>(p);
  const ProgramFacts& f = described->program->facts;
  hd_program_info i{};
  i.size = std::min<uint32_t>(out->size, sizeof(hd_program_info));
  i.n_in_place = static_cast<uint32_t>(f.in_place.size());
  i.scratch_bytes = f.scratch_bytes;
  i.scratch_align = f.scratch_align;
  i.in_place = f.in_place.data();
  i.kernel = described->kernels.data();
  i.n_kernel = static_cast<uint32_t>(described->kernels.size());
  i.inline_launch = f.inline_launch;
  i.scratch_lower_bound = f.scratch_lower_bound;
  std::memcpy(out, &i, i.size);
}
inline int32_t bind(hd_device* d, hd_program* p, const hd_span* spans, uint32_t n, hd_binding** out,
                    hd_status* status) {
  return guarded(status, [&] {
    std::vector<void*> addresses(n, nullptr);
    for (uint32_t i = 0; i < n; ++i) {
      check_span(spans[i]);
      addresses[i] = address(spans[i]);
    }
    *out = reinterpret_cast<hd_binding*>(
        device(d)->bind(*reinterpret_cast<Described*>(p)->program, std::move(addresses)).release());
  });
}
inline void release_binding(hd_device*, hd_binding* b) { delete reinterpret_cast<Binding*>(b); }
inline int32_t rebind(hd_device*, hd_binding* b, uint32_t value, hd_span span, hd_status* status) {
  return guarded(status, [&] { reinterpret_cast<Binding*>(b)->rebind(value, address(span)); });
}
inline int32_t launch(hd_device* d, hd_stream* s, hd_binding* b, uint64_t* tick, hd_status* status) {
  return guarded(status, [&] {
    auto* st = reinterpret_cast<Stream*>(s);
    if (!device(d)->reached(st->last)) device(d)->wait(st->last);
    const uint64_t t = device(d)->launch(*reinterpret_cast<Binding*>(b));
    if (t != 0) st->last = t;
    *tick = t;
  });
}
inline int32_t wait(hd_device* d, hd_stream*, uint64_t tick, hd_status* status) {
  return guarded(status, [&] { device(d)->wait(tick); });
}
inline int32_t poll(hd_device* d, hd_stream*, uint64_t tick) { return device(d)->reached(tick) ? 1 : 0; }
inline void close(hd_device* d) { delete device(d); }
inline const void* extension(hd_device* d, const char* name) { return device(d)->extension(name); }

inline constexpr hd_device_vtable vtable = {sizeof(hd_device_vtable),
                                            info,
                                            alloc,
                                            free_buffer,
                                            stream,
                                            release_stream,
                                            copy,
                                            offer,
                                            compile,
                                            release_program,
                                            describe,
                                            bind,
                                            release_binding,
                                            rebind,
                                            launch,
                                            wait,
                                            poll,
                                            close,
                                            extension};

}  // namespace detail

// The program behind a handle, for extensions that are given one.
template <class P>
P& program_of(hd_program* handle) {
  return static_cast<P&>(*reinterpret_cast<detail::Described*>(handle)->program);
}

struct DeviceFactory {
  std::string name;  // what a user passes to --device
  std::function<std::unique_ptr<Device>(const Options&)> open;
};

// The exported struct of a backend whose devices are what `Devices` (a function returning
// std::vector<DeviceFactory>) lists. The body of heddle_plugin_v1 is: return plugin<my_devices>("toy",
// "0.1");
template <std::vector<DeviceFactory> (*Devices)()>
const hd_plugin* plugin(const char* name, const char* version) {
  static const std::vector<DeviceFactory> devices = Devices();
  static const hd_plugin abi = {
      sizeof(hd_plugin),
      HD_ABI_MAJOR,
      HD_ABI_MINOR,
      name,
      version,
      [] { return static_cast<uint32_t>(devices.size()); },
      [](uint32_t i) -> const char* { return i < devices.size() ? devices[i].name.c_str() : nullptr; },
      [](uint32_t i, const char* options, const hd_host*, hd_device** out, const hd_device_vtable** table,
         hd_status* status) {
        return guarded(status, [&] {
          *out = reinterpret_cast<hd_device*>(devices.at(i).open(Options(options)).release());
          *table = &detail::vtable;
        });
      }};
  return &abi;
}

}  // namespace heddle::backend
