// How a broken rule of the hardware is reported: instruction, kernel source line, rule.
#pragma once

#include <source_location>
#include <string>

#include "heddle/error.h"

namespace heddle::systolic {

// "kernels/softmax.cpp:42"
std::string place(std::source_location where);
// Throws "WHAT at FILE:LINE: RULE".
[[noreturn]] void refuse(std::source_location where, const std::string& what, const std::string& rule,
                         ErrorCode code = ErrorCode::invalid_argument);

}  // namespace heddle::systolic
