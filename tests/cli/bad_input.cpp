// Bad input to the command gives one clear line on standard error, exit status 2 (usage) or 1 (failure),
// nothing on standard output, and leaves every file as it was.
#include <sys/stat.h>

#include <algorithm>

#include "tests/catch.h"
#include "tests/cli/run_command.h"

using namespace heddle::test;

namespace {

constexpr int failure = 1, usage = 2;

void expect_refusal(const std::vector<std::string>& arguments, int status, const std::string& part,
                    const std::string& out_file = "") {
  std::string line = "heddle";
  for (const std::string& argument : arguments) line += " " + argument;
  CAPTURE(line);
  const CommandResult result = run_command(arguments, out_file);
  CHECK(result.status == status);
  CHECK_THAT(result.error, ContainsSubstring(part));
  CHECK(result.error.starts_with("heddle: "));
  CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  CHECK(result.out.empty());
}

void write(const std::string& file, const std::string& contents) {
  heddle::io::FileReplacement replacement(file);
  replacement.write(contents);
  replacement.commit();
}

}  // namespace

TEST_CASE("command lines that cannot be meant", "[cli]") {
  expect_refusal({}, usage, "subcommand is required");
  expect_refusal({"weave"}, usage, "there is no subcommand 'weave'; there are: train, devices");
  expect_refusal({"train", "--speed"}, usage, "--speed");
  expect_refusal({"train", "extra"}, usage, "extra");
  expect_refusal({"train", "--steps"}, usage, "--steps");
  expect_refusal({"train", "--steps", "many"}, usage, "--steps");
  expect_refusal({"train", "--steps", "0"}, usage, "--steps");
  expect_refusal({"train", "--batch", "0"}, usage, "--batch must be 1 to");
  expect_refusal({"train", "--batch", "-3"}, usage, "--batch must be 1 to");
  expect_refusal({"train", "--batch", "99999999999999999999"}, usage, "--batch");
  expect_refusal({"train", "--lr", "nan"}, usage, "--lr must be a number above 0");
  expect_refusal({"train", "--lr", "-1"}, usage, "--lr must be a number above 0");
  expect_refusal({"train", "--dtype", "int8"}, usage, "--dtype must be one of f32, bf16, got 'int8'");
  expect_refusal({"train", "--optimizer", "lion"}, usage, "--optimizer must be one of sgd, adam, adamw");
  expect_refusal({"train", "--fallback", "maybe", "--device", "reference"}, usage, "maybe");
  expect_refusal({"train", "--save-every", "2"}, usage, "--save-every needs --save FILE");
  expect_refusal({"train", "--warmup", "50", "--decay", "10"}, usage, "above --warmup (50)");
  expect_refusal({"ops", "--family", "matmul", "--markdown"}, usage, "--family");
  expect_refusal({"explain", "--graph", "--json"}, usage, "--json");
  expect_refusal({"sim", "replay", "--all", "--device", "tpu"}, usage, "no simulated device 'tpu'");
  expect_refusal({"sim", "calibrate", "--device", "tpu"}, usage, "there are trn1 and trn2");
  expect_refusal({"train", "--digits", "9"}, usage, "--digits must be 1 to 8");
  expect_refusal({"train", "--context", "9"}, usage, "--context is for --text");
  expect_refusal({"train", "--text", ""}, usage, "--text needs the name of a file");
  expect_refusal({"train", "--text", "x", "--digits", "2"}, usage, "--digits is for sums");
  expect_refusal({"train", "--dropout", "1"}, usage, "--dropout must be at least 0 and below 1");
  expect_refusal({"train", "--heads", "65"}, usage, "--heads must be 1 to 64");
  expect_refusal({"explain", "--model", "bert"}, usage, "--model");
  expect_refusal({"ops", "--family", "magic"}, usage, "there is no family of ops 'magic'; there are: ");
  expect_refusal({"ops", "--json", "--markdown"}, usage, "--json");
}

TEST_CASE("models that do not fit together name the settings", "[cli]") {
  expect_refusal({"train", "--device", "reference", "--width", "10", "--heads", "4"}, usage,
                 "--heads must divide --width (10), got 4");
  expect_refusal({"train", "--device", "reference", "--kv-heads", "3"}, usage,
                 "--kv-heads must divide --heads (4), got 3");
  expect_refusal({"train", "--device", "reference", "--width", "4", "--positions", "rope"}, usage,
                 "must be even");
}

TEST_CASE("a device that does not exist lists those that do", "[cli]") {
  for (const char* command : {"train", "explain", "devices"}) {
    expect_refusal({command, "--device", "tpu"}, usage, "tpu");
    expect_refusal({command, "--device", "tpu"}, usage, "reference");
  }
  expect_refusal({"train", "--device", ""}, usage, "reference");
  expect_refusal({"train", "--device", "reference:speed=11"}, usage, "speed");
}

