// What sessions say when devices refuse nodes: grouped, short, about the API.
#include <algorithm>

#include "heddle/ops.h"
#include "heddle/session.h"
#include "tests/expect_error.h"

namespace heddle::test {
namespace {

std::string refusal(const Graph& g, const std::vector<Device>& devices, SessionOptions options = {}) {
  return expect_error(ErrorCode::unsupported, "refuses",
                      [&] { Session(g, devices, Variables(), options).explain(); });
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

Graph six_softmaxes(DType dtype) {
  Graph g;
  const Value x = g.input("x", dtype, {4, 8});
  for (int i = 0; i < 6; ++i) g.output("y" + std::to_string(i), softmax(x * (i + 2.0)));
  return g;
}

}  // namespace

TEST_CASE("nodes refused for one reason are one entry, with their parts indented under the whole") {
  const std::string text = refusal(six_softmaxes(f64), {Device::open("trn1")});
  CHECK_THAT(text, ContainsSubstring("refuses 12 nodes"));
  CHECK_THAT(text, ContainsSubstring("6 nodes of softmax: softmax_0, softmax_1, softmax_2 and 3 more"));
  CHECK_THAT(text, ContainsSubstring("6 nodes of pointwise: "));
  CHECK_THAT(text, ContainsSubstring("\n      trn1, its part '"));
  CHECK(count(text, "\n") <= 8);
}

TEST_CASE("the remedy is the library's, not the command line's") {
  const Graph g = six_softmaxes(f64);
  const std::string alone = refusal(g, {Device::open("trn1")});
  CHECK(alone.find("--") == std::string::npos);
  CHECK_THAT(alone, ContainsSubstring("second device and SessionOptions{.fallback = Fallback::allow}"));
  CHECK_THAT(refusal(g, {Device::open("trn1"), Device::open("cpu")}), ContainsSubstring("allow it"));
  CHECK_THAT(refusal(g, {Device::open("trn1"), Device::open("trn2")}, {.fallback = Fallback::allow}),
             ContainsSubstring("and so do the others"));
}

TEST_CASE("long operand lists are cut short") {
  Graph g;
  std::vector<Value> parts;
  for (int i = 0; i < 60; ++i) parts.push_back(g.input("x" + std::to_string(i), f64, {3}));
  g.output("y", concat(parts, 0));
  const std::string text = refusal(g, {Device::open("trn1")});
  CHECK(count(text, "float64[3]") <= 5);  // four, and the device's own words
  CHECK_THAT(text, ContainsSubstring("and 56 more"));
}

TEST_CASE("explain says of a part what was asked of the whole, once") {
  Graph g;
  const Value x = g.input("x", f32, {1, 2, 3, 4});
  g.output("y", softmax(x));
  Session session(g, {Device::open("reference:composites=off")});
  const Explanation e = session.explain();
  REQUIRE(e.nodes.size() > 1);
  REQUIRE_FALSE(e.nodes[0].declined.empty());
  CHECK(e.nodes[0].declined[0].what == "softmax 'softmax_0' as a whole");
  CHECK(count(e.table(), "softmax 'softmax_0' as a whole") == 1);
}

TEST_CASE("a pin names one device: as it was opened, or by a name that only one has") {
  const auto device_of = [](const char* pin, const std::vector<Device>& devices) {
    Graph g;
    g.pin(pin);
    g.output("y", g.input("x", f32, {2}) + 1.0);
    return Session(g, devices).explain().nodes.at(0).device;
  };
  const std::vector<Device> two = {Device::open("cpu:threads=1"), Device::open("cpu")};
  CHECK(device_of("cpu", two) == "cpu");  // not the first one, which is called cpu as well
  CHECK(device_of("cpu:threads=1", two) == "cpu:threads=1");
  CHECK(device_of("cpu", {Device::open("reference"), two[0]}) == "cpu:threads=1");
  expect_error(ErrorCode::invalid_argument, "cpu:threads=1, cpu:threads=2; pin it to one", [&] {
    device_of("cpu", {two[0], Device::open("cpu:threads=2")});
  });
  expect_error(ErrorCode::not_found, "the session has: cpu:threads=1, cpu", [&] { device_of("trn1", two); });
}

}  // namespace heddle::test
