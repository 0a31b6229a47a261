// Catch2, version 2 (Debian 12) or 3 (Debian 13): the only file that knows the difference. Include this,
// never catch2/.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
namespace heddle::test {
using Catch::Matchers::ContainsSubstring;
}
#else
#define CATCH_CONFIG_FAST_COMPILE
#ifdef HEDDLE_TEST_MAIN
#define CATCH_CONFIG_RUNNER
#endif
#include <catch2/catch.hpp>
namespace heddle::test {
inline auto ContainsSubstring(const std::string& text) { return Catch::Matchers::Contains(text); }
}  // namespace heddle::test
#endif
