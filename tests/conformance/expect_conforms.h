// Runs every case of the kit on a device.
#pragma once

#include <string>

#include "heddle/conformance.h"
#include "tests/catch.h"

namespace heddle::test {

// The report, for further demands.
inline conformance::Report expect_conforms(const std::string& device) {
  conformance::Report report = conformance::run(Device::open(device));
  if (!report.ok()) FAIL_CHECK(report.text());
  return report;
}

}  // namespace heddle::test
