// What a subcommand gives to whoever called it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace heddle::cli {

// Writes to standard output; throws Error (io) when it cannot be written.
void print(std::string_view text);
// The one document of --json.
void print_document(const nlohmann::ordered_json& document);

}  // namespace heddle::cli
