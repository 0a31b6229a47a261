// The device files beside this header, built into the library. CMake writes builtin_device_files from them.
#pragma once

#include <array>

namespace heddle::systolic {

struct BuiltinDevice {
  const char* name;
  const char* text;
};

extern const std::array<BuiltinDevice, 3> builtin_device_files;

}  // namespace heddle::systolic
