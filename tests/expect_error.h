// Checks that code throws a heddle::Error with a given code and text, and returns the text.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "heddle/error.h"
#include "tests/catch.h"

namespace heddle::test {

// expect_error(ErrorCode::not_found, "'batch'", [&] { dim.bind({}); });
inline std::string expect_error(ErrorCode code, std::string_view part, const std::function<void()>& f) {
  std::optional<ErrorCode> got;
  std::string text;
  try {
    f();
  } catch (const Error& e) {
    got = e.code();
    text = e.what();
  }
  INFO("text: " << text);
  if (!got) {
    FAIL_CHECK("nothing was thrown; expected " << error_code_name(code));
    return text;
  }
  CHECK(std::string(error_code_name(*got)) == error_code_name(code));
  CHECK_THAT(text, ContainsSubstring(std::string(part)));
  return text;
}

}  // namespace heddle::test
