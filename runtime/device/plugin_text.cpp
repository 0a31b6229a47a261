#include "device/plugin_text.h"

#include <algorithm>
#include <cstring>
#include <exception>

namespace heddle::device {
namespace {

// Bytes of the well-formed UTF-8 sequence that begins `text`; 0 when none does (Unicode 15, table 3-7).
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool outside = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  return overlong || outside ? 0 : length;
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) {
      clean += '?';
    } else if (length == 1 && is_control(text[0])) {
      clean += ' ';
    } else {
      clean += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return clean;
}

std::string printable(const char* text) { return text != nullptr ? printable(std::string_view(text)) : ""; }

std::string printable_field(const char* field, size_t room) {
  return printable(std::string_view(field, strnlen(field, room)));
}

std::string thrown_text() {
  const std::string what = "it threw an exception, which the device contract forbids: ";
  try {
    throw;
  } catch (const std::exception& e) {
    return what + printable(e.what());
  } catch (...) {
    return what + "it is no std::exception and says no more";
  }
}

}  // namespace heddle::device
