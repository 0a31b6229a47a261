#include "cli/device_options.h"

#include <algorithm>

#include "cli/command.h"
#include "heddle/error.h"

namespace heddle::cli {

void add_device_options(CLI::App& command, DeviceOptions& options, const std::string& help) {
  // One value per use: `--device cpu FILE` must not swallow the file.
  command.add_option("--device", options.devices, help)->type_name("NAME")->expected(1)->take_all();
  command.add_option("--plugin", options.plugins, "Load a backend library first (repeatable)")
      ->type_name("FILE.so")
      ->expected(1)
      ->take_all();
}

void add_fallback_option(CLI::App& command, DeviceOptions& options) {
  command
      .add_option(
          "--fallback", options.fallback,
          "Run what the device refuses on this one (repeatable); default: what it refuses is an error")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
}

void load_plugins(const DeviceOptions& options) {
  for (const std::string& file : options.plugins) load_plugin(file);
}

std::vector<Device> open_devices(const std::vector<std::string>& specs) {
  std::vector<Device> devices;
  for (const std::string& spec : specs) {
    try {
      devices.push_back(Device::open(spec));
    } catch (const Error& e) {
      if (e.code() == ErrorCode::not_found || e.code() == ErrorCode::invalid_argument)
        throw UsageError(e.what());
      throw;
    }
  }
  return devices;
}

std::vector<std::string> existing_devices(const std::vector<std::string>& names) {
  const std::vector<DeviceListing> listed = list_devices();
  std::vector<std::string> existing;
  for (const std::string& name : names) {
    const auto has_name = [&](const DeviceListing& listing) { return listing.name == name; };
    if (std::any_of(listed.begin(), listed.end(), has_name)) existing.push_back(name);
  }
  return existing;
}

std::vector<Device> with_fallback(const Device& device, const DeviceOptions& options) {
  std::vector<Device> devices = {device};
  for (const Device& other : open_devices(options.fallback))
    if (other.spec() != device.spec()) devices.push_back(other);
  return devices;
}

Fallback fallback_of(const DeviceOptions& options) {
  return options.fallback.empty() ? Fallback::forbid : Fallback::allow;
}

}  // namespace heddle::cli
