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
  std::vector<std::string> fallback;  // devices that serve what the chosen one refuses
};

// Adds the options to `command`; `help` says what several devices mean there.
void add_device_options(CLI::App& command, DeviceOptions& options, const std::string& help);

// Adds --fallback to a command that runs graphs.
void add_fallback_option(CLI::App& command, DeviceOptions& options);

// Loads the plugins. Called before devices are listed or opened.
void load_plugins(const DeviceOptions& options);

// Opens every device of `specs`. Throws UsageError for names and options that do not exist.
std::vector<Device> open_devices(const std::vector<std::string>& specs);

// Of `names`, those that exist in this build and its plugins.
std::vector<std::string> existing_devices(const std::vector<std::string>& names);

// The device, then those of --fallback; and what a session is told about them. Nothing falls back unless a
// device is named for it.
std::vector<Device> with_fallback(const Device& device, const DeviceOptions& options);
Fallback fallback_of(const DeviceOptions& options);

}  // namespace heddle::cli
