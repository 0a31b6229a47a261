// A graph that the toy device cannot run alone, with what is refused, copied and computed counted.
//   mixed [FILE.so]      without a file, HEDDLE_PLUGIN_PATH has brought the device
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

#include "heddle/heddle.h"

namespace {

int failures = 0;

void check(bool holds, const char* what, const std::string& shown = "") {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "not so: %s\n%s\n", what, shown.c_str());
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

heddle::Tensor waves(const heddle::Shape& shape) {
  heddle::Tensor t(heddle::f32, shape);
  for (int64_t i = 0; i < t.elements(); ++i) t.set(i, std::sin(static_cast<double>(i)));
  return t;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc > 1) heddle::load_plugin(argv[1]);
  const heddle::Device toy = heddle::Device::open("toy"), cpu = heddle::Device::open("cpu");

  heddle::Graph graph;
  const heddle::Value x = graph.input("x", heddle::f32, {8, 16});
  const heddle::Value w1 = graph.input("w1", heddle::f32, {16, 32}),
                      w2 = graph.input("w2", heddle::f32, {32, 4});
  const heddle::Value hidden = heddle::relu(heddle::matmul(x, w1));           // toy, toy
  const heddle::Value shares = heddle::log_softmax(heddle::softmax(hidden));  // cpu, cpu
  graph.output("y", heddle::matmul(shares, w2));                              // toy
  const std::map<std::string, heddle::Tensor> inputs = {
      {"x", waves({8, 16})}, {"w1", waves({16, 32})}, {"w2", waves({32, 4})}};

  // Nothing falls back silently.
  std::string refused;
  try {
    heddle::Session(graph, {toy}).run(inputs);
    check(false, "forbid refuses the graph");
  } catch (const heddle::Error& e) {
    refused = e.what();
    check(e.code() == heddle::ErrorCode::unsupported, "the code is unsupported");
  }
  check(has(refused, "softmax_"), "the error names the refused nodes", refused);
  check(has(refused, "log_softmax_"), "the error names every refused node", refused);
  check(has(refused, "has no kernel for this op"), "the error has the device's reason", refused);
  check(!has(refused, "matmul_"), "the error does not name offered nodes", refused);
  check(has(refused, "fallback"), "the error has the remedy", refused);

  // With fallback: toy, then cpu, then toy again; one value crosses each way.
  heddle::Session session(graph, {toy, cpu}, heddle::Variables(), {.fallback = heddle::Fallback::allow});
  const heddle::Tensor y = session.run(inputs).at("y");
  const heddle::RunReport& report = session.last_run();
  check(report.copies == 2, "two copies between devices", std::to_string(report.copies));
  check(report.copy_bytes == 2 * 8 * 32 * 4, "of 1 KiB each", std::to_string(report.copy_bytes));

  const heddle::Explanation plan = session.explain();
  int crossing = 0, on_toy = 0, on_cpu = 0;
  for (const auto& copy : plan.copies)
    crossing += (copy.from == "toy" && copy.to == "cpu") || (copy.from == "cpu" && copy.to == "toy");
  for (const auto& node : plan.nodes) {
    on_toy += node.device == "toy" && has(node.kernel, "toy.");
    on_cpu += node.device == "cpu" && !node.declined.empty() && node.declined[0].device == "toy";
  }
  check(crossing == 2, "the plan shows both copies", plan.table());
  check(on_toy == 3, "three nodes run on toy, by its kernels", plan.table());
  check(on_cpu == 2, "two nodes run on cpu, with toy's reasons", plan.table());

  const heddle::Tensor alone = heddle::Session(graph, {cpu}).run(inputs).at("y");
  for (int64_t i = 0; i < y.elements(); ++i)
    check(std::fabs(y.at(i) - alone.at(i)) <= 1e-4 * (1 + std::fabs(alone.at(i))),
          "the result is that of cpu alone");

  // A device out of memory says so and with which numbers.
  try {
    const heddle::Device small = heddle::Device::open("toy:memory=100");
    heddle::Session(graph, {small, cpu}, heddle::Variables(), {.fallback = heddle::Fallback::allow})
        .run(inputs);
    check(false, "a device of 100 bytes refuses");
  } catch (const heddle::Error& e) {
    check(e.code() == heddle::ErrorCode::out_of_memory && has(e.what(), "100"), "the device is out of memory",
          e.what());
  }
  return failures == 0 ? 0 : 1;
} catch (const heddle::Error& e) {
  std::fprintf(stderr, "mixed: %s\n", e.what());
  return 1;
}
