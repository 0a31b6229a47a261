// What bounds the kernels of the simulated NeuronCore, and how close they come: simulated time alone,
// calibrated column. Deterministic; no tensor exists and nothing is computed.
//
//   bench_systolic [--device trn1] [--json] [--trace FILE] [NAME...]
//
// NAME: rows whose name contains one of these; FILE: Perfetto trace of the last row.
//
// A row: the kernel, its simulated time, the sum of each engine's issue intervals, of the time DVE and ACT
// hold PSUM's port, of DMA engine time over the engines; the largest of them (the binding resource) and the
// percentage of the simulated time that it explains. Targets of the project, all on trn1:
//   matmul 4096x8192x8192 bf16      pe >= 97 %
//   attention S4096 d128 bf16       <= 400 us, psum port >= 90 %; causal <= 0.6 of it
//   adamw                           the larger of dma and dve >= 85 %
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/kernel_bounds.h"
#include "heddle/error.h"

namespace {

using namespace heddle;
using namespace heddle::bench;

struct Row {
  std::string name;
  KernelCase kernel;
};

std::vector<Row> rows() {
  const auto norm = [](const char* op, int64_t n, int64_t width) {
    const ValueType x = type(bf16, {n, width}), scale = type(bf16, {width}), row = type(f32, {n, 1});
    const std::string name = op;
    if (name == "layer_norm") return KernelCase{name, {{"epsilon", 1e-5}}, {x, scale, scale}};
    if (name == "rms_norm") return KernelCase{name, {{"epsilon", 1e-5}}, {x, scale}};
    if (name == "layer_norm_grad") return KernelCase{name, {}, {x, x, scale, row, row}};
    return KernelCase{name, {}, {x, x, scale, row}};
  };
  const ValueType logits = type(bf16, {4096, 2048}), targets = type(i32, {4096}), per_row = type(f32, {4096});
  return {
      {"matmul 4096x8192x8192 bf16 lhsT", matmul_case(4096, 8192, 8192, bf16, true)},
      {"matmul 4096x8192x8192 bf16", matmul_case(4096, 8192, 8192, bf16, false)},
      {"matmul 2048x2048x2048 bf16", matmul_case(2048, 2048, 2048, bf16, false)},
      {"matmul 2048x2048x2048 f32", matmul_case(2048, 2048, 2048, f32, false)},
      {"attention S4096 d128 bf16 full", attention_case(1, 4096, 128, false)},
      {"attention S4096 d128 bf16 causal", attention_case(1, 4096, 128, true)},
      {"attention S1024 d64 bf16 causal 8 heads", attention_case(8, 1024, 64, true)},
      {"attention_grad S4096 d128 bf16 full", attention_grad_case(1, 4096, 128, false)},
      {"attention_grad S4096 d128 bf16 causal", attention_grad_case(1, 4096, 128, true)},
      {"adamw 16 x 1024x4096", adamw_case(16, 1024, 4096, 0)},
      {"adamw 12 x 768x768 and 50 x 768", adamw_case(12, 768, 768, 50)},
      {"layer_norm 4096x1024 bf16", norm("layer_norm", 4096, 1024)},
      {"rms_norm 4096x1024 bf16", norm("rms_norm", 4096, 1024)},
      {"layer_norm_grad 4096x1024 bf16", norm("layer_norm_grad", 4096, 1024)},
      {"rms_norm_grad 4096x1024 bf16", norm("rms_norm_grad", 4096, 1024)},
      {"softmax 4096x2048 bf16", {"softmax", {{"axis", int64_t{1}}}, {logits}}},
      {"cross_entropy 4096x2048 bf16", {"cross_entropy", {}, {logits, targets}}},
      {"cross_entropy_grad 4096x2048 bf16", {"cross_entropy_grad", {}, {per_row, logits, targets, per_row}}},
  };
}

int run(int argc, char** argv) {
  std::string device = "trn1";
  bool json = false;
  const char* trace = nullptr;
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0)
      json = true;
    else if (std::strcmp(argv[i], "--device") == 0 && i + 1 < argc)
      device = argv[++i];
    else if (std::strcmp(argv[i], "--trace") == 0 && i + 1 < argc)
      trace = argv[++i];
    else
      wanted.emplace_back(argv[i]);
  }
  nlohmann::json document = {{"device", device},
                             {"note", "simulated; calibrated on public figures, never run on Trainium"}};
  if (!json) {
    std::printf("%s: simulated; calibrated on public figures, never run on Trainium\n", device.c_str());
    std::printf("%-42s %10s %9s %9s %9s %9s %9s %9s  %-9s %6s\n", "kernel, us", "time", "pe", "act", "dve",
                "gpsimd", "port", "dma", "bound", "%");
  }
  for (const Row& row : rows()) {
    if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
          return row.name.find(w) != std::string::npos;
        }))
      continue;
    const systolic::Program program = compile_kernel(row.kernel, device);
    const KernelBounds b = bounds_of(program);
    if (trace != nullptr) std::ofstream(trace) << program.trace();
    const KernelBounds::Bound bound = b.binding();
    if (json)
      document["rows"].push_back({{"kernel", row.name},
                                  {"time_us", b.time},
                                  {"pe_us", b.pe},
                                  {"act_us", b.act},
                                  {"dve_us", b.dve},
                                  {"gpsimd_us", b.gpsimd},
                                  {"psum_port_us", b.psum_port},
                                  {"dma_us", b.dma},
                                  {"hbm_us", b.hbm},
                                  {"instructions", b.instructions},
                                  {"bound", bound.name},
                                  {"bound_us", bound.microseconds},
                                  {"percent_of_bound", b.percent_of(bound.microseconds)}});
    else
      std::printf("%-42s %10.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f  %-9s %6.1f\n", row.name.c_str(), b.time,
                  b.pe, b.act, b.dve, b.gpsimd, b.psum_port, b.dma, bound.name,
                  b.percent_of(bound.microseconds));
    std::fflush(stdout);
  }
  if (json) std::printf("%s\n", document.dump(2).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const heddle::Error& e) {
    std::fprintf(stderr, "bench_systolic: %s\n", e.what());
    return 1;
  }
}
