// How fast the simulated NeuronCore runs on this host.
//
//   bench_simulator [--json] [--instructions N] [--seconds S] [--timing-only]
//
// Timing alone: millions of instructions a second through each stage, on the stream of a blocked bfloat16
// matmul (about a million instructions): emission with every rule checked, dependencies, costs, the list
// scheduler, the timeline. With numbers: the time of a 1024-cube matmul and of a GPT training step on trn1
// against the cpu device, on one thread and on all, in turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/interleaved.h"
#include "heddle/error.h"
#include "heddle/models/gpt.h"
#include "heddle/ops/matmul.h"
#include "heddle/session.h"
#include "heddle/systolic/builder.h"
#include "systolic/lower/dependencies.h"
#include "systolic/lower/scheduler.h"
#include "systolic/machine/cost.h"
#include "systolic/machine/timeline.h"

using namespace heddle;

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
// Of all threads of this process, in the kernel too: what a busy machine does not change much.
double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// ---- timing alone

constexpr int64_t k_tiles = 64, m_tiles = 4, n_tiles = 16;  // K = 8192, blocks of M = 512, N = 8192
constexpr int64_t per_block = k_tiles + n_tiles * (k_tiles + m_tiles * k_tiles + 2 * m_tiles);

// c[M, N] = a[K, M]^T b[K, N], M a multiple of 512: a block of a stays in SBUF while b streams past it.
systolic::Stream blocked_matmul(const systolic::Description& device, int64_t blocks) {
  using namespace heddle::systolic;
  NeuronCore nc(device);
  const int64_t m = blocks * m_tiles * 128, n = n_tiles * 512, k = k_tiles * 128;
  const Hbm a = nc.hbm("a", {k, m}, bf16), b = nc.hbm("b", {k, n}, bf16), c = nc.hbm("c", {m, n}, bf16);
  TilePool stationary = nc.sbuf_pool("stationary", 2 * k_tiles), moving = nc.sbuf_pool("moving", 3),
           result = nc.sbuf_pool("result", 2), psum = nc.psum_pool("sums", m_tiles + 1);
  for (int64_t block = 0; block < blocks; ++block) {
    std::vector<Tile> resident;
    for (int64_t t = 0; t < k_tiles; ++t) {
      resident.push_back(stationary.tile(128, {static_cast<int>(m_tiles * 128)}, bf16));
      nc.dma_load(resident.back(), a.rows(t * 128, 128).cols(block * m_tiles * 128, m_tiles * 128));
    }
    for (int64_t j = 0; j < n_tiles; ++j) {
      std::vector<Tile> sums;
      for (int64_t i = 0; i < m_tiles; ++i) sums.push_back(psum.tile(128, {512}, f32));
      for (int64_t t = 0; t < k_tiles; ++t) {
        const Tile columns = moving.tile(128, {512}, bf16);
        nc.dma_load(columns, b.rows(t * 128, 128).cols(j * 512, 512));
        for (int64_t i = 0; i < m_tiles; ++i)
          nc.nc_matmul(sums[static_cast<size_t>(i)],
                       resident[static_cast<size_t>(t)].cols(static_cast<int>(i * 128), 128), columns,
                       accumulate(t, k_tiles));
      }
      for (int64_t i = 0; i < m_tiles; ++i) {
        const Tile out = result.tile(128, {512}, bf16);
        nc.tensor_copy(out, sums[static_cast<size_t>(i)], i % 2 ? Engine::act : Engine::dve);
        nc.dma_store(c.rows((block * m_tiles + i) * 128, 128).cols(j * 512, 512), out);
      }
    }
  }
  return std::move(nc).finish();
}

nlohmann::json timing_alone(int64_t instructions, double seconds) {
  const systolic::Description device = systolic::load_description("trn1");
  const int64_t blocks = std::max<int64_t>(1, instructions / per_block);
  std::map<std::string, std::vector<double>> stage;
  size_t count = 0;
  int64_t total = 0;
  const auto begin = Clock::now();
  for (int round = 0; round < 3 || seconds_since(begin) < seconds; ++round) {
    const double whole = processor_seconds();
    double last = whole;
    const auto lap = [&](const char* name) {
      const double now = processor_seconds();
      stage[name].push_back(now - last);
      last = now;
    };
    const systolic::Stream stream = blocked_matmul(device, blocks);
    lap("emission");
    const systolic::Dependencies dependencies = systolic::find_dependencies(stream);
    lap("dependencies");
    const systolic::CostModel cost(stream, systolic::Column::calibrated);
    lap("cost");
    const auto order = systolic::schedule(stream, dependencies, cost, 256);
    lap("schedule");
    const systolic::Timing timing = systolic::run_timeline(stream, dependencies, order, cost);
    lap("timeline");
    stage["together"].push_back(processor_seconds() - whole);
    count = stream.instructions.size(), total = timing.total;
  }
  nlohmann::json row{{"instructions", count}, {"simulated_us", static_cast<double>(total) / 1e6}};
  for (const auto& [name, times] : stage) {
    const double best = *std::min_element(times.begin(), times.end());
    row["million_per_s"][name] = {{"median", static_cast<double>(count) / bench::median(times) / 1e6},
                                  {"best", static_cast<double>(count) / best / 1e6}};
  }
  return row;
}

// ---- with numbers

struct Work {
  std::unique_ptr<Session> session;
  std::map<std::string, Tensor> in;
  void run() { session->run(in); }
};

Work make(const Graph& graph, const std::string& device, std::map<std::string, Tensor> in) {
  return {std::make_unique<Session>(graph, std::vector<Device>{Device::open(device)}), std::move(in)};
}

