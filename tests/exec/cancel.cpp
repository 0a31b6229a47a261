// Which run a cancellation ends, and what it leaves of the variables.
#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/expect_error.h"
#include "tests/overridden_device.h"

namespace heddle::test {
namespace {

// v grows by 1 in every run.
Graph counter() {
  Graph g;
  const Value v = g.variable("v", f32, {2}, init::constant(1));
  g.update(v, v + 1.0);
  g.output("v", v * 1.0);
  return g;
}

void expect_cancelled(Session& session) {
  expect_error(ErrorCode::cancelled, "after 0 of ", [&] { session.run({}); });
}

Session* to_cancel = nullptr;

// Cancels `to_cancel` from inside the launch, when the run is past its last look at the flag.
Device cancels_while_running() {
  return open_with("cancels", [](hd_device_vtable& table) {
    table.launch = [](hd_device* device, hd_stream* stream, hd_binding* binding, uint64_t* tick,
                      hd_status* status) {
      if (to_cancel != nullptr) to_cancel->cancel();
      return reference_table().launch(device, stream, binding, tick, status);
    };
  });
}

}  // namespace

TEST_CASE("a run cancelled before its first step leaves every variable as it was") {
  for (const char* name : {"reference", "cpu", "trn1"}) {
    INFO(name);
    Session session(counter(), {Device::open(name)});
    session.run({});
    session.cancel();
    expect_cancelled(session);
    REQUIRE(session.variables().read("v").at(0) == 2);
    session.run({});
    REQUIRE(session.variables().read("v").at(0) == 3);
  }
}

TEST_CASE("a cancellation that comes after the last step ends with its run") {
  Graph g;  // one step: the output is written where the caller wants it
  g.output("y", g.variable("v", f32, {2}, init::constant(1)) * 2.0);
  Session session(g, {cancels_while_running()});
  to_cancel = &session;
  REQUIRE(session.run({}).at("y").at(0) == 2);
  REQUIRE(session.run({}).at("y").at(0) == 2);
  to_cancel = nullptr;
}

TEST_CASE("a run that fails of itself uses a cancellation up") {
  Session session(counter(), {Device::open("reference")});
  session.cancel();
  expect_error(ErrorCode::invalid_argument, "inputs",
               [&] { session.run(std::vector<Tensor>(3), std::span<Tensor>()); });
  session.run({});
  session.cancel();
  expect_error(ErrorCode::not_found, "'q'", [&] { session.run({{"q", Tensor(f32, {1})}}); });
  session.run({});
  REQUIRE(session.variables().read("v").at(0) == 3);
}

TEST_CASE("a cancelled run poisons what its finished steps wrote, and nothing else") {
  Graph g;
  const Value a = g.variable("a", f32, {2}), b = g.variable("b", f32, {2}, init::constant(5));
  g.pin("cpu");  // updates in place: its launch writes a
  g.update(a, a + 1.0);
  g.pin("overridden:cancels");  // its launch is followed by a commit
  g.update(b, b + 1.0);
  Session session(g, {Device::open("cpu"), cancels_while_running()});
  to_cancel = &session;
  expect_error(ErrorCode::cancelled, "after 2 of 3", [&] { session.run({}); });
  to_cancel = nullptr;
  expect_error(ErrorCode::poisoned, "'a'", [&] { session.variables().read("a"); });
  REQUIRE(session.variables().read("b").at(0) == 5);
}

}  // namespace heddle::test
