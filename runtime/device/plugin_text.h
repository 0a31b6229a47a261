// Text that a backend gave, which may be anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace heddle::device {

// The text as UTF-8 that can be printed: bytes that are no UTF-8 become '?', control characters other than
// newlines and tabs become spaces.
std::string printable(std::string_view text);
// The same of a C string; "" for null.
std::string printable(const char* text);
// The same of a field of `room` bytes, whether or not it ends with NUL inside.
std::string printable_field(const char* field, size_t room);

// "it threw an exception, which the device contract forbids: why". Called inside a catch of anything.
std::string thrown_text();

}  // namespace heddle::device
