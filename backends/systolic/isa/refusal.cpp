#include "systolic/isa/refusal.h"

#include <string_view>

namespace heddle::systolic {

std::string place(std::source_location where) {
  std::string_view file = where.file_name();
  // The two last parts tell kernels apart; where the sources lay when they were compiled does not matter.
  size_t cut = file.rfind('/');
  if (cut != std::string_view::npos && cut > 0) cut = file.rfind('/', cut - 1);
  if (cut != std::string_view::npos) file.remove_prefix(cut + 1);
  return std::string(file) + ":" + std::to_string(where.line());
}

void refuse(std::source_location where, const std::string& what, const std::string& rule, ErrorCode code) {
  throw Error(code, what + " at " + place(where) + ": " + rule);
}

}  // namespace heddle::systolic
