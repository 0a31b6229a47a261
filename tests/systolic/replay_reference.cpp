// The figures in the kernel files against the published table trn1_kernels.csv, which is not part of the
// source: configure with -D HEDDLE_REFERENCE_DATA=FOLDER, or set the environment variable of that name; CTest
// reports the test as skipped without it.
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "heddle/systolic/replay.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::systolic;

namespace {

std::string reference_file() {
  const char* folder = std::getenv("HEDDLE_REFERENCE_DATA");
  return std::string(folder != nullptr ? folder : HEDDLE_REFERENCE_DATA) + "/trn1_kernels.csv";
}

// The cells of a line; a quoted one keeps its commas and loses its quotes.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      cells.emplace_back();
    else
      cells.back() += c;
  }
  return cells;
}

}  // namespace

TEST_CASE("the kernel files carry the published figures", "[systolic][replay]") {
  std::ifstream file(reference_file());
  if (!file) {
    WARN("SKIPPED: '" << reference_file() << "' is not there; point HEDDLE_REFERENCE_DATA at its folder");
    return;
  }
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = cells_of(line);
  int rows = 0;
  for (; std::getline(file, line); ++rows) {
    std::map<std::string, std::string> cell;
    const std::vector<std::string> cells = cells_of(line);
    for (size_t i = 0; i < names.size() && i < cells.size(); ++i) cell[names[i]] = cells[i];
    const auto number = [&](const char* name) { return cell[name].empty() ? 0.0 : std::stod(cell[name]); };
    CAPTURE(cell["kernel"]);
    const Published p = load_kernel(cell["kernel"]).published();
    CHECK(p.seconds * 1e3 == Approx(number("latency_ms")).epsilon(1e-4));
    CHECK(static_cast<double>(p.hbm_read_bytes) == number("hbm_read_bytes"));
    CHECK(static_cast<double>(p.hbm_write_bytes) == number("hbm_write_bytes"));
    CHECK(p.act_active == Approx(number("scalar_engine_active_time_percent")).epsilon(1e-3));
    CHECK(p.dve_active == Approx(number("vector_engine_active_time_percent")).epsilon(1e-3));
    CHECK(p.hardware_flops == number("hardware_flops"));
    if (number("hfu_time_ms") > 0)
      CHECK(p.profile_seconds * 1e3 == Approx(number("hfu_time_ms")).epsilon(1e-3));
  }
  CHECK(rows == 8);
}
