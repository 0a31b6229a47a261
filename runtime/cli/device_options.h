// --device and --plugin, which every subcommand that runs something takes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "heddle/device.h"
#include "heddle/session.h"

namespace heddle::cli {

struct DeviceOptions {
  std::vector<std::string> devices;  // as given: "cpu", "trn1:numerics=off"
  std::vector<std::string> plugins;
};

// Adds the options to `command`; `help` says what several devices mean there.
void add_device_options(CLI::App& command, DeviceOptions& options, const std::string& help);

// Loads the plugins. Called before devices are listed or opened.
void load_plugins(const DeviceOptions& options);

// Opens every device of `specs`. Throws UsageError for names and options that do not exist.
std::vector<Device> open_devices(const std::vector<std::string>& specs);

// Of `names`, those that exist in this build and its plugins.
std::vector<std::string> existing_devices(const std::vector<std::string>& names);

// The device, and under Fallback::allow those that serve what it refuses.
std::vector<Device> with_fallback(const Device& device, Fallback fallback);

}  // namespace heddle::cli
