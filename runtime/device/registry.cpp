#include "device/registry.h"

#include <dlfcn.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "device/builtin.h"
#include "device/plugin_text.h"

namespace heddle::device {
namespace {

void host_log(int32_t level, const char* text) {
  static constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info,
                                                         spdlog::level::warn, spdlog::level::err};
  spdlog::log(levels[std::clamp(level, 0, 3)], "{}", printable(text));
}

uint64_t host_clock_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

// What `call` gives; what it throws becomes an Error that begins with `where`.
template <class Call>
auto guarded(const std::string& where, const Call& call) {
  try {
    return call();
  } catch (...) {
    throw Error(ErrorCode::device, where + ": " + thrown_text());
  }
}

// More devices than this are a mistake of the backend, not devices (assumption).
constexpr uint32_t most_devices = 4096;

// A name that can be typed after --device and printed in one line.
bool is_usable_name(const char* name) {
  return name != nullptr && *name != 0 && printable(name) == name && std::strpbrk(name, ":\n\t") == nullptr;
}

const hd_host& host() {
  static const hd_host services = {sizeof(hd_host), HD_ABI_MAJOR, HD_ABI_MINOR, host_log, host_clock_ns};
  return services;
}

// A bad entry of the path is reported and skipped: one broken plugin must not take the others away.
void load_path(Registry& registry, const char* path) {
  namespace fs = std::filesystem;
  const auto try_load = [&](const std::string& file) {
    try {
      registry.load(file);
    } catch (const std::exception& e) {
      spdlog::warn("HEDDLE_PLUGIN_PATH: {}", e.what());
    }
  };
  std::string_view rest(path);
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string item(rest.substr(0, colon));
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    if (item.empty()) continue;
    std::error_code code;
    if (!fs::is_directory(item, code)) {
      try_load(item);
      continue;
    }
    std::vector<std::string> files;
    for (auto entry = fs::directory_iterator(item, code); !code && entry != fs::end(entry);
         entry.increment(code))
      if (entry->path().extension() == ".so") files.push_back(entry->path().string());
    if (code) spdlog::warn("HEDDLE_PLUGIN_PATH: cannot read folder {}: {}", item, code.message());
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) try_load(file);
  }
}

}  // namespace

Registry::Registry() {
  add(heddle_reference_plugin(), "");
  add(heddle_cpu_plugin(), "");
  add(heddle_systolic_plugin(), "");
  if (const char* path = std::getenv("HEDDLE_PLUGIN_PATH")) load_path(*this, path);
}

Registry& Registry::instance() {
  static Registry registry;
  return registry;
}

void Registry::add(const hd_plugin* plugin, const std::string& library) {
  const std::string where = library.empty() ? "a built-in backend" : library;
  if (plugin == nullptr || plugin->size < offsetof(hd_plugin, name))
    throw Error(ErrorCode::unsupported, where + " gives no plugin description");
  if (plugin->abi_major != HD_ABI_MAJOR)
    throw Error(ErrorCode::unsupported, where + " was built for device contract version " +
                                            std::to_string(plugin->abi_major) +
                                            ", this Heddle speaks version " + std::to_string(HD_ABI_MAJOR) +
                                            "; rebuild the backend against this Heddle's headers");
  if (plugin->size < sizeof(hd_plugin) || !plugin->name || !plugin->count || !plugin->device_name ||
      !plugin->open)
    throw Error(ErrorCode::unsupported, where + " leaves out required fields of hd_plugin");
  std::vector<Entry> fresh;
  const std::lock_guard lock(mutex_);
  const uint32_t count = guarded(where + ", counting its devices", plugin->count);
  if (count > most_devices)
    throw Error(ErrorCode::invalid_argument, where + " says it has " + std::to_string(count) +
                                                 " devices; a backend may have " +
                                                 std::to_string(most_devices));
  for (uint32_t i = 0; i < count; ++i) {
    const char* name = guarded(where + ", naming its devices", [&] { return plugin->device_name(i); });
    if (!is_usable_name(name))
      throw Error(ErrorCode::invalid_argument,
                  where + ": device " + std::to_string(i) + " has no usable name");
    for (const Entry& e : entries_)
      if (e.listing.name == name)
        throw Error(ErrorCode::invalid_argument,
                    where + ": the device name '" + name + "' is taken by backend " + e.listing.backend +
                        (e.listing.library.empty() ? "" : " of " + e.listing.library));
    for (const Entry& e : fresh)
      if (e.listing.name == name)
        throw Error(ErrorCode::invalid_argument, where + ": two of its devices are called '" + name + "'");
    fresh.push_back({{name, printable(plugin->name), printable(plugin->version), library}, plugin, i});
  }
  entries_.insert(entries_.end(), fresh.begin(), fresh.end());
}

