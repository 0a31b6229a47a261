// Device options: what follows the colon in "cpu:threads=1".
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heddle/backend/failure.h"

namespace heddle::backend {

// What follows the colon in "cpu:threads=1,numerics=off": comma-separated key=value; a lone word is the key
// "".
class Options {
 public:
  explicit Options(std::string_view text) {
    while (!text.empty()) {
      const size_t comma = text.find(',');
      const std::string_view item = text.substr(0, comma);
      const size_t equals = item.find('=');
      if (equals == std::string_view::npos)
        entries_.emplace("", item);
      else
        entries_.emplace(item.substr(0, equals), item.substr(equals + 1));
      text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    }
  }
  std::string get(const std::string& key, const std::string& fallback) const {
    const auto it = entries_.find(key);
    return it == entries_.end() ? fallback : it->second;
  }
  int64_t integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) const {
    const auto it = entries_.find(key);
    if (it == entries_.end()) return fallback;
    const char *const begin = it->second.data(), *const end = begin + it->second.size();
    int64_t v = 0;
    const auto [stop, problem] = std::from_chars(begin, end, v);
    if (problem != std::errc() || stop != end || v < low || v > high)
      throw Failure(HD_ERROR_INVALID_ARGUMENT, "option " + key + "=" + it->second +
                                                   " is not a whole number from " + std::to_string(low) +
                                                   " to " + std::to_string(high));
    return v;
  }
  // Takes out the entries whose key has a dot, "section.key=1.5", as numbers.
  std::vector<std::pair<std::string, double>> take_dotted_numbers() {
    std::vector<std::pair<std::string, double>> taken;
    for (auto it = entries_.begin(); it != entries_.end();) {
      if (it->first.find('.') == std::string::npos) {
        ++it;
        continue;
      }
      char* end = nullptr;
      const double number = std::strtod(it->second.c_str(), &end);
      if (it->second.empty() || *end != 0 || !std::isfinite(number))
        throw Failure(HD_ERROR_INVALID_ARGUMENT,
                      "option " + it->first + "=" + it->second + " is not a number");
      taken.emplace_back(it->first, number);
      it = entries_.erase(it);
    }
    return taken;
  }
  // Throws unless every given key is one of `known`.
  void expect(std::initializer_list<const char*> known) const {
    for (const auto& [key, value] : entries_) {
      if (entries_.count(key) > 1)
        throw Failure(HD_ERROR_INVALID_ARGUMENT, key.empty()
                                                     ? "option '" + value + "' comes beside another name"
                                                     : "option " + key + " is given twice");
      if (std::any_of(known.begin(), known.end(), [&k = key](const char* x) { return k == x; })) continue;
      std::string list;
      for (const char* k : known) list += std::string(list.empty() ? "" : ", ") + (*k ? k : "FILE");
      throw Failure(HD_ERROR_INVALID_ARGUMENT, "unknown option '" + (key.empty() ? value : key) +
                                                   "'; the device takes " + (list.empty() ? "none" : list));
    }
  }
  void expect_none() const { expect({}); }

 private:
  std::multimap<std::string, std::string> entries_;
};

}  // namespace heddle::backend
