// What Heddle itself costs: nanoseconds per node above the kernel's own time, fixed nanoseconds per run, and
// heap allocations per run in steady state.
//
// The graph is a chain of n pointwise nodes of one element each (fusion off, one thread, so that nothing
// hides the dispatch). The kernel's own time is measured on the same kernel object, called directly in a
// loop. Cost per node is the slope over n; the fixed cost is the intercept.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <nlohmann/json.hpp>

#include "bench/interleaved.h"
#include "cpu/kernels/pointwise.h"
#include "heddle/ops/pointwise.h"
#include "heddle/session.h"

namespace {
std::atomic<uint64_t> allocations{0};
}

// Not inlined: GCC would see malloc and free without their wrappers and warn of a mismatch.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes ? bytes : 1)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace {

using namespace heddle;

// A session over a chain of `nodes` unfusable nodes, with its tensors.
struct Chain {
  explicit Chain(int nodes) {
    Graph g;
    Value x = g.input("x", f32, {1});
    for (int i = 0; i < nodes; ++i) x = i % 2 ? x * 1.0001 : x + 0.0001;
    g.output("y", x);
    SessionOptions options;
    options.fusion = false;
    session = std::make_unique<Session>(g, std::vector<Device>{Device::open("cpu:threads=1")}, Variables(),
                                        options);
    in = {Tensor(f32, {1})};
    out = {Tensor(f32, {1})};
    session->run(in, out);
  }
  void run() { session->run(in, out); }
  std::unique_ptr<Session> session;
  std::vector<Tensor> in, out;
};

// The kernel of one such node alone.
struct Kernel {
  Kernel() {
    ScalarProgram program;
    const uint32_t x = program.input(f32);
    program.outputs = {program.add(ScalarOp::add, x, program.constant(0.0001, f32))};
    const Shape shape[] = {Shape{1}};
    plan = std::make_unique<cpu::PointwisePlan>(program, shape[0], shape);
    scratch.resize(plan->scratch_bytes({1}) + 64);
  }
  void run() {
    const void* inputs[] = {&value};
    void* outputs[] = {&result};
    plan->run({1}, inputs, outputs, scratch.data());
  }
  std::unique_ptr<cpu::PointwisePlan> plan;
  std::vector<char> scratch;
  float value = 1, result = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::string(argv[1]) == "--json";
  Chain small(1), large(257);
  Kernel kernel;
  std::vector<bench::Contender> contenders = {{"1 node", [&] { small.run(); }},
                                              {"257 nodes", [&] { large.run(); }},
                                              {"kernel", [&] { kernel.run(); }}};
  bench::interleave(contenders, 3.0);
  const double one = bench::median(contenders[0].seconds) * 1e9,
               many = bench::median(contenders[1].seconds) * 1e9;
  const double own = bench::median(contenders[2].seconds) * 1e9;
  const double per_node = (many - one) / 256 - own, fixed = one - (many - one) / 256;

  const uint64_t before = allocations.load();
  constexpr int runs = 1000;
  for (int i = 0; i < runs; ++i) large.run();
  const double allocated = static_cast<double>(allocations.load() - before) / runs;

  if (json) {
    std::printf("%s\n", nlohmann::json{{"per_node_ns", per_node},
                                       {"kernel_ns", own},
                                       {"fixed_ns", fixed},
                                       {"allocations_per_run", allocated}}
                            .dump(2)
                            .c_str());
  } else {
    std::printf("dispatch per node above the kernel  %8.1f ns   (kernel itself %.1f ns)\n", per_node, own);
    std::printf("fixed per run                       %8.1f ns\n", fixed);
    std::printf("heap allocations per run            %8.2f\n", allocated);
  }
  return 0;
}
