// The reference device with functions of its table replaced: a backend that misbehaves, or that tells a test
// when it is called.
#pragma once

#include <map>
#include <string>

#include "device/builtin.h"
#include "device/registry.h"
#include "heddle/device.h"
#include "heddle/device_abi.h"

namespace heddle::test {

using Override = void (*)(hd_device_vtable&);

// By the device's options.
inline std::map<std::string, Override>& overrides() {
  static std::map<std::string, Override> all;
  return all;
}

// The functions that the replaced ones may call.
inline const hd_device_vtable& reference_table() {
  static const hd_device_vtable* const table = [] {
    hd_host host{sizeof(hd_host), HD_ABI_MAJOR, HD_ABI_MINOR, [](int32_t, const char*) {},
                 [] { return uint64_t{0}; }};
    hd_status status{};
    status.size = sizeof(status);
    hd_device* device = nullptr;
    const hd_device_vtable* made = nullptr;
    heddle_reference_plugin()->open(0, "", &host, &device, &made, &status);
    made->close(device);
    return made;
  }();
  return *table;
}

inline int32_t open_overridden(uint32_t, const char* options, const hd_host* host, hd_device** out,
                               const hd_device_vtable** vtable, hd_status* status) {
  static std::map<std::string, hd_device_vtable> tables;
  const hd_device_vtable* reference = nullptr;
  if (const int32_t code = heddle_reference_plugin()->open(0, "", host, out, &reference, status)) return code;
  hd_device_vtable& table = tables[options] = *reference;
  overrides().at(options)(table);
  *vtable = &table;
  return HD_OK;
}

// The device "overridden:NAME". Throws what opening throws.
inline Device open_with(const std::string& name, Override change) {
  static const hd_plugin plugin = {sizeof(hd_plugin),
                                   HD_ABI_MAJOR,
                                   HD_ABI_MINOR,
                                   "overridden",
                                   "1.0",
                                   [] { return uint32_t{1}; },
                                   [](uint32_t) { return "overridden"; },
                                   open_overridden};
  static const bool added = (device::Registry::instance().add(&plugin, ""), true);
  (void)added;
  overrides()[name] = change;
  return Device::open("overridden:" + name);
}

}  // namespace heddle::test
