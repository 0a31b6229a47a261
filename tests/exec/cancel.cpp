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
  Graph g;
  g.output("y", g.constant(Tensor::of<float>({1, 2}, {2})) + g.input("x", f32, {2}));
  Session session(g, {cancels_while_running()});
  const std::map<std::string, Tensor> x{{"x", Tensor::of<float>({1, 1}, {2})}};
  to_cancel = &session;  // each launch is the last step of its run
  session.run(x);
  REQUIRE(session.run(x).at("y").at(1) == 3);
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

TEST_CASE("what a cancelled run has not begun to commit keeps its value") {
  Graph g;
  const Value a = g.variable("a", f32, {2}, init::constant(4)),
              b = g.variable("b", f32, {2}, init::constant(5));
  g.pin("overridden:cancels");
  g.update(a, a + 1.0);
  g.pin("cpu");
  g.update(b, b + 1.0);
  Session session(g, {cancels_while_running(), Device::open("cpu")});
  to_cancel = &session;  // from the first launch: the new value of `a` is computed, and not committed
  expect_error(ErrorCode::cancelled, "after 1 of ", [&] { session.run({}); });
  to_cancel = nullptr;
  REQUIRE(session.variables().read("a").at(0) == 4);
  REQUIRE(session.variables().read("b").at(0) == 5);
  session.run({});
  REQUIRE(session.variables().read("a").at(0) == 5);
}

}  // namespace heddle::test
