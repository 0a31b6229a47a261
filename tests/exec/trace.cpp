// Traces are valid Chrome trace documents in which wall-clock and simulated events never share a process row.
#include "heddle/trace.h"

#include <nlohmann/json.hpp>

#include "heddle/error.h"
#include "io/file.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

using heddle::ErrorCode;
using heddle::Trace;
using heddle::test::expect_error;
using nlohmann::json;

namespace {

// Two engines, one event each.
const char* const launch = R"([
  {"ph":"M","name":"thread_name","pid":1,"tid":1,"args":{"name":"tensor"}},
  {"ph":"M","name":"thread_name","pid":1,"tid":2,"args":{"name":"vector"}},
  {"ph":"X","name":"matmul","pid":1,"tid":1,"ts":0.5,"dur":2},
  {"ph":"X","name":"add","pid":1,"tid":2,"ts":2.5,"dur":1}])";

json events_of(const Trace& trace) { return json::parse(trace.json()).at("traceEvents"); }

json named(const json& events, const std::string& name) {
  json found = json::array();
  for (const json& event : events)
    if (event.at("name") == name) found.push_back(event);
  return found;
}

}  // namespace

TEST_CASE("an empty trace is a valid document", "[trace]") {
  const Trace trace;
  CHECK(trace.empty());
  CHECK(events_of(trace).empty());
}

TEST_CASE("wall-clock spans start at the first and keep their nanoseconds", "[trace]") {
  Trace trace;
  trace.add_span("cpu", "layer0/\"qkv\"", "cpu.matmul.onednn", 1'000'000'002'500, 1'000'000'004'001);
  trace.add_span("cpu", "loss", "cpu.cross_entropy", 1'000'000'001'000, 1'000'000'002'000);
  trace.add_span("toy", "add", "toy.add", 1'000'000'005'000, 1'000'000'005'000);
  CHECK_FALSE(trace.empty());
  const json events = events_of(trace);
  const json matmul = named(events, "layer0/\"qkv\"").at(0);
  CHECK(matmul.at("ph") == "X");
  CHECK(matmul.at("ts").get<double>() == Approx(1.5));
  CHECK(matmul.at("dur").get<double>() == Approx(1.501));
  CHECK(matmul.at("args").at("kernel") == "cpu.matmul.onednn");
  CHECK(named(events, "loss").at(0).at("ts").get<double>() == 0);
  const json add = named(events, "add").at(0);
  CHECK(add.at("dur").get<double>() == 0);
  CHECK(add.at("pid") != matmul.at("pid"));
  const json processes = named(events, "process_name");
  REQUIRE(processes.size() == 2);
  CHECK(processes[0].at("args").at("name") == "cpu (wall clock)");
  CHECK(processes[1].at("pid") == add.at("pid"));
}

TEST_CASE("simulated launches follow each other in simulated time", "[trace]") {
  Trace trace;
  trace.add_simulated("trn1", launch, 4'000'000);  // 4 microseconds
  trace.add_simulated("trn1", launch, 4'000'000);
  trace.add_simulated("trn2", launch, 4'000'000);
  trace.add_span("cpu", "copy", "", 10, 20);
  const json events = events_of(trace);
  const json matmuls = named(events, "matmul");
  REQUIRE(matmuls.size() == 3);
  CHECK(matmuls[0].at("ts").get<double>() == Approx(0.5));
  CHECK(matmuls[1].at("ts").get<double>() == Approx(4.5));
  CHECK(matmuls[2].at("ts").get<double>() == Approx(0.5));
  CHECK(matmuls[0].at("pid") == matmuls[1].at("pid"));
  CHECK(matmuls[0].at("pid") != matmuls[2].at("pid"));
  CHECK(matmuls[0].at("pid") != named(events, "copy").at(0).at("pid"));
  CHECK(named(events, "thread_name").size() == 4);  // two tracks on each device, named once
  CHECK(named(events, "process_name").size() == 3);
}

TEST_CASE("a device's events that are no events are its error", "[trace]") {
  for (const char* text :
       {"", "{", "{}", "[1]", "[{}]", R"([{"ph":"X"}])", R"([{"ph":"X","ts":"0"}])", "[{\"ph\":\"\xff\"}]"}) {
    CAPTURE(text);
    Trace trace;
    trace.add_simulated("trn9", text, 1);
    expect_error(ErrorCode::device, "'trn9'", [&] { trace.json(); });
  }
}

TEST_CASE("a trace is saved whole or not at all", "[trace]") {
  const heddle::test::TemporaryFolder folder;
  Trace trace;
  trace.add_span("cpu", "a", "b", 1, 2);
  trace.save(folder / "t.json");
  CHECK(heddle::io::read_file(folder / "t.json", 1 << 20) == trace.json());
  expect_error(ErrorCode::io, "No such file", [&] { trace.save(folder / "no/t.json"); });
  trace.add_simulated("trn9", "broken", 1);
  expect_error(ErrorCode::device, "'trn9'", [&] { trace.save(folder / "t.json"); });
  CHECK(folder.entries() == std::set<std::string>{"t.json"});
  CHECK(json::parse(heddle::io::read_file(folder / "t.json", 1 << 20)).at("traceEvents").size() == 2);
}
