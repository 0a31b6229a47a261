// docs/systolic.md lists every assumption of the device files, and nothing else. With HEDDLE_WRITE_DOCS set,
// the list is written instead of compared.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"

namespace {

constexpr const char* open_mark = "<!-- assumptions -->\n";
constexpr const char* close_mark = "<!-- /assumptions -->\n";

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

struct Assumption {
  std::string key, values, why;
};

// "trn1 16" and trn2: "trn1, trn2 16".
std::string device_too(const std::string& values, const std::string& device) {
  const size_t last = values.rfind("trn");
  return values.substr(0, last + 4) + ", " + device + values.substr(last + 4);
}

// Lines "key = value  # ... [A] why", and comment lines "# [A] why" in front of a key.
void collect(const std::filesystem::path& file, std::vector<Assumption>& all) {
  std::ifstream in(file);
  std::string line, section, pending;
  const std::string device = file.stem().string();
  while (std::getline(in, line)) {
    if (!line.empty() && line[0] == '[') section = line.substr(1, line.find(']') - 1);
    const size_t hash = line.find('#');
    const std::string comment = hash == std::string::npos ? "" : line.substr(hash + 1);
    const std::string code = trimmed(line.substr(0, hash));
    const size_t mark = comment.find("[A]"), equals = code.find(" = ");
    std::string why = mark == std::string::npos ? "" : trimmed(comment.substr(mark + 3));
    if (code.empty() && mark != std::string::npos &&
        comment.find("[A] is an assumption") == std::string::npos)
      pending = why;
    if (equals == std::string::npos) continue;
    if (mark == std::string::npos && pending.empty()) continue;
    if (why.empty()) why = std::exchange(pending, "");
    const std::string key = section + "." + code.substr(0, equals);
    std::string value = code.substr(equals + 3);
    if (value[0] == '[') value = "a list";
    if (value[0] == '{') {  // both columns: { documented = 8, calibrated = 1 }
      const size_t comma = value.find(','), second = value.rfind("= ");
      value = value.substr(value.find("= ") + 2, comma - value.find("= ") - 2) + " documented, " +
              trimmed(value.substr(second + 2, value.find('}') - second - 2)) + " calibrated";
    }
    const auto same = std::find_if(all.begin(), all.end(), [&](const Assumption& a) { return a.key == key; });
    if (same == all.end()) {
      all.push_back({key, device + " " + value, why});
    } else {
      same->values = same->values.ends_with(" " + value) ? device_too(same->values, device)
                                                         : same->values + "; " + device + " " + value;
      if (same->why.empty()) same->why = why;
    }
  }
}

std::string table_of(const std::vector<Assumption>& all) {
  std::string text = "| key | value | |\n|---|---|---|\n";
  for (const Assumption& a : all) text += "| `" + a.key + "` | " + a.values + " | " + a.why + " |\n";
  return text;
}

}  // namespace

TEST_CASE("the guide lists every assumption of the device files") {
  const std::filesystem::path root = HEDDLE_SOURCE_DIR;
  std::vector<Assumption> all;
  for (const char* device : {"trn1", "trn2", "trn3"})
    collect(root / "backends/systolic/devices" / (std::string(device) + ".toml"), all);
  REQUIRE(all.size() > 10);
  const std::filesystem::path guide = root / "docs/systolic.md";
  std::ifstream in(guide);
  std::stringstream buffer;
  buffer << in.rdbuf();
  const std::string text = buffer.str();
  const size_t begin = text.find(open_mark), end = text.find(close_mark);
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  const size_t at = begin + std::string(open_mark).size();
  if (std::getenv("HEDDLE_WRITE_DOCS") != nullptr) {
    std::ofstream(guide) << text.substr(0, at) << table_of(all) << text.substr(end);
    return;
  }
  INFO("HEDDLE_WRITE_DOCS=1 heddle_test_docs writes it anew");
  CHECK(text.substr(at, end - at) == table_of(all));
}
