// What device_abi.h asks of every device, whatever ops it offers.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "conformance/case.h"
#include "device/open_device.h"
#include "heddle/conformance.h"

namespace heddle::conformance {

struct ContractCase {
  const char* id;
  // Throws Error with what is wrong.
  void (*prove)(const device::DevicePtr& device);
  // The same for cases that need a program; `probe` is one that the device offers.
  void (*prove_with)(const device::DevicePtr& device, const Problem& probe);
};

const std::vector<ContractCase>& contract_cases();
std::vector<ContractCase> memory_contract();
std::vector<ContractCase> program_contract();

// The first graph case whose every node the device offers; a case that only moves data tells little.
std::optional<Problem> find_probe(const device::OpenDevice& device);

Result run_contract_case(const device::DevicePtr& device, const ContractCase& c,
                         const std::optional<Problem>& probe);

// Throws internal with `what`, a sentence about the device, unless `holds`.
void expect(bool holds, const std::string& what);
// Thrown by a case that does not apply; the text says why.
class NotApplicable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace heddle::conformance
