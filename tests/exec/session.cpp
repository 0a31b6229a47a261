#include "heddle/session.h"

#include "heddle/ops.h"
#include "tests/expect_error.h"

using namespace heddle;

namespace {

Device reference() { return Device::open("reference"); }

// Every built-in device whose time is wall time.
const char* const real_devices[] = {"reference", "cpu", "cpu:threads=1"};

}  // namespace

TEST_CASE("Pointwise chains broadcast and agree on every device") {
  Graph g;
  const Value x = g.input("x", f32, {"n", 3, 5});
  const Value row = g.input("row", f32, {5}), column = g.input("column", f32, {3, 1});
  const Value h = gelu((x + row) * column);
  g.output("h", h);
  g.output("sum", sum(h * sigmoid(x) - 1.0, {0, 2}));
  g.output("mask", select(greater(x, row), exp(x), column * 0.5));
  for (const int64_t n : {1, 7, 400}) {
    Tensor in(f32, {n, 3, 5});
    for (int64_t i = 0; i < in.elements(); ++i) in.set(i, 0.37 * static_cast<double>(i % 23) - 4);
    const std::map<std::string, Tensor> inputs{{"x", in},
                                               {"row", Tensor::of<float>({1, -1, 0.5f, 2, 0}, {5})},
                                               {"column", Tensor::of<float>({1, 2, -1}, {3, 1})}};
    std::map<std::string, Tensor> want;
    for (const char* name : real_devices) {
      Session session(g, {Device::open(name)});
      const auto got = session.run(inputs);
      if (want.empty()) want = got;
      for (const auto& [output, tensor] : want)
        for (int64_t i = 0; i < tensor.elements(); ++i)
          REQUIRE(std::abs(got.at(output).at(i) - tensor.at(i)) <= 1e-5 * (1 + std::abs(tensor.at(i))));
    }
  }
}

TEST_CASE("A session runs a graph with named dims, one plan per binding") {
  Graph g;
  const Value x = g.input("x", f32, {"n", 3});
  g.output("y", x * 2.0 + 1.0);
  Session session(g, {reference()});
  for (int round = 0; round < 2; ++round) {
    for (int64_t n : {1, 2, 5}) {
      const Tensor y = session.run({{"x", Tensor::full(3, f32, {n, 3})}}).at("y");
      REQUIRE(y.shape() == Shape{n, 3});
      for (int64_t i = 0; i < y.elements(); ++i) REQUIRE(y.at(i) == 7);
    }
  }
  REQUIRE(session.plans_made() == 3);
}

TEST_CASE("The plan cache forgets the least recently used binding") {
  Graph g;
  const Value x = g.input("x", f32, {"n"});
  g.output("y", x + 1.0);
  SessionOptions options;
  options.plan_cache = 2;
  Session session(g, {reference()}, Variables(), options);
  for (int64_t n : {1, 2, 1, 3, 1}) session.run({{"x", Tensor(f32, {n})}});
  REQUIRE(session.plans_made() == 3);
  session.run({{"x", Tensor(f32, {2})}});
  REQUIRE(session.plans_made() == 4);
  REQUIRE(session.cached_plans() == 2);
}

TEST_CASE("All reads of a run see the old variables, all updates commit together") {
  Graph g;
  const Value a = g.variable("a", f32, {2}, init::constant(1));
  const Value b = g.variable("b", f32, {2}, init::constant(2));
  g.update(a, b + 0.0);
  g.update(b, a + 0.0);
  g.output("sum", a + b);
  Session session(g, {reference()});
  for (int i = 0; i < 3; ++i) REQUIRE(session.run({}).at("sum").at(0) == 3);
  REQUIRE(session.variables().read("a").at(0) == 2);
  REQUIRE(session.variables().read("b").at(0) == 1);
}

