// Matmul of the cpu device beside direct calls of oneDNN and OpenBLAS, in turns, in one process.
//
//   bench_matmul [--seconds S] [--json] [MxNxK ...]     default: cubes of 256, 512, 1024, 2048, two seconds
//   each
//
// For float32 and bfloat16, one thread and all: GF/s of each, and how many times faster ours is than the
// better of the two (median of the rounds' ratios, with its 95 % interval).
#include <dlfcn.h>
#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/interleaved.h"
#include "cpu/isa.h"
#include "cpu/kernels/matmul.h"
#include "cpu/onednn.h"
#include "cpu/openblas.h"
#include "heddle/error.h"
#include "heddle/tensor.h"

#if HEDDLE_HAVE_ONEDNN
#include "cpu/onednn_api.h"
#endif

using namespace heddle;

namespace {

struct Problem {
  DType dtype;
  int64_t m, n, k;
  int threads;
};

struct Operands {
  Tensor a, b, y;
  explicit Operands(const Problem& p)
      : a(p.dtype, {p.m, p.k}), b(p.dtype, {p.k, p.n}), y(p.dtype, {p.m, p.n}) {
    for (int64_t i = 0; i < a.elements(); ++i) a.set(i, static_cast<double>(i * 7 % 31) / 31 - 0.5);
    for (int64_t i = 0; i < b.elements(); ++i) b.set(i, static_cast<double>(i * 5 % 29) / 29 - 0.5);
  }
};

// Each returns a function that multiplies, or none where it cannot.
using Multiply = std::function<void()>;

Multiply ours(const Problem& p, Operands& o, std::string& kernel) {
  auto matmul = std::make_shared<cpu::Matmul>(
      cpu::matmul_shape(p.dtype, o.a.shape(), o.b.shape(), false, false), cpu::Threads{p.threads});
  auto scratch = std::make_shared<Tensor>(u8, Shape{static_cast<int64_t>(matmul->plan().scratch_bytes)});
  kernel = matmul->plan().name;
  return [=, &o] { matmul->run(o.a.data(), o.b.data(), o.y.data(), scratch->data()); };
}

Multiply direct_onednn(const Problem& p, Operands& o) {
#if HEDDLE_HAVE_ONEDNN
  using Memory = dnnl::memory;
  const auto type = p.dtype == f32 ? Memory::data_type::f32 : Memory::data_type::bf16;
  const auto describe = [&](int64_t rows, int64_t columns) {
    return Memory::desc({rows, columns}, type, Memory::format_tag::ab);
  };
  const Memory::desc a = describe(p.m, p.k), b = describe(p.k, p.n), y = describe(p.m, p.n);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  omp_set_num_threads(p.threads);
  const dnnl::matmul matmul(cpu::onednn::describe_matmul(engine, a, b, y, {}));
  const std::unordered_map<int, Memory> arguments{{DNNL_ARG_SRC, Memory(a, engine, o.a.data())},
                                                  {DNNL_ARG_WEIGHTS, Memory(b, engine, o.b.data())},
                                                  {DNNL_ARG_DST, Memory(y, engine, o.y.data())}};
  return [matmul, arguments, stream = dnnl::stream(engine)]() mutable { matmul.execute(stream, arguments); };
#else
  (void)p, (void)o;
  return {};
#endif
}

Multiply direct_openblas(const Problem& p, Operands& o) {
  const auto& status = cpu::openblas::status();
  if (p.dtype != f32 || !status.available) return {};
  using Gemm =
      void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
  const auto gemm =
      reinterpret_cast<Gemm>(dlsym(dlopen(status.path.c_str(), RTLD_NOW | RTLD_LOCAL), "cblas_sgemm"));
  const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
  constexpr int row_major = 101, no_transpose = 111;
  return [=, &o] {
    gemm(row_major, no_transpose, no_transpose, m, n, k, 1.0f, o.a.values<float>().data(), k,
         o.b.values<float>().data(), n, 0.0f, o.y.values<float>().data(), n);
  };
}

nlohmann::json measure(const Problem& p, double seconds) {
  Operands o(p);
  std::string kernel;
  std::vector<bench::Contender> contenders;
  omp_set_num_threads(p.threads);
  contenders.push_back({"heddle", ours(p, o, kernel)});
  if (auto run = direct_onednn(p, o)) contenders.push_back({"onednn", run});
  if (auto run = direct_openblas(p, o)) contenders.push_back({"openblas", run});
  bench::interleave(contenders, seconds);
  const double flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  nlohmann::json row{{"dtype", dtype_name(p.dtype)}, {"m", p.m},        {"n", p.n}, {"k", p.k},
                     {"threads", p.threads},         {"kernel", kernel}};
  size_t best = 0;
  for (size_t i = 0; i < contenders.size(); ++i) {
    const double time = bench::median(contenders[i].seconds);
    row["gflops"][contenders[i].name] = flops / time * 1e-9;
    if (i > 0 && (best == 0 || time < bench::median(contenders[best].seconds))) best = i;
  }
  if (best > 0) {
    const bench::Ratio ratio = bench::paired_ratio(contenders[0], contenders[best]);
    row["best_direct"] = contenders[best].name;
    row["ratio"] = {{"median", ratio.median}, {"low", ratio.low}, {"high", ratio.high}};
  }
  return row;
}

void print(const nlohmann::json& row) {
  const auto rate = [&](const char* name) {
    return row["gflops"].contains(name) ? row["gflops"][name].get<double>() : 0.0;
  };
  std::printf("%-9s %5ld %5ld %5ld %2d thr  heddle %7.1f  onednn %7.1f  openblas %7.1f",
              row["dtype"].get<std::string>().c_str(), row["m"].get<long>(), row["n"].get<long>(),
              row["k"].get<long>(), row["threads"].get<int>(), rate("heddle"), rate("onednn"),
              rate("openblas"));
  if (row.contains("ratio"))
    std::printf("  ratio %.3f [%.3f, %.3f]", row["ratio"]["median"].get<double>(),
                row["ratio"]["low"].get<double>(), row["ratio"]["high"].get<double>());
  std::printf("  %s\n", row["kernel"].get<std::string>().c_str());
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  double seconds = 2;
  bool json = false;
  std::vector<std::array<int64_t, 3>> shapes;
  for (int i = 1; i < argc; ++i) {
    long m = 0, n = 0, k = 0;
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else if (std::sscanf(argv[i], "%ldx%ldx%ld", &m, &n, &k) == 3 && m > 0 && n > 0 && k > 0) {
      shapes.push_back({m, n, k});
    } else {
      std::fprintf(stderr, "bench_matmul: '%s' is neither --json, --seconds S nor a shape like 256x256x256\n",
                   argv[i]);
      return 2;
    }
  }
  if (shapes.empty())
    for (int64_t n : {256, 512, 1024, 2048}) shapes.push_back({n, n, n});

  const cpu::Cpu& machine = cpu::this_cpu();
  nlohmann::json document{{"machine", cpu::describe(machine, machine.processors)},
                          {"onednn", cpu::onednn::version()},
                          {"openblas", cpu::openblas::status().configuration}};
  if (!json)
    std::printf("%s; oneDNN %s; %s\nGF/s by the median round; ratio: time of the better direct call / ours\n",
                document["machine"].get<std::string>().c_str(), cpu::onednn::version().c_str(),
                cpu::openblas::status().configuration.c_str());
  for (const DType dtype : {f32, bf16})
    for (const int threads : {1, machine.processors}) {
      for (const auto& [m, n, k] : shapes) {
        document["rows"].push_back(measure({dtype, m, n, k, threads}, seconds));
        if (!json) print(document["rows"].back());
      }
      if (machine.processors == 1) break;
    }
  if (json) std::printf("%s\n", document.dump(1).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_matmul: %s\n", e.what());
    return 1;
  }
}
