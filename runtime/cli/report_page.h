// --report FILE.html: one self-contained page about simulated runs.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "heddle/systolic/page.h"

namespace heddle::cli {

void add_report_option(CLI::App& command, std::string& file);
// Before long work: throws when the file cannot be written. Nothing for an empty name.
void expect_report_file(const std::string& file);
void write_report(const std::string& file, const systolic::Page& page);

}  // namespace heddle::cli
