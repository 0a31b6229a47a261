// The op reference for people: docs/ops.md.
#pragma once

#include <string>

namespace heddle {

// Markdown with every op by family, its operands, results, attributes and gradient, and the table of scalar
// steps.
std::string ops_markdown();

}  // namespace heddle
