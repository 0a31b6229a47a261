// Loading backends: in C, older, newer and broken ones. Each is tests/abi/plugin.c with other definitions.
#include <fstream>
#include <string>

#include "heddle/conformance.h"
#include "heddle/device.h"
#include "heddle/device_abi.h"
#include "heddle/graph.h"
#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

using namespace heddle;
using test::ContainsSubstring;
using test::expect_error;

namespace {

std::string library(const std::string& name) { return HEDDLE_ABI_PLUGINS "/abi_" + name + ".so"; }

std::string list() {
  std::string names;
  for (const DeviceListing& listing : list_devices()) names += listing.name + " ";
  return names;
}

void expect_copies(const std::string& device) {
  Graph g;
  g.output("y", contiguous(g.input("x", f32, {3, 5})));
  const Tensor x = Tensor::full(7, f32, {3, 5});
  Session session(g, {Device::open(device)});
  CHECK(session.run({{"x", x}}).at("y").at(14) == 7);
}

}  // namespace

TEST_CASE("A device written in C11 against device_abi.h alone loads, runs and conforms") {
  load_plugin(library("plain_c"));
  const Device device = Device::open("plain_c");
  CHECK(device.name() == "plain_c");
  CHECK(device.description() == "copies bytes, in C");
  expect_copies("plain_c");
  const conformance::Report report = conformance::run(device);
  INFO(report.text());
  CHECK(report.ok());
  CHECK(report.plugin == library("plain_c"));
  for (const conformance::OpSummary& op : report.ops()) {
    INFO(op.op);
    if (op.op == "contiguous") CHECK(op.unsupported == 0);
    if (op.op != "contiguous" && op.op != "contract") CHECK(op.passed == 0);
  }
}

TEST_CASE("Loading a library twice changes nothing") {
  load_plugin(library("plain_c"));
  const std::string before = list();
  load_plugin(library("plain_c"));
  CHECK(list() == before);
}

TEST_CASE("A plugin of another major version is refused with both numbers") {
  const std::string text =
      expect_error(ErrorCode::unsupported, "abi_next_major.so", [] { load_plugin(library("next_major")); });
  CHECK_THAT(text, ContainsSubstring(std::to_string(HD_ABI_MAJOR + 1)));
  CHECK_THAT(text, ContainsSubstring("version " + std::to_string(HD_ABI_MAJOR)));
  CHECK_THAT(list(), !ContainsSubstring("next_major"));
}

TEST_CASE("A plugin that leaves out what is required is refused when it is loaded") {
  for (const char* name : {"shorter_plugin", "no_count"}) {
    expect_error(ErrorCode::unsupported, std::string(name) + ".so", [&] { load_plugin(library(name)); });
    CHECK_THAT(list(), !ContainsSubstring(std::string(name)));
  }
}

TEST_CASE("A device whose table is too short is refused when it is opened") {
  load_plugin(library("shorter_vtable"));
  const std::string text =
      expect_error(ErrorCode::unsupported, "shorter_vtable", [] { Device::open("shorter_vtable"); });
  CHECK_THAT(text, ContainsSubstring("required function"));
}

TEST_CASE("A device with a longer table than this Heddle knows works") {
  load_plugin(library("longer_vtable"));
  expect_copies("longer_vtable");
}

TEST_CASE("Facts that an older device does not know read as zero") {
  load_plugin(library("shorter_info"));
  // Without the flag for host memory, operands are copied to buffers of the device and back.
  expect_copies("shorter_info");
  CHECK(conformance::run(Device::open("shorter_info"), {.op = "contiguous", .id = {}, .progress = {}}).ok());
}

TEST_CASE("A device that does not open says why") {
  load_plugin(library("open_fails"));
  expect_error(ErrorCode::not_found, "the board is not plugged in", [] { Device::open("open_fails"); });
}

TEST_CASE("A device name that is taken is refused, and the device that has it stays") {
  expect_error(ErrorCode::invalid_argument, "'reference' is taken",
               [] { load_plugin(library("reference")); });
  CHECK(Device::open("reference").description() != "copies bytes, in C");
  expect_error(ErrorCode::invalid_argument, "'twins'", [] { load_plugin(library("twins")); });
  CHECK_THAT(list(), !ContainsSubstring("twins"));
}

TEST_CASE("What is no backend is refused") {
  expect_error(ErrorCode::io, "exports no heddle_plugin_v1", [] { load_plugin(library("no_symbol")); });
  expect_error(ErrorCode::io, "no_such_file.so", [] { load_plugin("/no/such/folder/no_such_file.so"); });
  const test::TemporaryFolder folder;
  const std::string text = folder / "text.so";
  std::ofstream(text) << "this is no library\n";
  expect_error(ErrorCode::io, "text.so", [&] { load_plugin(text); });
}

TEST_CASE("A name that no device has lists those that exist") {
  expect_error(ErrorCode::not_found, "reference", [] { Device::open("no_such_device"); });
}
