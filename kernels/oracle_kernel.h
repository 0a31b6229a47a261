// The double-precision reference of an op as a backend kernel: what the reference device is made of, and what
// any in-tree device falls back on for ops that it has no faster kernel for. Allocates while it runs.
#pragma once

#include <string>

#include "heddle/backend/kernel.h"
#include "heddle/schema.h"

namespace heddle {

// `prefix`: "reference" names the kernel "reference.softmax".
backend::Kernel oracle_kernel(const OpSchema& op, const backend::NodeRef& node, const std::string& prefix);

}  // namespace heddle
