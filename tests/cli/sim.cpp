// heddle sim: questions to the simulated NeuronCore, for people and with --json for programs.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/cli/run_command.h"

using namespace heddle::test;
using nlohmann::json;

namespace {

constexpr int failure = 1, usage = 2;
constexpr const char* stamp = "simulated; calibrated on public figures, never run on Trainium";

std::string output_of(const std::vector<std::string>& arguments) {
  const CommandResult result = run_command(arguments);
  INFO(result.error);
  REQUIRE(result.status == 0);
  return result.out;
}

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

void expect_refusal(const std::vector<std::string>& arguments, int status, const std::string& part) {
  CAPTURE(arguments);
  const CommandResult result = run_command(arguments);
  CHECK(result.status == status);
  CHECK_THAT(result.error, ContainsSubstring(part));
  CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  CHECK(result.out.empty());
}

std::vector<std::string> gemm(const std::vector<std::string>& more) {
  return joined({"sim", "gemm", "--m", "128", "--n", "256", "--k", "384"}, more);
}

double share_sum(const json& shares) {
  double sum = 0;
  for (const auto& [name, share] : shares.items()) sum += share.get<double>();
  return sum;
}

}  // namespace

TEST_CASE("sim commands have help with an example", "[cli]") {
  CHECK_THAT(output_of({"sim", "--help"}), ContainsSubstring("Example: heddle sim "));
  for (const char* command : {"gemm"})
    CHECK_THAT(output_of({"sim", command, "--help"}),
               ContainsSubstring(std::string("Example: heddle sim ") + command));
}

TEST_CASE("sim gemm: one document with cycles, time, utilization and shares", "[cli]") {
  for (const char* model : {"trn", "overlap", "scalesim"}) {
    CAPTURE(model);
    const json d = json::parse(output_of(gemm({"--pe-model", model, "--json"})));
    CHECK(d.at("note") == stamp);
    CHECK(d.at("pe_model") == model);
    CHECK(d.at("time_us").get<double>() > 0);
    const double utilization = d.at("utilization").get<double>();
    CHECK(utilization > 0);
    CHECK(utilization <= 1);
    CHECK(d.at("simulation_wall_us").get<double>() > 0);
    CHECK(d.at("engines").size() == 5);
    for (const auto& [engine, shares] : d.at("engines").items()) {
      CAPTURE(engine);
      CHECK(share_sum(shares) == Approx(100).margin(1e-6));
    }
    CHECK_FALSE(d.contains("functional_wall_us"));
  }
  // 128 rows through 3 x 2 tiles, by hand.
  CHECK(json::parse(output_of(gemm({"--json"}))).at("pe_cycles") == 6 * 128);
  CHECK(json::parse(output_of(gemm({"--json", "--dtype", "f32"}))).at("pe_cycles") == 4 * 6 * 128);
  CHECK(json::parse(output_of(gemm({"--json", "--pe-model", "overlap"}))).at("pe_cycles") ==
        255 + 5 * 128 + 254 + 128);
  CHECK(json::parse(output_of(gemm({"--json", "--pe-model", "scalesim"}))).at("pe_cycles") == 6 * 510 - 1);
  CHECK_THAT(output_of(gemm({})), ContainsSubstring(stamp));
  CHECK_THAT(output_of(gemm({})), ContainsSubstring("waiting for DMA"));
}

TEST_CASE("sim gemm: the machine takes longer than its array, and computes when asked", "[cli]") {
  const json d = json::parse(output_of(gemm({"--json", "--functional"})));
  CHECK(d.at("time_us").get<double>() > d.at("pe_cycles").get<double>() / 2.8e3);
  CHECK(d.at("functional_wall_us").get<double>() > 0);
}

TEST_CASE("sim gemm: numbers of the device file can be changed in the device's name", "[cli]") {
  const auto time = [](const std::string& device) {
    return json::parse(output_of(gemm({"--json", "--device", device}))).at("time_us").get<double>();
  };
  CHECK(time("trn1:dma.gbps=5") > time("trn1"));
  const auto closed = [](const std::string& device) {
    return json::parse(output_of(gemm({"--json", "--pe-model", "overlap", "--device", device})))
        .at("time_us")
        .get<double>();
  };
  CHECK(closed("trn1:pe.ghz=1.4") == Approx(2 * closed("trn1")));
}

TEST_CASE("sim: command lines that cannot be meant", "[cli]") {
  expect_refusal({"sim"}, usage, "subcommand is required");
  expect_refusal({"sim", "weave"}, usage, "there is no subcommand 'weave'; there are: gemm");
  expect_refusal({"sim", "gemm", "--m", "1", "--n", "1"}, usage, "--k");
  expect_refusal({"sim", "gemm", "--m", "0", "--n", "1", "--k", "1"}, usage, "--m");
  expect_refusal(gemm({"--dtype", "int8"}), usage, "--dtype");
  expect_refusal(gemm({"--pe-model", "guess"}), usage, "--pe-model");
  expect_refusal(gemm({"--device", "cpu"}), usage, "trn1, trn2, trn3, systolic:FILE.toml; not 'cpu'");
  expect_refusal(gemm({"--device", "trn9"}), usage, "trn9");
  expect_refusal(gemm({"--device", "trn1:speed=2"}), usage, "speed");
  expect_refusal(gemm({"--device", "trn1:dma.speed=2"}), usage, "dma.speed");
  expect_refusal(gemm({"--device", "trn1:dma.gbps=fast"}), usage, "dma.gbps=fast is not a number");
  expect_refusal(gemm({"--device", "trn1:dma.gbps=-1"}), usage, "gbps");
  expect_refusal(gemm({"--device", "systolic:none.toml"}), usage, "none.toml");
  expect_refusal({"sim", "gemm", "--m", "1000000", "--n", "1000000", "--k", "1000000"}, usage,
                 "too large to simulate");
}
