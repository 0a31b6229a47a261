#include "plan/text_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>

namespace heddle::plan {
namespace {

// The value divided by `base` until three digits show it, and how often.
std::string scaled(double value, double base, std::span<const char* const> units) {
  size_t unit = 0;
  // 999.5 would print as 1000.
  while (std::abs(value) >= (unit == 0 ? base : base * 0.9995) && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  const double size = std::abs(value);
  const int decimals = unit == 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return *units[unit] == '\0' ? text : std::string(text) + " " + units[unit];
}

}  // namespace

std::string TextTable::text() const {
  if (lines_.empty()) return "";
  std::vector<size_t> width;
  for (const Column& column : columns_) width.push_back(column.title.size());
  for (const Line& line : lines_)
    for (size_t i = 0; i < line.cells.size(); ++i) width[i] = std::max(width[i], line.cells[i].size());

  std::string text;
  const auto append = [&](const auto& cell_of) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = cell_of(i);
      const std::string space(width[i] - cell.size(), ' ');
      text += i == 0 ? "" : "  ";
      text += columns_[i].align == Align::right ? space + cell : cell + space;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  };
  append([&](size_t i) -> const std::string& { return columns_[i].title; });
  for (const Line& line : lines_) {
    if (line.cells.empty()) {
      text += line.note + '\n';
    } else {
      append([&](size_t i) -> const std::string& { return line.cells[i]; });
    }
  }
  return text;
}

std::string bytes_text(double bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return bytes == 0 ? "0" : scaled(bytes, 1024, units);
}

std::string count_text(double count) {
  static constexpr const char* units[] = {"", "k", "M", "G", "T", "P"};
  return scaled(count, 1000, units);
}

}  // namespace heddle::plan