void Registry::load(const std::string& file) {
  std::error_code code;
  const std::string path = std::filesystem::weakly_canonical(file, code).string();
  const std::string& name = code ? file : path;
  {
    const std::lock_guard lock(mutex_);
    for (const Entry& e : entries_)
      if (e.listing.library == name) return;  // loaded already
  }
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: libraries keep threads
  if (library == nullptr) throw Error(ErrorCode::io, "cannot load plugin " + file + ": " + dlerror());
  using Entrypoint = const hd_plugin* (*)();
  const auto entry = reinterpret_cast<Entrypoint>(dlsym(library, "heddle_plugin_v1"));
  if (entry == nullptr)
    throw Error(ErrorCode::io, "plugin " + file + " exports no heddle_plugin_v1; is it a Heddle backend?");
  add(guarded("plugin " + file + ", heddle_plugin_v1", entry), name);
}

std::vector<DeviceListing> Registry::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<DeviceListing> listings;
  for (const Entry& e : entries_) listings.push_back(e.listing);
  return listings;
}

DevicePtr Registry::open(const std::string& spec) {
  const size_t colon = spec.find(':');
  const std::string name = spec.substr(0, colon);
  const std::string options = colon == std::string::npos ? "" : spec.substr(colon + 1);
  const hd_plugin* plugin = nullptr;
  uint32_t index = 0;
  std::string names;
  {
    const std::lock_guard lock(mutex_);
    if (DevicePtr open = opened_[spec].lock()) return open;
    for (const Entry& e : entries_) {
      names += (names.empty() ? "" : ", ") + e.listing.name;
      if (e.listing.name == name) plugin = e.plugin, index = e.index;
    }
  }
  if (plugin == nullptr)
    throw Error(ErrorCode::not_found, "there is no device '" + name + "'; the devices are: " + names);
  hd_status status{};
  status.size = sizeof(status);
  hd_device* device = nullptr;
  const hd_device_vtable* vtable = nullptr;
  const std::string opening = "cannot open device " + spec;
  const int32_t code = guarded(
      opening, [&] { return plugin->open(index, options.c_str(), &host(), &device, &vtable, &status); });
  if (code != HD_OK)
    throw Error(code >= HD_ERROR_INVALID_ARGUMENT && code <= HD_ERROR_INTERNAL ? static_cast<ErrorCode>(code)
                                                                               : ErrorCode::device,
                opening + ": " +
                    (status.text[0] ? printable_field(status.text, sizeof(status.text)) : "no reason given"));
  if (device == nullptr || vtable == nullptr)
    throw Error(ErrorCode::device, opening +
                                       ": open() succeeded and gave no device; please report it to the "
                                       "backend's author");
  auto opened = std::make_shared<OpenDevice>(device, vtable, spec);
  const std::lock_guard lock(mutex_);
  opened_[spec] = opened;
  return opened;
}

}  // namespace heddle::device

namespace heddle {

Device Device::open(const std::string& spec) {
  Device d;
  d.impl_ = device::Registry::instance().open(spec);
  return d;
}
namespace {

device::OpenDevice& opened(const std::shared_ptr<device::OpenDevice>& device) {
  if (device == nullptr)
    throw Error(ErrorCode::invalid_argument,
                "a Device that is not open was used; make one with Device::open");
  return *device;
}

}  // namespace

const std::string& Device::name() const { return opened(impl_).name(); }
const std::string& Device::spec() const { return opened(impl_).spec(); }
const std::string& Device::description() const { return opened(impl_).description(); }
Clock Device::clock() const { return opened(impl_).simulated() ? Clock::simulated : Clock::wall; }
bool Device::computes() const { return opened(impl_).computes(); }
uint64_t Device::memory_bytes() const { return opened(impl_).memory_bytes(); }
void Device::trim() { opened(impl_).trim(); }

std::vector<DeviceListing> list_devices() { return device::Registry::instance().list(); }
void load_plugin(const std::string& file) { device::Registry::instance().load(file); }

}  // namespace heddle
