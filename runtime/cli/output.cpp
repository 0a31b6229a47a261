#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "heddle/error.h"

namespace heddle::cli {

void print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    throw Error(ErrorCode::io, "cannot write to standard output: " + std::generic_category().message(errno));
  }
}

void print_document(const nlohmann::ordered_json& document) {
  // Names may come from files and plugins: what is not UTF-8 is replaced.
  print(document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n');
}

}  // namespace heddle::cli
