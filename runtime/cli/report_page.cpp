#include "cli/report_page.h"

#include "io/file.h"

namespace heddle::cli {

void add_report_option(CLI::App& command, std::string& file) {
  command
      .add_option(
          "--report", file,
          "Write one self-contained page with timeline, roofline, shares of each engine and a table of ops")
      ->type_name("FILE.html");
}

void expect_report_file(const std::string& file) {
  if (!file.empty()) io::expect_replaceable(file);
}

void write_report(const std::string& file, const systolic::Page& page) {
  io::FileReplacement replacement(file);
  replacement.write(systolic::html_page(page));
  replacement.commit();
}

}  // namespace heddle::cli
