// Numbers as the shortest text that reads back as the same number.
#pragma once

#include <charconv>
#include <string>

namespace heddle {

template <class T>
std::string number_text(T value) {
  char text[40];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

}  // namespace heddle
