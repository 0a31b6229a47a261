// Handles used in ways they are not meant for: errors, never a crash.
#include <functional>
#include <future>
#include <mutex>
#include <utility>

#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/expect_error.h"
#include "tests/overridden_device.h"

namespace heddle::test {
namespace {

Graph twice() {
  Graph g;
  g.output("y", g.input("x", f32, {2}) * 2.0);
  return g;
}

const std::map<std::string, Tensor>& ones() {
  static const std::map<std::string, Tensor> inputs{{"x", Tensor::full(1, f32, {2})}};
  return inputs;
}

// While a launch is held, the run that made it is under way.
std::mutex gate;
std::promise<void>* reached = nullptr;

Device gated() {
  return open_with("gated", [](hd_device_vtable& table) {
    table.launch = [](hd_device* device, hd_stream* stream, hd_binding* binding, uint64_t* tick,
                      hd_status* status) {
      if (reached != nullptr) std::exchange(reached, nullptr)->set_value();
      const std::lock_guard pass(gate);
      return reference_table().launch(device, stream, binding, tick, status);
    };
  });
}

}  // namespace

TEST_CASE("a Device that is not open says so, whatever it is asked") {
  Device none;
  const auto refused = [](const std::function<void()>& f) {
    expect_error(ErrorCode::invalid_argument, "not open", f);
  };
  refused([&] { none.name(); });
  refused([&] { none.spec(); });
  refused([&] { none.description(); });
  refused([&] { none.clock(); });
  refused([&] { none.computes(); });
  refused([&] { none.memory_bytes(); });
  refused([&] { none.trim(); });
  refused([&] { Session session(twice(), {none}); });
}

TEST_CASE("a session that was moved from says so, whatever it is asked") {
  Session from(twice(), {Device::open("reference")});
  Session to = std::move(from);
  const auto refused = [](const std::function<void()>& f) {
    expect_error(ErrorCode::invalid_argument, "moved from", f);
  };
  refused([&] { from.run(ones()); });
  refused([&] { from.run(std::span<const Tensor>(), std::span<Tensor>()); });
  refused([&] { from.run_async(ones()); });
  refused([&] { from.cancel(); });
  refused([&] { from.explain(); });
  refused([&] { from.last_run(); });
  refused([&] { from.cached_plans(); });
  refused([&] { from.simulated_reports(); });
  refused([&] { from.set_trace(nullptr); });
  refused([&] { from.variables(); });
  REQUIRE(to.run(ones()).at("y").at(0) == 2);
}

TEST_CASE("a second run of a session is refused while the first is under way, and harms it not") {
  Session session(twice(), {gated()});
  std::promise<void> launched;
  reached = &launched;
  std::unique_lock hold(gate);
  std::future<std::map<std::string, Tensor>> first = session.run_async(ones());
  launched.get_future().wait();
  const auto refused = [](const std::function<void()>& f) {
    expect_error(ErrorCode::invalid_argument, "running already", f);
  };
  refused([&] { session.run(ones()); });
  refused([&] { session.run_async(ones()); });
  refused([&] { session.explain(); });
  refused([&] { session.set_trace(nullptr); });
  hold.unlock();
  REQUIRE(first.get().at("y").at(0) == 2);
  REQUIRE(session.run(ones()).at("y").at(1) == 2);  // the turn was given back
}

TEST_CASE("a session may be moved or destroyed before its future is read") {
  std::promise<void> launched;
  reached = &launched;
  std::unique_lock hold(gate);
  std::future<std::map<std::string, Tensor>> result;
  {
    Session session(twice(), {gated()});
    result = session.run_async(ones());
    launched.get_future().wait();
    const Session moved = std::move(session);
  }
  hold.unlock();
  REQUIRE(result.get().at("y").at(1) == 2);
}

}  // namespace heddle::test
