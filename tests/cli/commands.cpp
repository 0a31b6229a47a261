// devices, explain, ops and --help: for people, and with --json for programs.
#include <nlohmann/json.hpp>
#include <set>

#include "heddle/device.h"
#include "kernels/catalogue.h"
#include "tests/catch.h"
#include "tests/cli/run_command.h"

using namespace heddle::test;
using nlohmann::json;

namespace {

std::string output_of(const std::vector<std::string>& arguments) {
  const CommandResult result = run_command(arguments);
  INFO(result.error);
  REQUIRE(result.status == 0);
  return result.out;
}

}  // namespace

TEST_CASE("every subcommand has help with an example", "[cli]") {
  CHECK_THAT(output_of({"--help"}), ContainsSubstring("Example: heddle"));
  for (const char* command : {"train", "devices", "explain", "ops"})
    CHECK_THAT(output_of({command, "--help"}), ContainsSubstring(std::string("Example: heddle ") + command));
  CHECK_FALSE(output_of({"--version"}).empty());
}

TEST_CASE("devices lists what can be opened", "[cli]") {
  const json document = json::parse(output_of({"devices", "--json"}));
  std::set<std::string> names;
  for (const json& device : document.at("devices")) {
    names.insert(device.at("name").get<std::string>());
    CHECK(device.contains("description") != device.contains("error"));  // systolic needs a file
  }
  std::set<std::string> listed;
  for (const auto& listing : heddle::list_devices()) listed.insert(listing.name);
  CHECK(names == listed);
  CHECK_THAT(output_of({"devices"}), ContainsSubstring("reference"));
  CHECK(json::parse(output_of({"devices", "--json", "--device", "reference"})).at("devices").size() == 1);
}

TEST_CASE("explain shows the training step's plan", "[cli]") {
  const std::vector<std::string> small = {"explain", "--device", "reference", "--batch", "2",
                                          "--width", "8",        "--layers",  "1"};
  auto as_json = small;
  as_json.push_back("--json");
  const json document = json::parse(output_of(as_json)).at("devices").at(0);
  CHECK(document.at("device") == "reference");
  CHECK(document.at("nodes").size() > 20);
  for (const json& node : document.at("nodes")) CHECK(node.at("device") == "reference");
  REQUIRE(document.at("memory").size() >= 1);
  CHECK(document.at("memory").at(0).at("variable_bytes").get<int64_t>() > 0);
  CHECK_THAT(output_of(small), ContainsSubstring("adamw"));
  as_json.push_back("--inference");
  CHECK(json::parse(output_of(as_json)).at("devices").at(0).at("nodes").size() < document.at("nodes").size());
}

TEST_CASE("ops lists the catalogue", "[cli]") {
  const json document = json::parse(output_of({"ops", "--json"}));
  CHECK(document.at("ops").size() == heddle::all_ops().size());
  const std::string attention = output_of({"ops", "--family", "attention"});
  CHECK_THAT(attention, ContainsSubstring("attention_grad"));
  CHECK_THAT(attention, !ContainsSubstring("softmax_grad"));
  CHECK_THAT(output_of({"ops", "--markdown"}), ContainsSubstring("layer_norm"));
}

TEST_CASE("ops says what a device offers", "[cli]") {
  const json document = json::parse(
      output_of({"ops", "--device", "reference", "--device", "trn1", "--family", "random", "--json"}));
  for (const json& op : document.at("ops")) {
    const json& offers = op.at("offers");
    REQUIRE(offers.size() == 2);
    CHECK(offers[0].at("offered") == offers[0].at("cases"));
    CHECK(offers[1].at("cases") == offers[0].at("cases"));
    // Every refusal has a reason, and only a refusal has one.
    CHECK((offers[1].at("offered") < offers[1].at("cases")) == (offers[1].at("reason") != ""));
  }
  CHECK_THAT(output_of({"ops", "--device", "reference:composites=off", "--family", "softmax"}),
             ContainsSubstring("reference:composites=off: "));
}
