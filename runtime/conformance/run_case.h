// One case on one device.
#pragma once

#include "conformance/case.h"
#include "device/open_device.h"
#include "heddle/conformance.h"

namespace heddle::conformance {

Result run_case(const device::DevicePtr& device, const Case& c);

}  // namespace heddle::conformance