TEST_CASE(
    "A variable updated with an input or with another variable takes its value at the start of the run") {
  Graph g;
  const Value x = g.input("x", f32, {1});
  const Value a = g.variable("a", f32, {1}, init::constant(5));
  const Value b = g.variable("b", f32, {1});
  g.update(a, x);
  g.update(b, a);
  g.output("a", a);
  g.output("x", x);
  g.output("x_again", x);
  Session session(g, {reference()});
  const auto out = session.run({{"x", Tensor::full(7, f32, {1})}});
  REQUIRE(out.at("a").at(0) == 5);
  REQUIRE(out.at("x").at(0) == 7);
  REQUIRE(out.at("x_again").at(0) == 7);
  REQUIRE(session.variables().read("a").at(0) == 7);
  REQUIRE(session.variables().read("b").at(0) == 5);
}

TEST_CASE("Sessions share variables by name; checkpoints are their contents") {
  Graph train, eval;
  const Value w = train.variable("w", f32, {2}, init::constant(1));
  train.update(w, w * 2.0);
  eval.output("w", eval.variable("w", f32, {2}) + 0.0);
  Variables variables(3);
  Session step(train, {reference()}, variables), read(eval, {reference()}, variables);
  step.run({});
  step.run({});
  REQUIRE(read.run({}).at("w").at(1) == 4);
  variables.write("w", Tensor::full(10, f32, {2}));
  REQUIRE(read.run({}).at("w").at(1) == 10);
  REQUIRE_THROWS_AS(variables.write("w", Tensor(f32, {3})), Error);
}

TEST_CASE("Positional runs bind the caller's memory and skip unwanted outputs") {
  Graph g;
  const Value x = g.input("x", f32, {4});
  g.output("twice", x * 2.0);
  g.output("thrice", x * 3.0);
  Session session(g, {reference()});
  std::vector<Tensor> in{Tensor::full(1, f32, {4})}, out{Tensor(f32, {4}), Tensor()};
  session.run(in, out);
  REQUIRE(out[0].at(3) == 2);
  REQUIRE(session.last_run().copies == 0);
  out[1] = Tensor(f32, {4});
  session.run(in, out);
  REQUIRE(out[1].at(0) == 3);
  out[0] = Tensor(f32, {5});
  REQUIRE_THROWS_AS(session.run(in, out), Error);
}

TEST_CASE("Strided inputs are made dense, not misread") {
  Graph g;
  g.output("y", g.input("x", f32, {3, 2}) + 0.0);
  Session session(g, {reference()});
  const Tensor x = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const int64_t order[] = {1, 0};
  const Tensor y = session.run({{"x", x.transpose(order)}}).at("y");
  REQUIRE(y.at(1) == 4);
}

