// Columns of text for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heddle::plan {

// Rows under a header line; every column as wide as its widest cell, two spaces between columns, numbers to
// the right.
class TextTable {
 public:
  enum class Align : uint8_t { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // One cell per column.
  void row(std::vector<std::string> cells) { lines_.push_back({std::move(cells), {}}); }
  // A line of its own under the last row, which does not widen the columns.
  void note(std::string text) { lines_.push_back({{}, std::move(text)}); }
  // Ends with a new line; empty when there are no rows.
  std::string text() const;

 private:
  struct Line {
    std::vector<std::string> cells;
    std::string note;
  };
  std::vector<Column> columns_;
  std::vector<Line> lines_;
};

// Three digits and a unit: "0", "512 B", "1.50 KiB", "12.3 MiB".
std::string bytes_text(double bytes);
// Three digits and a prefix: "0", "834", "1.50 k", "12.3 M", "2.10 G".
std::string count_text(double count);

}  // namespace heddle::plan
