// A device with one kernel, matmul, that can be made wrong: what the kit must notice.
#pragma once

#include <string>

#include "heddle/device.h"

namespace heddle::test {

// "none" is a correct device; the others are listed in faulty_device.cpp.
Device open_faulty(const std::string& fault);

}  // namespace heddle::test
