// The kernel files beside this header, built into the library. CMake writes builtin_kernel_files from them.
#pragma once

#include <span>

namespace heddle::systolic::replay {

struct BuiltinKernel {
  const char* name;
  const char* text;
};

std::span<const BuiltinKernel> builtin_kernel_files();

}  // namespace heddle::systolic::replay
