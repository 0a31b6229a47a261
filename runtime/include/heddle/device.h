// Devices: where graphs run. A Device is a handle; copies name the same opened device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "heddle/error.h"

namespace heddle {

namespace device {
class OpenDevice;
}

enum class Clock : uint8_t {
  wall,
  simulated,  // real numbers, modelled time: figures are labelled and never added to wall time
};

// A device that can be opened.
struct DeviceListing {
  std::string name;     // "cpu": what Device::open takes, options after a colon
  std::string backend;  // "cpu", "systolic", or the plugin's name
  std::string version;  // of the backend
  std::string library;  // the plugin's file; empty for built-in backends
};

class Device {
 public:
  // "cpu", "cpu:threads=1", "trn1:numerics=off", "systolic:FILE.toml", or a plugin's device. Throws not_found
  // listing the names that exist, invalid_argument listing the options that exist. Opening the same spec
  // again while it is open gives the same device.
  static Device open(const std::string& spec);

  // No device: false, and every other question throws invalid_argument.
  Device() = default;
  explicit operator bool() const { return impl_ != nullptr; }
  const std::string& name() const;         // as the device calls itself: "cpu"
  const std::string& spec() const;         // as it was opened: "cpu:threads=1"
  const std::string& description() const;  // one line: "AMD EPYC, 2 threads, AVX-512"
  Clock clock() const;
  // False for a device opened for timing alone ("trn1:numerics=off"): its figures of time are those of any
  // run, but it computes nothing. Whatever depends on it comes back as NaN (integers and bool: 0), and a run
  // in which it takes part updates no variable.
  bool computes() const;
  uint64_t memory_bytes() const;  // 0: unknown
  // Gives cached memory (packed weights, pools) back to the system.
  void trim();
  bool operator==(const Device& other) const { return impl_ == other.impl_; }

  const std::shared_ptr<device::OpenDevice>& impl() const { return impl_; }

 private:
  std::shared_ptr<device::OpenDevice> impl_;
};

// Every device that Device::open can open: built-in ones, loaded plugins, and the libraries named in
// HEDDLE_PLUGIN_PATH (colon-separated files or folders, read once, at the first use of devices). Any thread.
std::vector<DeviceListing> list_devices();

// Loads a backend library. Throws io (not loadable, no heddle_plugin_v1), unsupported (another ABI major:
// both numbers in the text), invalid_argument (a device name that is taken). Loaded libraries are never
// unloaded.
void load_plugin(const std::string& file);

}  // namespace heddle
