// Errors: every failure of the C++ API is a heddle::Error; nothing aborts the process.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace heddle {

// The reason a call failed, for programs. Values equal HD_ERROR_* of device_abi.h and never change.
enum class ErrorCode : int32_t {
  invalid_argument = 1,  // a value the function does not take: bad name, bad attribute, bad option
  shape_mismatch = 2,    // shapes that do not fit each other or the operation
  dtype_mismatch = 3,    // dtypes that do not fit each other or the operation
  unsupported = 4,       // understood, but no device in use offers it
  not_found = 5,         // a device, op, variable, input or file that does not exist
  out_of_memory = 6,     // the host's or a device's memory (HBM, SBUF, PSUM) is exhausted
  io = 7,                // the operating system refused to read or write
  corrupt = 8,           // bytes that are not what their format says
  device = 9,            // a device failed while compiling or running
  poisoned = 10,         // a variable that a failed run left half-written; reload it
  cancelled = 11,        // the caller cancelled the run
  internal = 12,         // a broken promise inside Heddle or a plugin: please report it
};

// "shape_mismatch" and so on.
const char* error_code_name(ErrorCode code);

// what() is one sentence: what happened, where (node, op, shapes, device, file, byte) and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& text) : std::runtime_error(text), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace heddle
