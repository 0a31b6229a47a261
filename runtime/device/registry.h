// The registry of backends: the one piece of global state. Built-in plugins are added at its first use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/open_device.h"
#include "heddle/device.h"

namespace heddle::device {

class Registry {
 public:
  static Registry& instance();

  // Throws unsupported for another ABI major, invalid_argument for a device name that is taken.
  void add(const hd_plugin* plugin, const std::string& library);
  void load(const std::string& file);
  std::vector<DeviceListing> list() const;
  // The same device for the same spec while it is open anywhere: one device has one pool of threads.
  DevicePtr open(const std::string& spec);

 private:
  Registry();
  struct Entry {
    DeviceListing listing;
    const hd_plugin* plugin;
    uint32_t index;
  };
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::map<std::string, std::weak_ptr<OpenDevice>> opened_;  // by spec
};

}  // namespace heddle::device
