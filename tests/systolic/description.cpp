// Device files: the built-in ones, inheritance, and what a wrong file says.
#include "heddle/systolic/description.h"

#include <cstdio>
#include <fstream>
#include <sstream>

#include "heddle/systolic/operation.h"
#include "tests/catch.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::systolic;
using heddle::test::expect_error;

TEST_CASE("built-in devices load and have the published figures") {
  CHECK(builtin_devices() == std::vector<std::string>{"trn1", "trn2", "trn3"});
  const Description one = load_description("trn1"), two = load_description("trn2"),
                    three = load_description("trn3");
  CHECK(one.core == "NeuronCore-v2");
  CHECK(one.pe.ghz == 2.8);
  CHECK(two.pe.ghz == 2.4);
  CHECK(one.dve.ghz == 1.12);
  CHECK(three.dve.ghz == 1.2);
  CHECK(three.act.ghz == 1.2);  // inherited from trn2
  CHECK(one.sbuf.usable_bytes() == 176 * 1024);
  CHECK(two.sbuf.kib == 224);
  CHECK(one.pe.pair_bubble.in(Column::documented) == 0);
  CHECK(one.pe.pair_bubble.in(Column::calibrated) == 83);
  CHECK(one.ports.psum_dve_act);
  CHECK_FALSE(two.ports.psum_dve_act);
  // 2 * 128 * 128 * f is the published bf16 rate, rounded.
  for (const Description& d : {one, two, three})
    CHECK(2.0 * 128 * 128 * d.pe.ghz * 1e-3 == Approx(d.chip.flops_bf16_tera).epsilon(0.005));
  // Every function of a table exists, and every function of the scalar engine is in a table.
  for (const Description& d : {one, two, three}) {
    int held = 0;
    for (const auto& [set, functions] : d.act.tables)
      for (const std::string& name : functions) {
        INFO(name);
        CHECK(parse_function(name).has_value());
        ++held;
      }
    for (int f = 0; f < function_count; ++f) held -= !only_on_gpsimd(static_cast<Function>(f));
    CHECK(held == 0);
  }
}

TEST_CASE("a file may name a base and only what differs") {
  const Description d = parse_description(
      "base = \"trn2\"\nname = \"wide\"\n[pe]\nghz = 3\nlatency = {documented = 1, calibrated = 2}\n",
      "wide.toml");
  CHECK(d.name == "wide");
  CHECK(d.pe.ghz == 3);
  CHECK(d.pe.latency.documented == 1);
  CHECK(d.pe.rows == 128);
  CHECK(d.dma.gbps == 27.2);
  CHECK(with("trn1", {{"dma.gbps", 54.4}}).dma.gbps == 54.4);
  CHECK(with("trn1", {{"pe.latency", 7}}).pe.latency.in(Column::calibrated) == 7);
}

TEST_CASE("wrong device files name file, line and key") {
  const auto load = [](std::string_view text) { return [text] { parse_description(text, "mine.toml"); }; };
  expect_error(ErrorCode::not_found, "trn1, trn2, trn3", [] { load_description("trn9"); });
  expect_error(ErrorCode::not_found, "absent.toml", [] { load_description("absent.toml"); });
  expect_error(ErrorCode::corrupt, "mine.toml:2", load("base = \"trn1\"\n[pe\n"));
  expect_error(ErrorCode::invalid_argument, "mine.toml:3: pe.ghz",
               load("base = \"trn1\"\n[pe]\nghz = \"fast\"\n"));
  expect_error(ErrorCode::invalid_argument, "mine.toml:3: pe.ghz = -1",
               load("base = \"trn1\"\n[pe]\nghz = -1\n"));
  expect_error(ErrorCode::invalid_argument, "mine.toml:3: unknown key 'pe.gHz'",
               load("base = \"trn1\"\n[pe]\ngHz = 1\n"));
  expect_error(ErrorCode::invalid_argument, "pe.rows must be a whole number",
               load("base = \"trn1\"\npe.rows = 1.5\n"));
  expect_error(ErrorCode::invalid_argument, "must give both",
               load("base = \"trn1\"\npe.latency = {documented = 1}\n"));
  expect_error(ErrorCode::invalid_argument, "not 'measured'",
               load("base = \"trn1\"\npe.latency = {documented = 1, measured = 1}\n"));
  expect_error(ErrorCode::invalid_argument, "must be act, dve, gpsimd or sp",
               load("base = \"trn1\"\ndma.load_trigger = \"pe\"\n"));
  expect_error(ErrorCode::invalid_argument, "mine.toml:1: base",
               [&] { parse_description("base = \"trn7\"\n", "mine.toml"); });
  expect_error(ErrorCode::invalid_argument, "section [pe] is missing", load("name = \"a\"\ncore = \"b\"\n"));
  expect_error(ErrorCode::invalid_argument,
               "mine.toml:3: act.tables.any: the scalar engine has no function 'floor'",
               load("base = \"trn1\"\n[act]\ntables.any = [\"floor\"]\n"));
  expect_error(ErrorCode::invalid_argument, "act.tables.b: 'exp' is in another set",
               load("base = \"trn1\"\n[act.tables]\na = [\"exp\"]\nb = [\"exp\"]\n"));
  expect_error(ErrorCode::invalid_argument, "'copy' is in no set",
               load("base = \"trn1\"\n[act]\ntables.any = []\n"));
  expect_error(ErrorCode::not_found, "no key 'pe.speed'", [] { with("trn1", {{"pe.speed", 1}}); });
}

TEST_CASE("every key of every built-in file, spoiled: the message names file, line and key") {
  for (const std::string& device : builtin_devices()) {
    std::vector<std::string> lines;
    std::istringstream text{std::string(builtin_device_text(device))};
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    const auto joined = [&](size_t changed, const std::string& line) {
      std::string all;
      for (size_t i = 0; i < lines.size(); ++i) all += (i == changed ? line : lines[i]) + "\n";
      return all;
    };
    std::string section;
    int keys = 0;
    for (size_t i = 0; i < lines.size(); ++i) {
      if (!lines[i].empty() && lines[i][0] == '[') section = lines[i].substr(1, lines[i].find(']') - 1);
      const size_t equals = lines[i].find(" = ");
      if (lines[i].empty() || lines[i][0] == '#' || equals == std::string::npos) continue;
      const std::string name = lines[i].substr(0, equals),
                        key = section.empty() ? name : section + "." + name;
      if (name.find("tables.") == 0) continue;  // above
      ++keys;
      CAPTURE(device, key);
      const std::string place = device + ".toml:" + std::to_string(i + 1) + ": ";
      const auto spoiled = [&](const std::string& line) {
        return [&, line] { parse_description(joined(i, line), device + ".toml"); };
      };
      // Dates have no business in a device file.
      expect_error(ErrorCode::invalid_argument, name == "base" ? place + "base" : place + key,
                   spoiled(name + " = 2026-01-01"));
      expect_error(ErrorCode::invalid_argument, place + "unknown key '" + key + "x'",
                   spoiled(name + "x = 1\n" + lines[i]));
      // What a base does not give is missing.
      if (device != "trn3" && name != "usd_per_hour")
        expect_error(ErrorCode::invalid_argument, "key '" + key + "' is missing", spoiled(""));
    }
    CHECK(keys > (device == "trn3" ? 10 : 80));
  }
}