TEST_CASE("Bad runs say which input is wrong") {
  Graph g;
  const Value x = g.input("x", f32, {"n", 3});
  const Value m = g.input("m", f32, {"n"});
  g.output("y", x + reshape(m, {-1, 1}));
  Session session(g, {reference()});
  const Tensor ok(f32, {2, 3});
  const auto text = [&](const std::map<std::string, Tensor>& inputs) {
    try {
      session.run(inputs);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  REQUIRE(text({{"x", ok}}).find("'m' is missing") != std::string::npos);
  REQUIRE(text({{"x", ok}, {"m", Tensor(f32, {2})}, {"q", ok}}).find("no input 'q'") != std::string::npos);
  REQUIRE(text({{"x", ok}, {"m", Tensor(f32, {3})}}).find("'n' is 2") != std::string::npos);
  REQUIRE(text({{"x", Tensor(f64, {2, 3})}, {"m", Tensor(f32, {2})}}).find("float64") != std::string::npos);
  REQUIRE(text({{"x", Tensor(f32, {2, 4})}, {"m", Tensor(f32, {2})}}).find("'x'") != std::string::npos);
  REQUIRE(text({{"x", ok}, {"m", Tensor(f32, {2})}}) == "no error");
}

TEST_CASE("Unknown devices are answered with those that exist") {
  try {
    Device::open("tpu");
    FAIL("opened a device that does not exist");
  } catch (const Error& e) {
    REQUIRE(e.code() == ErrorCode::not_found);
    REQUIRE(std::string(e.what()).find("reference") != std::string::npos);
  }
  REQUIRE_THROWS_AS(Device::open("reference:colour=red"), Error);
}

TEST_CASE("A device without room says what was asked for") {
  Graph g;
  const Value w = g.variable("w", f32, {1024});
  g.output("y", w + 1.0);
  Session session(g, {Device::open("reference:memory=1000")});
  try {
    session.run({});
    FAIL("fitted 4096 bytes into 1000");
  } catch (const Error& e) {
    REQUIRE(e.code() == ErrorCode::out_of_memory);
    REQUIRE(std::string(e.what()).find("4096") != std::string::npos);
    REQUIRE(std::string(e.what()).find("'w'") != std::string::npos);
    REQUIRE(std::string(e.what()).find("larger memory=BYTES") != std::string::npos);
  }
}

TEST_CASE("A plan without room says what it needs") {
  Graph g;
  g.output("y", exp(g.variable("w", f32, {64})) + 1.0);
  Session session(g, {Device::open("trn1:memory=4096")});
  try {
    session.run({});
    FAIL("the working memory of a NeuronCore fitted into 4096 bytes");
  } catch (const Error& e) {
    REQUIRE(e.code() == ErrorCode::out_of_memory);
    REQUIRE(std::string(e.what()).find("the plan needs") != std::string::npos);
    REQUIRE(std::string(e.what()).find("256 for variables") != std::string::npos);
    REQUIRE(std::string(e.what()).find("larger memory=BYTES") != std::string::npos);
  }
}

TEST_CASE("A run counts the copies that explain lists") {
  Graph g;
  const Value x = g.input("x", f32, {2, 3}), w = g.variable("w", f32, {3});
  g.output("p", softmax(x * w));
  g.pin("cpu");
  g.output("q", exp(x * w));
  Session session(g, {Device::open("trn1"), Device::open("cpu")});
  const Explanation plan = session.explain();
  session.run({{"x", Tensor(f32, {2, 3})}});
  uint64_t bytes = 0;
  for (const Explanation::CopyRow& copy : plan.copies) bytes += copy.bytes;
  REQUIRE(plan.copies.size() >= 3);  // x up, w across, p down
  REQUIRE(plan.crossings() == 1);
  REQUIRE(session.last_run().copies == plan.copies.size());
  REQUIRE(session.last_run().copy_bytes == bytes);
  REQUIRE(session.last_run().crossings == 1);
}

TEST_CASE("Sessions take options without variables, and refuse to freeze what they update") {
  Graph still, moving;
  still.output("y", still.variable("w", f32, {2}) + 1.0);
  const Value w = moving.variable("w", f32, {2});
  moving.update(w, w + 1.0);
  Session session(still, {reference()}, {}, {.freeze = true});
  REQUIRE(session.run({}).at("y").at(0) == 1);
  test::expect_error(ErrorCode::invalid_argument, "freeze",
                     [&] { Session(moving, {reference()}, {}, {.freeze = true}); });
}

TEST_CASE("explain wants every named size, and no other") {
  Graph g;
  g.output("y", g.input("x", f32, {"batch", "width"}) + 1.0);
  Session session(g, {reference()});
  test::expect_error(ErrorCode::not_found, "explain({{\"batch\", N}, {\"width\", N}})",
                     [&] { session.explain(); });
  test::expect_error(ErrorCode::not_found, "'btch'; there are: batch, width", [&] {
    session.explain({{"btch", 3}});
  });
  REQUIRE(session.explain({{"batch", 3}, {"width", 2}}).nodes.size() == 1);
}

TEST_CASE("run_async gives the results of run, and the error of a cancelled run") {
  Graph g;
  g.output("y", g.input("x", f32, {2}) + 1.0);
  Session session(g, {reference()});
  REQUIRE(session.run_async({{"x", Tensor(f32, {2})}}).get().at("y").at(0) == 1);
  session.cancel();
  REQUIRE_THROWS_AS(session.run_async({{"x", Tensor(f32, {2})}}).get(), Error);
  REQUIRE(session.run_async({{"x", Tensor(f32, {2})}}).get().at("y").at(0) == 1);
}
