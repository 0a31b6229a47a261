// Code in the guides is code of the examples: a block under a comment that names a file stands in that file
// as it is. The files themselves are compiled and run by the install test.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/catch.h"

namespace {

std::string contents(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every code block of the guides that names a file is a part of that file") {
  const std::filesystem::path root = HEDDLE_SOURCE_DIR;
  const std::string open = "<!-- ", close = " -->\n```";
  size_t blocks = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs")) {
    if (entry.path().extension() != ".md") continue;
    const std::string guide = contents(entry.path());
    for (size_t at = guide.find(open); at != std::string::npos; at = guide.find(open, at + 1)) {
      const size_t name_end = guide.find(close, at);
      if (name_end == std::string::npos || guide.find('\n', at) < name_end) continue;
      const std::string file = guide.substr(at + open.size(), name_end - at - open.size());
      const size_t begin = guide.find('\n', name_end + close.size()) + 1, end = guide.find("```", begin);
      const std::string block = guide.substr(begin, end - begin);
      INFO(entry.path().filename().string() << " quotes " << file << ":\n" << block);
      CHECK(contents(root / file).find(block) != std::string::npos);
      ++blocks;
    }
  }
  REQUIRE(blocks > 0);
}
