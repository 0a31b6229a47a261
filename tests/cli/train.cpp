// heddle train, on real runs of a tiny model: resuming continues bit for bit, the document has its schema, an
// interrupt loses nothing.
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "cli/device_options.h"
#include "heddle/checkpoint.h"
#include "tests/catch.h"
#include "tests/cli/run_command.h"

using namespace heddle::test;
using nlohmann::json;

namespace {

std::string bytes_of(const std::string& file) { return heddle::io::read_file(file, uint64_t{1} << 30); }

void write(const std::string& file, const std::string& contents) {
  heddle::io::FileReplacement replacement(file);
  replacement.write(contents);
  replacement.commit();
}

CommandResult succeed(const std::vector<std::string>& arguments) {
  const CommandResult result = run_command(arguments);
  INFO(result.error);
  REQUIRE(result.status == 0);
  return result;
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The devices of this build that are compared with each other.
std::vector<std::string> devices() { return heddle::cli::existing_devices({"reference", "cpu", "trn1"}); }

}  // namespace

TEST_CASE("a resumed run ends bit for bit where an unbroken one does", "[cli][train]") {
  const TemporaryFolder folder;
  write(folder / "text", std::string(300, 'a') + "some text to learn, with enough of it that rows differ" +
                             std::string(300, 'z'));
  const std::vector<std::vector<std::string>> variants = {
      {"--digits", "2"},
      {"--digits", "1", "--optimizer", "adam", "--norm", "rms", "--positions", "rope"},
      {"--digits", "1", "--optimizer", "sgd", "--dropout", "0.1", "--seed", "7"},
      {"--digits", "1", "--dtype", "bf16", "--clip", "0", "--kv-heads", "1"},
      {"--text", folder / "text", "--context", "16"}};
  for (const std::string& device : devices()) {
    for (const auto& variant : variants) {
      const std::vector<std::string> common = joined(
          {"train", "--device", device, "--width", "8", "--layers", "1", "--heads", "2", "--batch", "2"},
          variant);
      CAPTURE(device, variant);
      const std::string whole = folder / "whole", half = folder / "half", resumed = folder / "resumed";
      succeed(joined(common, {"--steps", "6", "--save", whole}));
      succeed(joined(common, {"--steps", "3", "--save", half}));
      CHECK(bytes_of(half) != bytes_of(whole));
      // Settings come from the checkpoint; saying them again is fine.
      succeed({"train", "--resume", half, "--steps", "5", "--save", resumed});
      succeed(joined(common, {"--resume", resumed, "--steps", "6", "--save", resumed}));
      CHECK(bytes_of(resumed) == bytes_of(whole));
    }
  }
}

TEST_CASE("losses of a resumed run continue those of the first", "[cli][train]") {
  const TemporaryFolder folder;
  const auto losses = [&](const std::vector<std::string>& more) {
    const json document = json::parse(succeed(joined(more, {"--json"})).out);
    return document.at("devices").at(0).at("losses").get<std::vector<double>>();
  };
  const auto whole = losses(tiny_training({"--device", "reference", "--steps", "5"}));
  auto parts = losses(tiny_training({"--device", "reference", "--steps", "2", "--save", folder / "c"}));
  for (const double loss : losses({"train", "--resume", folder / "c", "--steps", "5"})) parts.push_back(loss);
  CHECK(whole.size() == 5);
  CHECK(parts == whole);
}

TEST_CASE("one checkpoint holds several devices, and one device's serves any", "[cli][train]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c";
  succeed(tiny_training({"--device", "reference", "--device", "reference", "--steps", "2", "--save", file}));
  const auto tensors = heddle::load_checkpoint(file).tensors;
  CHECK(tensors.contains("reference/embedding"));
  CHECK(tensors.contains("reference#2/embedding.adam_m"));
  const json both = json::parse(succeed({"train", "--resume", file, "--steps", "3", "--json"}).out);
  REQUIRE(both.at("devices").size() == 2);
  CHECK(both.at("devices").at(1).at("device") == "reference#2");
  CHECK(both.at("devices").at(1).at("first_step") == 2);
  CHECK(both.at("max_relative_loss_difference") == 0);

  succeed(tiny_training({"--device", "reference", "--steps", "2", "--save", file}));
  CHECK(heddle::load_checkpoint(file).tensors.contains("embedding"));
  for (const std::string& device : devices())
    succeed({"train", "--resume", file, "--steps", "3", "--device", device});

  if (devices().size() > 1) {
    succeed(
        tiny_training({"--device", devices()[0], "--device", devices()[1], "--steps", "2", "--save", file}));
    const CommandResult other = run_command({"train", "--resume", file, "--device", "reference:x"});
    CHECK(other.status == 2);
    CHECK_THAT(other.error, ContainsSubstring("it holds: " + devices()[0] + ", " + devices()[1]));
  }
}

TEST_CASE("--json prints one document with the schema that others read", "[cli][train]") {
  std::vector<std::string> arguments = tiny_training({"--steps", "4", "--json"});
  for (const std::string& device : devices()) arguments.insert(arguments.end(), {"--device", device});
  const json document = json::parse(succeed(arguments).out);
  CHECK(document.at("task") == "addition");
  CHECK(document.at("parameters").get<int64_t>() > 0);
  CHECK_FALSE(document.at("verdict").get<std::string>().empty());
  CHECK(document.at("agree") == true);
  CHECK(document.at("interrupted") == false);
  REQUIRE(document.at("devices").size() == devices().size());
  for (const json& device : document.at("devices")) {
    CHECK(device.at("device").is_string());
    CHECK(device.at("accuracy").is_number());
    CHECK(device.at("losses").size() == 4);
    // Nothing ran anywhere else than where it was asked to.
    CHECK(device.at("nodes").size() == 1);
    CHECK(device.at("nodes").contains(device.at("device").get<std::string>()));
    CHECK(device.at("final_loss") == device.at("losses").back());
    CHECK(device.at("wall_s_per_step").get<double>() > 0);
    const bool simulated = device.at("clock") == "simulated";
    CHECK(device.at("simulated_us_per_step").is_number() == simulated);
    CHECK(device.at("simulated_tensor_engine_percent").is_number() == simulated);
    CHECK(device.at("memory").is_array());
  }
  if (devices().size() > 1) {
    CHECK(document.at("max_relative_loss_difference").get<double>() <= 1e-3);
  } else {
    CHECK(document.at("max_relative_loss_difference").is_null());
  }
}

TEST_CASE("tables go to standard output, one row of the summary per device", "[cli][train]") {
  const std::string out = succeed(tiny_training({"--device", "reference", "--steps", "3"})).out;
  CHECK_THAT(out, ContainsSubstring("tokens/s"));
  CHECK_THAT(out, ContainsSubstring("sums that were never trained on"));
}

TEST_CASE("a binary file and a tiny one are texts too", "[cli][train]") {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 2000; ++i) bytes.push_back(static_cast<char>(i * i));
  write(folder / "binary", bytes);
  write(folder / "tiny", "ab");
  const std::vector<std::string> common = {"train",    "--device", "reference", "--width", "8",
                                           "--layers", "1",        "--batch",   "2",       "--steps",
                                           "2",        "--json",   "--text"};
  const json binary = json::parse(succeed(joined(common, {folder / "binary"})).out);
  CHECK(binary.at("task") == "text");
  CHECK(binary.at("devices").at(0).at("accuracy").is_null());
  CHECK(binary.at("devices").at(0).at("held_out_loss").get<double>() == Approx(std::log(256)).margin(1));
  const json tiny = json::parse(succeed(joined(common, {folder / "tiny"})).out);
  CHECK(tiny.at("devices").at(0).at("held_out_loss").is_null());
  CHECK(tiny.at("settings").at("context") == 1);
}

