// The ops of a transformer one by one, on any device, with Google Benchmark: what one run of a session costs,
// and the op's own work (its schema's flops and bytes) over that time.
//
//   bench_ops [--device NAME]... [Google Benchmark's options: --benchmark_filter=attention,
//   --benchmark_format=json]
//
// Times are wall clock. Of a simulated device that is the time of the simulation; what the device would take
// is the counter `simulated_us`, which is never added to it. To compare ways of doing the same work take
// bench_matmul: its contenders take turns.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "heddle/heddle.h"

namespace {

using namespace heddle;

struct Case {
  const char* name;
  std::function<void(Graph&)> build;  // inputs are filled with uniform numbers
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"matmul/f32/512x512x512",
       [](Graph& g) {
         g.output("y", matmul(g.input("a", f32, {512, 512}), g.input("b", f32, {512, 512})));
       }},
      {"matmul/bf16/512x512x512",
       [](Graph& g) {
         g.output("y", matmul(g.input("a", bf16, {512, 512}), g.input("b", bf16, {512, 512})));
       }},
      {"attention/f32/1x8x512x64/causal",
       [](Graph& g) {
         const auto head = [&](const char* name) { return g.input(name, f32, {1, 8, 512, 64}); };
         g.output("y", attention(head("q"), head("k"), head("v"), {.causal = true}));
       }},
      {"softmax/f32/2048x1024",
       [](Graph& g) {
         g.output("y", softmax(g.input("x", f32, {2048, 1024})));
       }},
      {"layer_norm/f32/2048x1024",
       [](Graph& g) {
         g.output("y", layer_norm(g.input("x", f32, {2048, 1024}), g.input("scale", f32, {1024}),
                                  g.input("bias", f32, {1024})));
       }},
      {"gelu/f32/2048x1024",
       [](Graph& g) {
         g.output("y", gelu(g.input("x", f32, {2048, 1024})));
       }},
      {"reduce_sum/f32/2048x1024",
       [](Graph& g) {
         g.output("y", sum(g.input("x", f32, {2048, 1024}), {-1}));
       }},
  };
  return all;
}

Tensor random_tensor(const ValueInfo& value, std::mt19937_64& random) {
  std::vector<int64_t> sizes;
  for (const Dim& dim : value.dims) sizes.push_back(dim.number());
  std::uniform_real_distribution<double> uniform(-1, 1);
  Tensor tensor(value.dtype, Shape(sizes));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.set(i, uniform(random));
  return tensor;
}

void run_case(benchmark::State& state, const Case& measured, const std::string& device) try {
  Graph graph;
  measured.build(graph);
  Session session(graph, {Device::open(device)});
  std::mt19937_64 random(1);
  std::vector<Tensor> in, out(1);
  for (const ValueId input : graph.inputs()) in.push_back(random_tensor(graph.info(input), random));
  out[0] = random_tensor(graph.info(graph.outputs()[0].value), random);
  session.run(in, out);
  double flops = 0, bytes = 0;
  for (const auto& node : session.explain().nodes) flops += node.flops, bytes += node.bytes;
  for ([[maybe_unused]] auto _ : state) session.run(in, out);
  const double runs = static_cast<double>(state.iterations());
  state.counters["flops"] = benchmark::Counter(flops * runs, benchmark::Counter::kIsRate);
  state.counters["bytes"] = benchmark::Counter(bytes * runs, benchmark::Counter::kIsRate);
  if (const uint64_t ps = session.last_run().simulated_ps; ps != 0)
    state.counters["simulated_us"] = static_cast<double>(ps) * 1e-6;
} catch (const Error& e) {
  state.SkipWithError(e.what());
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> devices;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    if (std::string(argv[i]) == "--device" && i + 1 < argc)
      devices.emplace_back(argv[++i]);
    else
      rest.push_back(argv[i]);
  }
  if (devices.empty()) devices = {"cpu"};
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
  for (const std::string& device : devices)
    for (const Case& c : cases())
      benchmark::RegisterBenchmark((device + "/" + c.name).c_str(),
                                   [&c, device](benchmark::State& state) { run_case(state, c, device); })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
  return benchmark::RunSpecifiedBenchmarks() == 0 ? 1 : 0;
}
