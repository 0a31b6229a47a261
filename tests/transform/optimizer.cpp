// minimize(): whole training steps against PyTorch, and what each option promises.
#include "heddle/optimizer.h"

#include <cmath>
#include <set>

#include "heddle/ops.h"
#include "kernels/evaluate.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/golden/golden.h"

namespace heddle::test {
namespace {

using Tensors = std::map<std::string, Tensor>;

// Variables by name, starting as their graph says; run() replaces those that are updated.
class Training {
 public:
  explicit Training(const Graph& graph) : graph_(graph) {
    for (const VariableInfo& v : graph.variables()) {
      variables.emplace(v.name, initial_value(v.initializer, v.name, v.dtype, v.shape, 1));
    }
  }
  Tensors run(Tensors inputs = {}) {
    inputs.insert(variables.begin(), variables.end());
    Evaluation e = evaluate(graph_, inputs);
    for (auto& [name, contents] : e.variables) variables[name] = contents;
    return e.outputs;
  }
  double at(const std::string& variable) const { return variables.at(variable).at(0); }

  Tensors variables;

 private:
  Graph graph_;
};

std::set<std::string> variable_names(const Graph& g) {
  std::set<std::string> names;
  for (const VariableInfo& v : g.variables()) names.insert(v.name);
  return names;
}

size_t count_nodes(const Graph& g, const std::string& op) {
  size_t n = 0;
  for (NodeId id = 0; id < g.node_count(); ++id) n += g.node(id).op->name == op ? 1 : 0;
  return n;
}

// loss = sum(slope * w): the gradient of w is `slope` in every run.
struct Slope {
  Graph g;
  Value w, loss;
  Slope(double slope, double start, DType dtype = f32, const Shape& shape = {1})
      : w(g.variable("w", dtype, shape, init::constant(start))), loss(sum(w * slope)) {}
};

// ---- against PyTorch -----------------------------------------------------------------------------

struct GoldenRun {
  std::string name;
  Optimizer optimizer;
  MinimizeOptions options;
};

void check_golden_run(const nlohmann::json& golden, const GoldenRun& run) {
  INFO(run.name);
  Graph g;
  const Value x = g.input("x", f64, {4, 3}), targets = g.input("targets", i64, {4});
  std::map<std::string, Value> p;
  for (const auto& [name, contents] : golden.at("parameters").items()) {
    const Tensor start = golden_tensor(contents);
    p[name] = g.variable(name, f64, start.shape(), init::tensor(start));
  }
  const Value hidden = gelu(matmul(x, p["w1"]) + p["b1"]);
  const Value loss = cross_entropy(matmul(hidden, p["w2"]) + p["b2"], targets);
  const Minimized m = minimize(loss, run.optimizer, run.options);
  g.output("loss", loss);
  if (m.gradient_norm) g.output("norm", m.gradient_norm);

  nlohmann::json want;
  for (const nlohmann::json& j : golden.at("runs"))
    if (j.at("name") == run.name) want = j;
  REQUIRE(!want.is_null());
  const Tensor losses = golden_tensor(want.at("losses")), norms = golden_tensor(want.at("norms"));
  // Float64 throughout; six steps of a small network multiply rounding by far less than 10^4.
  const auto close = [](double got, double expected) {
    CHECK(std::fabs(got - expected) <= 1e4 * unit_roundoff(f64) * (1 + std::fabs(expected)));
  };
  Training training(g);
  int64_t i = 0;
  for (const nlohmann::json& batch : golden.at("batches")) {
    const Tensors out =
        training.run({{"x", golden_tensor(batch.at("x"))}, {"targets", golden_tensor(batch.at("targets"))}});
    close(out.at("loss").at(0), losses.at(i));
    if (m.gradient_norm && (i + 1) % run.options.accumulate == 0) {
      close(out.at("norm").at(0), norms.at(i / run.options.accumulate));
    }
    ++i;
  }
  for (const auto& [name, contents] : want.at("after").items()) {
    const Tensor after = golden_tensor(contents);
    INFO(name);
    for (int64_t e = 0; e < after.elements(); ++e) close(training.variables.at(name).at(e), after.at(e));
  }
}

TEST_CASE("training steps agree with PyTorch") {
  const nlohmann::json golden = golden_file("train.json");
  const NamePredicate bias = [](const std::string& name) { return name[0] == 'b'; };
  const std::vector<ParameterGroup> no_decay = {{.matches = bias, .weight_decay = 0.0}};
  const double rate = 0.0625;
  check_golden_run(golden,
                   {"sgd",
                    Sgd{.learning_rate = rate, .momentum = 0.875, .weight_decay = 0.125, .nesterov = true},
                    {.groups = no_decay}});
  check_golden_run(golden, {"adam",
                            Adam{.learning_rate = rate, .weight_decay = 0.125},
                            {.groups = no_decay, .frozen = [](const std::string& n) { return n == "b1"; }}});
  check_golden_run(golden,
                   {"adamw",
                    AdamW{.learning_rate = schedule::warmup_cosine(rate, 2, 5), .weight_decay = 0.125},
                    {.groups = {{.matches = bias, .weight_decay = 0.0, .learning_rate_scale = 0.5}},
                     .max_grad_norm = 0.25}});
  check_golden_run(golden, {"accumulate",
                            AdamW{.learning_rate = rate, .weight_decay = 0.125},
                            {.groups = no_decay, .max_grad_norm = 0.25, .accumulate = 2}});
}

// ---- options -------------------------------------------------------------------------------------

TEST_CASE("minimize trains what the loss depends on, with state beside each parameter") {
  Graph g;
  const Value a = g.variable("a", f32, {2}, init::constant(1)), b = g.variable("b", f32, {2});
  const Value frozen = g.variable("frozen", f32, {2}), running = g.variable("running", f32, {2});
  g.variable("unused", f32, {2});
  const Value count = g.variable("count", i64, {});
  g.update(running, running * 0.5);
  const Value loss = sum(square(a + b + frozen + running)) + convert(count, f32);
  const Minimized m = minimize(loss, Adam{}, {.frozen = [](const std::string& n) { return n == "frozen"; }});
  CHECK(m.parameters == std::vector<std::string>{"a", "b"});
  CHECK(!m.gradient_norm);
  CHECK(variable_names(g) == std::set<std::string>{"a", "b", "frozen", "running", "unused", "count",
                                                   "a.adam_m", "a.adam_v", "b.adam_m", "b.adam_v",
                                                   "optimizer.step"});
  CHECK(g.updates().size() == 1 + 2 * 3 + 1);
  CHECK(count_nodes(g, "adam") == 1);
  // A second optimizer finds nothing left.
  expect_error(ErrorCode::invalid_argument, "nothing to train", [&] {
    minimize(loss, Sgd{}, {.frozen = [](const auto& n) { return n == "frozen"; }, .name = "o"});
  });
}

TEST_CASE("parameters of equal decay and rate share one optimizer node") {
  Graph g;
  Value loss = g.scalar(0);
  for (const char* name : {"w0", "b0", "w1", "b1"}) loss = loss + sum(square(g.variable(name, f32, {3})));
  minimize(loss, Sgd{.momentum = 0.9},
           {.groups = {{.matches = [](const std::string& n) { return n[0] == 'b'; }, .weight_decay = 0.1}}});
  CHECK(count_nodes(g, "sgd") == 2);
  CHECK(variable_names(g).count("w1.momentum") == 1);
}

TEST_CASE("the first matching group counts, and scales the learning rate") {
  Graph g;
  const Value a = g.variable("a", f32, {1}), b = g.variable("b", f32, {1});
  const auto any = [](const std::string&) { return true; };
  minimize(
      sum(a + b), Sgd{.learning_rate = 1},
      {.groups = {{.matches = [](const std::string& n) { return n == "b"; }, .learning_rate_scale = 0.25},
                  {.matches = any, .learning_rate_scale = 2}}});
  Training t(g);
  t.run();
  CHECK(t.at("a") == -2);
  CHECK(t.at("b") == -0.25);
}

TEST_CASE("accumulated gradients are averaged, and one step is taken every n runs") {
  Graph g;
  const Value w = g.variable("w", f32, {1}), slope = g.input("slope", f32, {1});
  const Minimized m = minimize(sum(w * slope), Sgd{.learning_rate = 0.5, .momentum = 0.5}, {.accumulate = 4});
  g.output("step", m.step);
  Training t(g);
  const auto run = [&](float s) { return t.run({{"slope", Tensor::of<float>({s}, {1})}}).at("step").at(0); };
  for (const float s : {1.0f, 2.0f, 3.0f}) {
    CHECK(run(s) == 1);
    CHECK(t.at("w") == 0);
    CHECK(t.at("w.momentum") == 0);
    CHECK(t.at("optimizer.step") == 0);
  }
  CHECK(t.at("w.grad_sum") == 1.5);
  CHECK(t.at("optimizer.micro_step") == 3);
  CHECK(run(10) == 1);
  CHECK(t.at("w") == -2);  // 0.5 * (1 + 2 + 3 + 10) / 4
  CHECK(t.at("w.momentum") == 4);
  CHECK(t.at("w.grad_sum") == 0);
  CHECK(t.at("optimizer.micro_step") == 0);
  CHECK(t.at("optimizer.step") == 1);
  CHECK(run(0) == 2);
  CHECK(t.at("w") == -2);
}

TEST_CASE("a run whose gradient is not finite spoils only its own window of accumulated runs, loudly") {
  Graph g;
  const Value w = g.variable("w", f32, {1}), slope = g.input("slope", f32, {1});
  minimize(sum(w * slope), Sgd{.learning_rate = 1}, {.accumulate = 2});
  Training t(g);
  const auto run = [&](float s) { t.run({{"slope", Tensor::of<float>({s}, {1})}}); };
  run(INFINITY);
  CHECK(t.at("w") == 0);  // select, not multiplication by 0: nothing leaks before the step
  run(1);
  CHECK(t.at("w") == -INFINITY);
  CHECK(t.at("w.grad_sum") == 0);
}

TEST_CASE("master weights keep steps that the parameter's dtype rounds away") {
  for (const bool master : {false, true}) {
    Slope s(1, 1.0, bf16);
    minimize(s.loss, Sgd{.learning_rate = 0x1p-12}, {.master_weights = master});
    Training t(s.g);
    // Loaded by hand, as from a file without optimizer state.
    t.variables["w"] = Tensor::full(2, bf16, {1});
    for (int i = 0; i < 64; ++i) t.run();
    // 64 steps of 2^-12 are 2^-6; each alone is far below bfloat16's spacing of 2^-7 under 2.
    CHECK(t.at("w") == (master ? 2 - 0x1p-6 : 2));
    CHECK(variable_names(s.g).count("w.master") == (master ? 1 : 0));
    if (master) CHECK(t.at("w.master") == 2 - 0x1p-6);
  }
}

TEST_CASE("master weights and state are float32 for narrow parameters, and absent for wide ones") {
  Graph g;
  const Value a = g.variable("a", f16, {2}, init::constant(1)),
              b = g.variable("b", f64, {2}, init::constant(1));
  minimize(convert(sum(square(a)), f32) + convert(sum(square(b)), f32), AdamW{}, {.master_weights = true});
  std::map<std::string, DType> dtypes;
  for (const VariableInfo& v : g.variables()) dtypes[v.name] = v.dtype;
  CHECK(dtypes.at("a.master") == f32);
  CHECK(dtypes.at("a.adam_v") == f32);
  CHECK(dtypes.at("b.adam_m") == f64);
  CHECK(dtypes.count("b.master") == 0);
  Training t(g);
  t.run();
  CHECK(t.at("a.master") == Approx(1 - 1e-3 * 1.01).epsilon(1e-6));
  CHECK(t.at("b") == Approx(1 - 1e-3 * 1.01).epsilon(1e-9));
}

TEST_CASE("clipping bounds the norm over all parameters and reports what it was") {
  Graph g;
  const Value a = g.variable("a", f32, {1}), b = g.variable("b", f32, {1});
  const Minimized m = minimize(sum(a * 3.0) + sum(b * 4.0), Sgd{.learning_rate = 1}, {.max_grad_norm = 0.5});
  g.output("norm", m.gradient_norm);
  Training t(g);
  CHECK(t.run().at("norm").at(0) == 5);
  CHECK(t.at("a") == Approx(-0.3).epsilon(1e-6));
  CHECK(t.at("b") == Approx(-0.4).epsilon(1e-6));
}

TEST_CASE("the step counter is exact to 2^24 updates") {
  Slope s(1, 0);
  minimize(s.loss, Sgd{});
  Training t(s.g);
  t.variables["optimizer.step"] = Tensor::of<float>({0x1p24f - 1}, {});
  t.run();
  CHECK(t.at("optimizer.step") == 0x1p24);
}

// ---- schedules -----------------------------------------------------------------------------------

// The rates of updates 1 .. n.
std::vector<double> rates(const Schedule& schedule, int64_t n, DType dtype = f64) {
  Graph g;
  const Value step = g.input("step", dtype, {});
  g.output("rate", schedule(step));
  std::vector<double> result;
  for (int64_t t = 1; t <= n; ++t) {
    const Tensor rate =
        evaluate(g, {{"step", Tensor::scalar(static_cast<double>(t), dtype)}}).outputs.at("rate");
    CHECK(rate.dtype() == dtype);
    result.push_back(rate.at(0));
  }
  return result;
}

void check_rates(const Schedule& schedule, const std::vector<double>& want) {
  for (const DType dtype : {f64, f32}) {
    const std::vector<double> got = rates(schedule, static_cast<int64_t>(want.size()), dtype);
    for (size_t i = 0; i < want.size(); ++i) {
      INFO("update " << i + 1 << " in " << dtype_name(dtype));
      CHECK(std::fabs(got[i] - want[i]) <= 8 * unit_roundoff(dtype));  // rates below 1, a few roundings
    }
  }
}

TEST_CASE("schedules") {
  check_rates(schedule::constant(0.25), {0.25, 0.25});
  const double c = 0.5 * (1 + std::cos(M_PI / 4)), d = 0.5 * (1 - std::cos(M_PI / 4));
  check_rates(schedule::warmup_cosine(0.8, 4, 8), {0.2, 0.4, 0.6, 0.8, 0.8 * c, 0.4, 0.8 * d, 0, 0, 0});
  check_rates(schedule::warmup_cosine(0.8, 0, 4, 0.2), {0.2 + 0.6 * c, 0.5, 0.2 + 0.6 * d, 0.2, 0.2});
  check_rates(schedule::warmup_linear(0.8, 2, 6, 0.4), {0.4, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4});
  check_rates(schedule::step_decay(0.8, 0.5, 3), {0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2});
}

TEST_CASE("step_decay drops at the right update also far out, in float32") {
  Graph g;
  const Value step = g.input("step", f32, {});
  g.output("rate", schedule::step_decay(1, 0.5, 3)(step));
  // Two drops, after 3 * 10 and far beyond float32's tenth of a step.
  const auto rate = [&](double t) {
    return evaluate(g, {{"step", Tensor::scalar(t)}}).outputs.at("rate").at(0);
  };
  CHECK(rate(30) == Approx(std::exp2(-9)));
  CHECK(rate(31) == Approx(std::exp2(-10)));
}

// ---- errors --------------------------------------------------------------------------------------

TEST_CASE("minimize refuses a loss that is not one float, and options out of range") {
  Graph g;
  const Value w = g.variable("w", f32, {2});
  const Value loss = sum(square(w));
  expect_error(ErrorCode::shape_mismatch, "float32[2]", [&] { minimize(square(w), Sgd{}); });
  expect_error(ErrorCode::dtype_mismatch, "rank 0", [&] { minimize(g.scalar(1, i64), Sgd{}); });
  expect_error(ErrorCode::invalid_argument, "no value", [&] { minimize(Value(), Sgd{}); });
  expect_error(ErrorCode::invalid_argument, "accumulate is 0",
               [&] { minimize(loss, Sgd{}, {.accumulate = 0}); });
  expect_error(ErrorCode::invalid_argument, "max_grad_norm",
               [&] { minimize(loss, Sgd{}, {.max_grad_norm = -1}); });
  expect_error(ErrorCode::invalid_argument, "nothing to train", [&] { minimize(g.scalar(1), Sgd{}); });
  expect_error(ErrorCode::invalid_argument, "beta1", [&] { minimize(loss, Adam{.beta1 = 1}); });
  expect_error(ErrorCode::invalid_argument, "warmup_cosine", [&] { schedule::warmup_cosine(1, 5, 5); });
  expect_error(ErrorCode::invalid_argument, "step_decay", [&] { schedule::step_decay(1, 0.5, 0); });
  expect_error(ErrorCode::invalid_argument, "empty schedule",
               [&] { minimize(loss, Sgd{.learning_rate = Schedule()}); });
}

}  // namespace
}  // namespace heddle::test