Work matmul_on(const std::string& device, DType dtype) {
  constexpr int64_t n = 1024;
  Graph g;
  g.output("y", matmul(g.input("a", dtype, {n, n}), g.input("b", dtype, {n, n})));
  Tensor a(dtype, {n, n}), b(dtype, {n, n});
  for (int64_t i = 0; i < n * n; ++i)
    a.set(i, static_cast<double>(i * 7 % 31) / 31 - 0.5),
        b.set(i, static_cast<double>(i * 5 % 29) / 29 - 0.5);
  return make(g, device, {{"a", a}, {"b", b}});
}

// The step of `heddle train`: 128 sequences of 11 tokens, width 64, two layers.
Work training_step_on(const std::string& device) {
  GptConfig config;
  config.vocabulary = 14, config.context = 11;
  MinimizeOptions options;
  options.max_grad_norm = 1;
  Tensor tokens(DType::int32, {128, 11}), targets(DType::int32, {128, 11});
  for (int64_t i = 0; i < tokens.elements(); ++i)
    tokens.set(i, static_cast<double>(i * 5 % 13)), targets.set(i, static_cast<double>(i * 3 % 13));
  return make(gpt_training_step(config, 128, AdamW{}, options), device,
              {{"tokens", tokens}, {"targets", targets}});
}

nlohmann::json against_cpu(const char* name, const std::function<Work(const std::string&)>& on,
                           double seconds) {
  struct Contender {
    const char* device;
    Work work;
    std::vector<double> wall = {}, processor = {};  // of each turn, in ms
  };
  std::vector<Contender> contenders;
  // In turns; the team of the last one comes when the others are done, because its threads spin.
  const auto take_turns = [&](size_t first) {
    for (size_t i = first; i < contenders.size(); ++i) contenders[i].work.run(), contenders[i].work.run();
    const auto begin = Clock::now();
    for (int round = 0; round < 11 || seconds_since(begin) < seconds; ++round)
      for (Contender& c : contenders) {
        const auto wall = Clock::now();
        const double processor = processor_seconds();
        c.work.run();
        if (first == 0) c.processor.push_back((processor_seconds() - processor) * 1e3);
        if (first != 0) c.wall.push_back(seconds_since(wall) * 1e3);
      }
  };
  contenders.push_back({"trn1", on("trn1")});
  contenders.push_back({"cpu:threads=1", on("cpu:threads=1")});
  take_turns(0);
  contenders.push_back({"cpu", on("cpu")});
  take_turns(2);
  nlohmann::json row{{"work", name}};
  for (const Contender& c : contenders) {
    row["ms"][c.device]["wall"] = bench::median(c.wall);
    if (!c.processor.empty()) row["ms"][c.device]["processor"] = bench::median(c.processor);
  }
  row["against_one_thread_processor_time"] =
      bench::median(contenders[0].processor) / bench::median(contenders[1].processor);
  row["against_all_threads_wall"] = bench::median(contenders[0].wall) / bench::median(contenders[2].wall);
  return row;
}

void print(const nlohmann::json& document) {
  const nlohmann::json& t = document["timing_alone"];
  std::printf(
      "timing alone, %ld instructions, %.0f us simulated; million instructions a second of processor time: "
      "median (best)\n",
      t["instructions"].get<long>(), t["simulated_us"].get<double>());
  for (const char* name : {"emission", "dependencies", "cost", "schedule", "timeline", "together"})
    std::printf("  %-13s %8.2f (%.2f)\n", name, t["million_per_s"][name]["median"].get<double>(),
                t["million_per_s"][name]["best"].get<double>());
  if (!document.contains("with_numbers")) return;
  std::printf("with numbers: ms of processor time (wall), and how many times the cpu device's\n");
  for (const auto& row : document["with_numbers"]) {
    std::printf("  %-24s", row["work"].get<std::string>().c_str());
    for (const auto& [device, ms] : row["ms"].items())
      std::printf(" %s %.2f (%.2f)  ", device.c_str(), ms.value("processor", 0.0), ms["wall"].get<double>());
    std::printf(" one thread: %.2fx, all, by wall: %.2fx\n",
                row["against_one_thread_processor_time"].get<double>(),
                row["against_all_threads_wall"].get<double>());
  }
}

int run(int argc, char** argv) {
  int64_t instructions = 1000000;
  double seconds = 3;
  bool json = false, timing_only = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--timing-only") == 0) {
      timing_only = true;
    } else if (std::strcmp(argv[i], "--instructions") == 0 && i + 1 < argc) {
      instructions = std::atoll(argv[++i]);
    } else if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else {
      std::fprintf(stderr,
                   "bench_simulator: '%s' is none of --json, --timing-only, --instructions N, --seconds S\n",
                   argv[i]);
      return 2;
    }
  }
  nlohmann::json document{{"timing_alone", timing_alone(instructions, seconds)}};
  if (!timing_only) {
    auto& rows = document["with_numbers"];
    rows.push_back(against_cpu(
        "matmul 1024^3 float32", [](const auto& d) { return matmul_on(d, f32); }, seconds));
    rows.push_back(against_cpu(
        "matmul 1024^3 bfloat16", [](const auto& d) { return matmul_on(d, bf16); }, seconds));
    rows.push_back(against_cpu("GPT training step", training_step_on, seconds));
  }
  if (json)
    std::printf("%s\n", document.dump(1).c_str());
  else
    print(document);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_simulator: %s\n", e.what());
    return 1;
  }
}
