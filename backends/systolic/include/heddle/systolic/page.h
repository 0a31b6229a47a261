// Reports as one self-contained HTML page: pictures are inline SVG, nothing is loaded from elsewhere. Every
// page is stamped as simulated.
//
//   Page page{.title = "softmax on trn1", .runs = {{"softmax", program.report()}}};
//   write(html_page(page));
#pragma once

#include <string>
#include <vector>

namespace heddle::systolic {

struct PageTable {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // the first column is text, the others are numbers
};

// Lines over a common horizontal axis; points that are not finite are left out.
struct PageChart {
  struct Line {
    std::string name;
    std::vector<double> x, y;
  };
  std::string title, x_label, y_label;
  std::vector<Line> lines;
};

// A simulated run: timeline, roofline, shares, critical path and table of nodes.
struct PageRun {
  std::string title;
  std::string report;  // of Program::report()
};

struct Page {
  std::string title, subtitle;
  std::vector<PageTable> tables;
  std::vector<PageChart> charts;
  std::vector<PageRun> runs;
};

// Throws Error (corrupt) when a run's report is none.
std::string html_page(const Page& page);

}  // namespace heddle::systolic