TEST_CASE("the built-in task is learned", "[cli][train]") {
  // One-digit sums: small enough for seconds. What is held out are about six sums of a hundred.
  const std::string device = devices().size() > 1 ? "cpu" : "reference";
  const json document = json::parse(succeed({"train", "--device", device, "--digits", "1", "--width", "32",
                                             "--batch", "64", "--steps", "250", "--json"})
                                        .out);
  const json& run = document.at("devices").at(0);
  CHECK(run.at("final_loss").get<double>() < 0.2);
}

TEST_CASE("a trace of some steps is a Chrome trace document", "[cli][train]") {
  const TemporaryFolder folder;
  for (const std::string& device : devices()) {
    CAPTURE(device);
    succeed(tiny_training({"--device", device, "--steps", "5", "--trace", folder / "t.json"}));
    const json events = json::parse(bytes_of(folder / "t.json")).at("traceEvents");
    CHECK(events.size() > 10);
    for (const json& event : events) CHECK(event.contains("ph"));
  }
}

TEST_CASE("an interrupt saves what was reached", "[cli][train]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c";
  RunningCommand command(tiny_training({"--device", "reference", "--steps", "1000000", "--save", file}));
  for (int i = 0; i < 600 && command.output_so_far().find("reference") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  command.signal(SIGINT);
  const CommandResult result = command.wait();
  CHECK(result.status == 1);
  CHECK_THAT(result.error, ContainsSubstring("interrupted after step"));
  CHECK_THAT(result.error, ContainsSubstring("--resume " + file));
  const json metadata = json::parse(heddle::load_checkpoint(file).metadata.at("devices"));
  const auto step = metadata.at(0).at("step").get<int64_t>();
  REQUIRE(step > 0);
  succeed({"train", "--resume", file, "--steps", std::to_string(step + 1)});
}

TEST_CASE("a run that diverges ends with an error, and the saved run before it stays", "[cli][train]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c";
  write(file, "what was there");
  const CommandResult result =
      run_command(tiny_training({"--device", "reference", "--steps", "100", "--optimizer", "sgd", "--lr",
                                 "1e30", "--clip", "0", "--save", file}));
  CHECK(result.status == 1);
  CHECK_THAT(result.error, ContainsSubstring("train with a lower --lr"));
  CHECK(bytes_of(file) == "what was there");
  CHECK(folder.entries() == std::set<std::string>{"c"});
}

TEST_CASE("--save-every leaves a checkpoint that a killed run goes on from", "[cli][train]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c";
  RunningCommand command(
      tiny_training({"--device", "reference", "--steps", "1000000", "--save", file, "--save-every", "1"}));
  for (int i = 0; i < 600 && !folder.entries().contains("c"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  command.signal(SIGKILL);
  CHECK(command.wait().status == 1000 + SIGKILL);
  const json metadata = json::parse(heddle::load_checkpoint(file).metadata.at("devices"));
  const auto step = metadata.at(0).at("step").get<int64_t>();
  REQUIRE(step > 0);
  succeed({"train", "--resume", file, "--steps", std::to_string(step + 1), "--save", folder / "resumed"});
  succeed(tiny_training(
      {"--device", "reference", "--steps", std::to_string(step + 1), "--save", folder / "whole"}));
  CHECK(bytes_of(folder / "resumed") == bytes_of(folder / "whole"));
}

TEST_CASE("a device asked for timing alone shows no losses and saves nothing", "[cli][train]") {
  const json document =
      json::parse(succeed(tiny_training({"--device", "trn1:numerics=off", "--steps", "2", "--json"})).out);
  const json& device = document.at("devices").at(0);
  CHECK(device.at("losses").empty());
  CHECK(device.at("final_loss").is_null());
  CHECK(device.at("accuracy").is_null());
  CHECK(device.at("simulated_us_per_step").get<double>() > 0);
  CHECK(document.at("agree").is_null());
  const CommandResult saving = run_command(
      tiny_training({"--device", "trn1:numerics=off", "--steps", "2", "--save", "/tmp/none.safetensors"}));
  CHECK(saving.status == 2);
  CHECK_THAT(saving.error, ContainsSubstring("computes no numbers"));
}

TEST_CASE("train never writes over a file that it reads or has written", "[cli][train]") {
  const heddle::test::TemporaryFolder folder;
  const std::string text = (folder / "text"), state = (folder / "state"), link = (folder / "link");
  write(text, "to be or not to be, that is the question");
  const auto refuse = [&](std::vector<std::string> options, const std::string& why) {
    std::vector<std::string> arguments = {"train",   "--device", "reference", "--steps", "1",
                                          "--width", "8",        "--layers",  "1"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const CommandResult result = run_command(arguments);
    CHECK(result.status == 2);
    CHECK_THAT(result.error, ContainsSubstring(why));
  };
  refuse({"--text", text, "--save", text}, "--save and --text name the same file");
  refuse({"--text", text, "--trace", (folder / "./text")}, "--trace and --text name the same file");
  refuse({"--save", state, "--trace", state}, "--save and --trace name the same file");
  refuse({"--save", ""}, "--save needs the name of a file");
  refuse({"--resume", ""}, "--resume needs the name of a file");
  // A link that leads nowhere yet is followed, not replaced.
  std::filesystem::create_symlink(state, link);
  succeed(tiny_training({"--device", "reference", "--steps", "1", "--save", link}));
  CHECK(std::filesystem::is_symlink(link));
  CHECK(std::filesystem::is_regular_file(state));
}

TEST_CASE("a checkpoint whose settings contradict each other is refused", "[cli][train]") {
  const heddle::test::TemporaryFolder folder;
  const std::string file = (folder / "state");
  succeed(tiny_training({"--device", "reference", "--steps", "1", "--save", file}));
  heddle::Checkpoint saved = heddle::load_checkpoint(file);
  saved.metadata["digits"] = "8";
  heddle::save_checkpoint(file, saved);
  const CommandResult result = run_command({"train", "--resume", file, "--steps", "2"});
  CHECK(result.status == 1);
  CHECK_THAT(result.error, ContainsSubstring("context"));
}
