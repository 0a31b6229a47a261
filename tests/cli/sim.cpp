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
  for (const char* command : {"gemm", "model"})
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

TEST_CASE("sim model: time, throughput, memory and the tables of a small GPT-2", "[cli]") {
  const auto model = [](const std::vector<std::string>& more) {
    return joined({"sim", "model", "--preset", "gpt2", "--layers", "2", "--seq", "128"}, more);
  };
  const json d =
      json::parse(output_of(model({"--device", "trn1", "--device", "trn2", "--batch", "2", "--json"})));
  CHECK(d.at("note") == stamp);
  REQUIRE(d.at("devices").size() == 2);
  for (const json& device : d.at("devices")) {
    CAPTURE(device.at("device"));
    const double seconds = device.at("time_per_step_ms").get<double>() / 1e3;
    CHECK(device.at("tokens_per_s").get<double>() == Approx(256 / seconds));
    CHECK(device.at("mfu_percent").get<double>() > 0);
    CHECK(device.at("mfu_percent").get<double>() < 100);
    CHECK(device.at("usd_per_million_tokens").get<double>() ==
          Approx(device.at("usd_per_core_hour").get<double>() / 3600 * seconds / 256 * 1e6));
    double share = 0, sum = 0;
    for (const json& part : device.at("parts")) {
      share += part.at("share_percent").get<double>();
      sum += part.at("time_us").get<double>() * part.at("repeat").get<double>() / 1e6;
    }
    CHECK(share == Approx(100));
    CHECK(sum == Approx(seconds));
    CHECK(device.at("parts").at(1).at("repeat") == 2);
    CHECK(device.at("memory").at("fits") == true);
    CHECK(device.at("memory").at("weights_bytes").get<double>() == 2 * d.at("parameters").get<double>());
    CHECK(device.at("memory").at("optimizer_bytes") == 0);
  }
  const std::string text = output_of(model({}));
  for (const char* part : {stamp, "tokens/s", "MFU", "$/M tokens", "bound by", "layer/attention"})
    CHECK_THAT(text, ContainsSubstring(part));

  // A training step takes longer, keeps optimizer state, and may not fit.
  const json train =
      json::parse(output_of(model({"--train", "--device", "trn1:hbm.gib=1", "--batch", "2", "--json"})));
  const json& step = train.at("devices").at(0);
  CHECK(step.at("time_per_step_ms").get<double>() >
        d.at("devices").at(0).at("time_per_step_ms").get<double>());
  const json& memory = step.at("memory");
  CHECK(memory.at("optimizer_bytes").get<double>() > 8 * train.at("parameters").get<double>() - 1);
  CHECK(memory.at("activation_bytes").get<double>() > 0);
  CHECK(memory.at("fits") == false);
  CHECK_THAT(memory.at("verdict").get<std::string>(), ContainsSubstring("does not fit"));

  // Timing each distinct part once is close to compiling the whole.
  const auto step_ms = [&](const std::vector<std::string>& more) {
    return json::parse(output_of(model(joined({"--json"}, more))))
        .at("devices")
        .at(0)
        .at("time_per_step_ms")
        .get<double>();
  };
  CHECK(step_ms({"--whole"}) == Approx(step_ms({})).epsilon(0.1));
  CHECK(step_ms({"--dtype", "f32"}) > step_ms({}));
}

TEST_CASE("sim model: a number of the device file can be swept, and the page shows it", "[cli]") {
  const TemporaryFolder folder;
  const std::string file = folder / "report.html";
  const std::vector<std::string> bert = {"sim",      "model", "--preset", "bert-base",
                                         "--layers", "1",     "--seq",    "64"};
  const json d =
      json::parse(output_of(joined(bert, {"--sweep", "dma.gbps=6.8,27.2", "--report", file, "--json"})));
  const json& points = d.at("sweep").at(0).at("points");
  REQUIRE(points.size() == 2);
  CHECK(points.at(0).at("time_per_step_ms").get<double>() >
        points.at(1).at("time_per_step_ms").get<double>());
  CHECK(points.at(1).at("time_per_step_ms").get<double>() ==
        Approx(d.at("devices").at(0).at("time_per_step_ms").get<double>()));
  const std::string page = heddle::io::read_file(file, 1 << 28);
  for (const char* part :
       {"<!DOCTYPE html>", stamp, "<svg", "Roofline", "Timeline", "dma.gbps", "layer/attention", "</html>"})
    CHECK_THAT(page, ContainsSubstring(part));
  for (const char* outside : {"http://", "https://", "<script", "<link", "<img"})
    CHECK_THAT(page, !ContainsSubstring(outside));
  CHECK_THAT(output_of(joined(bert, {"--sweep", "pe.ghz=1.4,2.8"})), ContainsSubstring("####"));
}

TEST_CASE("reports of a product and of a training run are pages", "[cli]") {
  const TemporaryFolder folder;
  output_of(gemm({"--report", folder / "gemm.html"}));
  CHECK_THAT(heddle::io::read_file(folder / "gemm.html", 1 << 28), ContainsSubstring("matmul_0"));
  output_of(tiny_training({"--device", "trn1", "--steps", "3", "--report", folder / "train.html"}));
  const std::string page = heddle::io::read_file(folder / "train.html", 1 << 28);
  for (const char* part : {stamp, "Loss", "A step on trn1", "adamw", "polyline"})
    CHECK_THAT(page, ContainsSubstring(part));
  expect_refusal(gemm({"--report", "/no/such/folder/x.html"}), failure, "No such file");
  expect_refusal(gemm({"--report", folder / "x.html", "--pe-model", "overlap"}), usage, "--pe-model trn");
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
  expect_refusal({"sim", "model"}, usage, "--preset");
  expect_refusal({"sim", "model", "--preset", "gpt9"}, usage, "there is no model 'gpt9'; there are: gpt2, ");
  expect_refusal({"sim", "model", "x.onnx"}, usage, "ONNX");
  expect_refusal({"sim", "model", "--preset", "gpt2", "--seq", "5000"}, usage, "the context of gpt2, 1024");
  for (const char* sweep : {"dma", "dma.gbps", "dma.gbps=", "dma.gbps=fast", "speed=1"})
    expect_refusal({"sim", "model", "--preset", "gpt2", "--sweep", sweep}, usage, "--sweep takes KEY=a,b,c");
  expect_refusal(
      {"sim", "model", "--preset", "gpt2", "--layers", "1", "--seq", "8", "--sweep", "dma.speed=1"}, usage,
      "dma.speed");
}