TEST_CASE("a plugin that cannot be loaded names the file", "[cli]") {
  const TemporaryFolder folder;
  expect_refusal({"devices", "--plugin", folder / "none.so"}, failure, "none.so");
  write(folder / "text.so", "not a library");
  expect_refusal({"devices", "--plugin", folder / "text.so"}, failure, "text.so");
}

TEST_CASE("texts that cannot be learned", "[cli]") {
  const TemporaryFolder folder;
  const auto with_text = [](const std::string& file) {
    return std::vector<std::string>{"train", "--device", "reference", "--steps", "1", "--text", file};
  };
  expect_refusal(with_text(folder / "missing.txt"), failure, "missing.txt': No such file");
  expect_refusal(with_text(folder.path()), failure, "Is a directory");
  write(folder / "empty", "");
  expect_refusal(with_text(folder / "empty"), failure, "empty': a text of 0 bytes has nothing to predict");
  write(folder / "one", "x");
  expect_refusal(with_text(folder / "one"), failure, "a text of 1 bytes");
  if (::geteuid() != 0) {  // root may read everything
    write(folder / "secret", "secret text");
    ::chmod((folder / "secret").c_str(), 0);
    expect_refusal(with_text(folder / "secret"), failure, "Permission denied");
  }
}

TEST_CASE("outputs that cannot be written are refused before training", "[cli]") {
  const TemporaryFolder folder;
  for (const char* option : {"--save", "--trace"}) {
    // A billion steps: this returns because it is refused first.
    const auto to = [&](const std::string& file) {
      return tiny_training({"--device", "reference", "--steps", "1000000000", option, file});
    };
    expect_refusal(to(folder / "no/such/file"), failure, "No such file or directory");
    expect_refusal(to(folder.path()), failure, "it is a folder");
    expect_refusal(to("/dev/full"), failure, "it is not a regular file");
  }
  CHECK(folder.entries().empty());
}

TEST_CASE("a full standard output is a failure", "[cli]") {
  CHECK(run_command(tiny_training({"--device", "reference", "--steps", "1", "--json"}), "/dev/null").status ==
        0);
  expect_refusal(tiny_training({"--device", "reference", "--steps", "1", "--json"}), failure,
                 "cannot write to standard output: No space left on device", "/dev/full");
  expect_refusal({"devices"}, failure, "cannot write to standard output", "/dev/full");
}

TEST_CASE("checkpoints that cannot be resumed", "[cli]") {
  const TemporaryFolder folder;
  const std::string file = folder / "c.safetensors";
  const auto resume = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"train", "--resume", file};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  expect_refusal(resume({}), failure, "c.safetensors': No such file");
  REQUIRE(run_command(tiny_training({"--device", "reference", "--steps", "2", "--save", file})).status == 0);
  const std::string whole = heddle::io::read_file(file, 1 << 30);

  expect_refusal(resume({"--steps", "2"}), usage, "is at step 2 already: ask for more with --steps");
  expect_refusal(resume({"--batch", "64"}), usage, "was trained with --batch 2, not 64");
  expect_refusal(resume({"--lr", "0.1"}), usage, "was trained with --lr 0.003, not 0.1");
  expect_refusal(resume({"--text", file}), usage, "learns to add");
  CHECK(heddle::io::read_file(file, 1 << 30) == whole);

  for (const size_t length : {size_t{0}, size_t{7}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    write(file, whole.substr(0, length));
    expect_refusal(resume({}), failure, "is no intact safetensors file");
  }
  write(file, "This is a text, not a checkpoint.");
  expect_refusal(resume({}), failure, "is no intact safetensors file");
  std::string other = whole;
  other.replace(other.find("heddle train 1"), 14, "heddle train 9");
  write(file, other);
  expect_refusal(resume({}), failure, "is no checkpoint of heddle train: its metadata does not say");
  other = whole;
  other.replace(other.find("\"embedding\""), 11, "\"embedd1ng\"");
  write(file, other);
  expect_refusal(resume({"--steps", "3"}), failure, "missing: 'embedding'");
}

TEST_CASE("a resumed text must be the one that was trained on", "[cli]") {
  const TemporaryFolder folder;
  write(folder / "text", "to be or not to be, that is the question");
  const std::vector<std::string> train = {"train",         "--device", "reference", "--width", "8",
                                          "--layers",      "1",        "--batch",   "2",       "--text",
                                          folder / "text", "--steps",  "1",         "--save",  folder / "c"};
  REQUIRE(run_command(train).status == 0);
  write(folder / "text", "To be or not to be, that is the question");
  expect_refusal({"train", "--resume", folder / "c", "--steps", "2"}, failure, "is not the text");
  CHECK(run_command({"train", "--resume", folder / "c", "--steps", "2", "--text", folder / "none"}).status ==
        failure);
}
