// Code in the guides is code of the examples: a block under a comment that names a file stands in that file
// as it is; README.md counts as a guide. The files themselves are compiled and run by the install test.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

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
  std::vector<std::filesystem::path> guides = {root / "README.md"};
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") guides.push_back(entry.path());
  for (const auto& path : guides) {
    const std::string guide = contents(path);
    // C++ that names no file would be held to nothing.
    for (size_t at = guide.find("```cpp"); at != std::string::npos; at = guide.find("```cpp", at + 1)) {
      INFO(path.filename().string() << ", byte " << at
                                    << ": name the file of this block in a comment above it");
      CHECK(guide.compare(at - 5, 5, " -->\n") == 0);
    }
    for (size_t at = guide.find(open); at != std::string::npos; at = guide.find(open, at + 1)) {
      const size_t name_end = guide.find(close, at);
      if (name_end == std::string::npos || guide.find('\n', at) < name_end) continue;
      const std::string file = guide.substr(at + open.size(), name_end - at - open.size());
      const size_t begin = guide.find('\n', name_end + close.size()) + 1, end = guide.find("```", begin);
      const std::string block = guide.substr(begin, end - begin);
      INFO(path.filename().string() << " quotes " << file << ":\n" << block);
      CHECK(contents(root / file).find(block) != std::string::npos);
      ++blocks;
    }
  }
  REQUIRE(blocks > 0);
}

TEST_CASE("the code in backend.h's comment is the toy's") {
  const std::filesystem::path root = HEDDLE_SOURCE_DIR;
  std::istringstream header(contents(root / "runtime/include/heddle/backend.h"));
  const auto squeezed = [](const std::string& text) {
    std::string kept;
    for (const char c : text)
      if (c != ' ' && c != '\n') kept += c;
    return kept;
  };
  const std::string toy = squeezed(contents(root / "examples/backend_toy/toy.cpp"));
  size_t lines = 0;
  for (std::string line; std::getline(header, line) && line != "#pragma once";) {
    if (!line.starts_with("//   ")) continue;
    INFO(line);
    CHECK(toy.find(squeezed(line.substr(5))) != std::string::npos);
    ++lines;
  }
  CHECK(lines > 5);
}
