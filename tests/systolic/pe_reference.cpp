// Every row of the reference table systolic_gemm_cycles.csv, under the three rules. The table is not part of
// the source: configure with -D HEDDLE_REFERENCE_DATA=FOLDER, or set the environment variable of that name;
// CTest reports the test as skipped without it.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "heddle/systolic/pe_model.h"
#include "tests/catch.h"

using namespace heddle;
using namespace heddle::systolic;

namespace {

std::string reference_file() {
  const char* folder = std::getenv("HEDDLE_REFERENCE_DATA");
  return std::string(folder != nullptr ? folder : HEDDLE_REFERENCE_DATA) + "/systolic_gemm_cycles.csv";
}

}  // namespace

TEST_CASE("every row of the reference table", "[systolic]") {
  std::ifstream file(reference_file());
  if (!file) {
    WARN("SKIPPED: '" << reference_file() << "' is not there; point HEDDLE_REFERENCE_DATA at its folder");
    return;
  }
  const PeDescription pe = load_description("trn1").pe;
  std::string line;
  std::getline(file, line);
  REQUIRE(line.starts_with("M,N,K,scalesim_cycles,overlap_cycles,trn_bf16_cycles"));
  int rows = 0;
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream numbers(line);
    Gemm gemm;
    int64_t scalesim = 0, overlap = 0, trn = 0;
    REQUIRE(numbers >> gemm.m >> gemm.n >> gemm.k >> scalesim >> overlap >> trn);
    CAPTURE(gemm.m, gemm.n, gemm.k);
    CHECK(pe_cycles(PeModel::scalesim, gemm, DType::bfloat16, pe) == scalesim);
    CHECK(pe_cycles(PeModel::overlap, gemm, DType::bfloat16, pe) == overlap);
    CHECK(pe_cycles(PeModel::trn, gemm, DType::bfloat16, pe) == trn);
    ++rows;
  }
  CHECK(rows >= 18);
}
