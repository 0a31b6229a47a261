// heddle conform
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/cli/run_command.h"

using heddle::test::CommandResult;
using heddle::test::ContainsSubstring;
using heddle::test::run_command;

TEST_CASE("heddle conform proves a device and says what it found") {
  const CommandResult r = run_command({"conform", "--device", "reference", "--op", "softmax"});
  CHECK(r.status == 0);
  CHECK_THAT(r.out, ContainsSubstring("softmax"));
  CHECK_THAT(r.out, ContainsSubstring("reference conforms in what it offers"));
}

TEST_CASE("heddle conform repeats one case") {
  const CommandResult r = run_command(
      {"conform", "--device", "reference", "--op", "matmul", "--case", "matmul/f32/m127k128n129", "--json"});
  CHECK(r.status == 0);
  const auto report = nlohmann::json::parse(r.out)["devices"][0];
  CHECK(report["passed"] == 1);
  REQUIRE(report["cases"].size() == 1);
  CHECK(report["cases"][0]["case"] == "matmul/f32/m127k128n129");
  CHECK(report["cases"][0]["kernel"] == "reference.matmul");
}

TEST_CASE("heddle conform lists its cases") {
  const CommandResult r = run_command({"conform", "--list", "--op", "rope"});
  CHECK(r.status == 0);
  CHECK_THAT(r.out, ContainsSubstring("rope/f32/2x3x7x10/bhsd/halves/forward\n"));
}

TEST_CASE("A command line that cannot be meant ends with status 2 and one line") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"conform"},
        {"conform", "--device", "no_such_device"},
        {"conform", "--device", "reference", "--op", "no_such_op"},
        {"conform", "--device", "reference", "--case", "softmax/no/such/case"},
        {"conform", "--device", "reference:no_such_option=1"}}) {
    const CommandResult r = run_command(arguments);
    INFO(r.error);
    CHECK(r.status == 2);
    CHECK(r.out.empty());
    CHECK(std::count(r.error.begin(), r.error.end(), '\n') == 1);
  }
}

TEST_CASE("A device that refuses everything it is asked fails, with status 1") {
  const CommandResult r = run_command({"conform", "--device", "reference:composites=off", "--op", "softmax"});
  CHECK(r.status == 1);
  CHECK_THAT(r.out, ContainsSubstring("composites are switched off"));
  CHECK_THAT(r.error, ContainsSubstring("no case of an op was executed"));
}

TEST_CASE("A plugin that cannot be loaded is one line, with status 1") {
  const CommandResult r = run_command({"conform", "--plugin", "/no/such/file.so"});
  CHECK(r.status == 1);
  CHECK_THAT(r.error, ContainsSubstring("/no/such/file.so"));
}
