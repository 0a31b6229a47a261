// Time: costs of single instructions against the published tables, overlap, shares, bounds, order.
#include "systolic/machine/timeline.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "systolic/lower/dependencies.h"
#include "systolic/lower/scheduler.h"
#include "systolic/machine/cost.h"
#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// Cycles of the last instruction that `emit` adds, in the documented column.
double documented_cycles(const char* device, const std::function<void(NeuronCore&)>& emit, double ghz) {
  NeuronCore nc(load_description(device));
  emit(nc);
  const CostModel cost(nc.stream(), Column::documented);
  return static_cast<double>(cost.cost(nc.stream().instructions.back()).interval) * ghz / 1000;
}

// A random but legal kernel: loads, element-wise work, products through PSUM, stores, with few buffers.
void emit_random(KernelRun& run, std::mt19937_64& random) {
  NeuronCore& nc = run.nc;
  std::vector<Hbm> values;
  for (int v = 0; v < 4; ++v) values.push_back(run.value(random_tensor(random, f32, {128, 256})));
  TilePool in = nc.sbuf_pool("in", static_cast<int>(draw(random, 2, 4))), out = nc.sbuf_pool("out", 2);
  TilePool psum = nc.psum_pool("psum", static_cast<int>(draw(random, 2, 4)));
  std::vector<Tile> live;
  for (int step = 0; step < 60; ++step) {
    const int64_t row = draw(random, 0, 3) * 32, column = draw(random, 0, 3) * 64;
    Tile a = in.tile(32, {64}, f32), b = in.tile(32, {64}, f32);
    const Hbm from = values[static_cast<size_t>(draw(random, 0, 3))],
              to = values[static_cast<size_t>(draw(random, 0, 3))];
    nc.dma_load(a, from.rows(row, 32).cols(column, 64));
    nc.dma_load(b, from.rows(draw(random, 0, 96), 32).cols(draw(random, 0, 192), 64));
    Tile o = out.tile(32, {64}, f32);
    switch (draw(random, 0, 4)) {
      case 0:
        nc.tensor_tensor(o, a, AluOp::add, b);
        break;
      case 1:
        nc.activation(o, Function::tanh, a, 0.5);
        break;
      case 2: {
        Tile acc = psum.tile(64, {64}, f32), sum = psum.tile(64, {64}, f32);
        nc.nc_matmul(acc, a, b, accumulate(0, 2));
        nc.nc_matmul(sum, b, a);
        nc.nc_matmul(acc, b, b, accumulate(1, 2));
        nc.tensor_tensor(o, acc.rows(0, 32), AluOp::maximum, sum.rows(32, 32));
        break;
      }
      case 3:
        nc.tensor_copy(o, b, Engine::gpsimd);
        break;
      default: {
        nc.tensor_scalar(o.cols(0, 32), a.cols(32, 32), {AluOp::multiply, 0.5});
        nc.activation(o.cols(32, 32), Function::copy, b.cols(0, 32));
      }
    }
    nc.dma_store(to.rows(row, 32).cols(column, 64), o);
  }
}

int64_t shares(const QueueTiming& q) { return q.busy + q.waiting_dma + q.waiting_engine + q.idle; }

}  // namespace

TEST_CASE("documented costs of single instructions (nki.isa of v2.26.1)") {
  const auto operands = [](NeuronCore& nc, int n, DType dtype, auto&& f) {
    TilePool pool = nc.sbuf_pool("p", 4);
    Tile a = pool.tile(128, {n}, dtype), b = pool.tile(128, {n}, dtype), o = pool.tile(128, {n}, dtype),
         s = pool.tile(128, {1}, f32);
    nc.memset(a, 0), nc.memset(b, 0), nc.memset(o, 0), nc.memset(s, 0);
    f(a, b, o, s);
  };
  const auto vector = [&](int n, DType dtype, auto&& f) {
    return documented_cycles(
        "trn1", [&](NeuronCore& nc) { operands(nc, n, dtype, [&](auto&... t) { f(nc, t...); }); }, 1.12);
  };
  for (const int n : {1, 64, 100, 512}) {
    CAPTURE(n);
    const double at_least = std::max(64, n);
    // DVE: max(MIN_II, N)
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto&, auto& o, auto&) { nc.tensor_copy(o, a); }) ==
          Approx(at_least).epsilon(1e-3));
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto&, auto& o, auto& s) {
            nc.tensor_scalar(o, a, {AluOp::add, s});
          }) == Approx(at_least).epsilon(1e-3));
    // tensor_tensor: 2N of float32, N of bf16
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto& b, auto& o, auto&) {
            nc.tensor_tensor(o, a, AluOp::add, b);
          }) == Approx(std::max(64, 2 * n)).epsilon(1e-3));
    CHECK(vector(n, bf16, [](auto& nc, auto& a, auto& b, auto& o, auto&) {
            nc.tensor_tensor(o, a, AluOp::add, b);
          }) == Approx(at_least).epsilon(1e-3));
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto& b, auto& o, auto&) {
            nc.tensor_tensor_scan(o, a, b, 0, AluOp::add, AluOp::add);
          }) == Approx(std::max(64, 2 * n)).epsilon(1e-3));
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto&, auto& o, auto& s) {
            nc.tensor_scalar_reduce(o, s, a, {AluOp::add, 1}, AluOp::add);
          }) == Approx(at_least + 64).epsilon(1e-3));
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto&, auto& o, auto&) { nc.reciprocal(o, a); }) ==
          Approx(std::max(64, 8 * n)).epsilon(1e-3));
    CHECK(vector(n, f32, [](auto& nc, auto& a, auto&, auto&, auto& s) {
            nc.tensor_reduce(s, AluOp::add, a);
          }) == Approx(at_least).epsilon(1e-3));
    // ACT: max(MIN_II, N), and MIN_II more for the sum
    CHECK(documented_cycles(
              "trn1",
              [&](NeuronCore& nc) {
                operands(nc, n, f32,
                         [&](auto& a, auto&, auto& o, auto&) { nc.activation(o, Function::exp, a); });
              },
              1.4) == Approx(at_least).epsilon(1e-3));
    CHECK(documented_cycles(
              "trn1",
              [&](NeuronCore& nc) {
                operands(nc, n, f32, [&](auto& a, auto&, auto& o, auto& s) {
                  nc.activation_reduce(o, s, Function::exp, a);
                });
              },
              1.4) == Approx(at_least + 64).epsilon(1e-3));
    // GpSimd: 150 + N
    CHECK(documented_cycles(
              "trn1",
              [&](NeuronCore& nc) {
                operands(nc, n, f32, [&](auto&, auto&, auto& o, auto&) { nc.iota(o, {}); });
              },
              1.4) == Approx(150 + n).epsilon(1e-3));
    // PE: max(min(64, N_stationary), N_moving), four passes of float32
    for (const auto& [dtype, passes] : {std::pair{bf16, 1}, std::pair{f32, 4}})
      for (const int m : {1, 32, 128}) {
        CAPTURE(m);
        CHECK(documented_cycles(
                  "trn1",
                  [&](NeuronCore& nc) {
                    TilePool pool = nc.sbuf_pool("p", 2), psum = nc.psum_pool("q", 1);
                    Tile s = pool.tile(128, {m}, dtype), v = pool.tile(128, {n}, dtype),
                         o = psum.tile(m, {n}, f32);
                    nc.memset(s, 0), nc.memset(v, 0);
                    nc.nc_matmul(o, s, v);
                  },
                  2.8) == Approx(passes * std::max(std::min(64, m), n)).epsilon(1e-3));
      }
  }
  // trn2: tensor_copy of bf16 within SBUF runs at four elements a cycle.
  CHECK(documented_cycles(
            "trn2",
            [&](NeuronCore& nc) {
              operands(nc, 512, bf16, [&](auto& a, auto&, auto& o, auto&) { nc.tensor_copy(o, a); });
            },
            0.96) == Approx(128).epsilon(1e-3));
}

TEST_CASE("DMA: four rows of 8 KiB on one engine of trn2 take 1.416 us, as measured") {
  NeuronCore nc(load_description("trn2"));
  const Hbm x = nc.hbm("x", {4, 2048}, f32);
  {
    TilePool pool = nc.sbuf_pool("p", 1);
    nc.dma_load(pool.tile(4, {2048}, f32), x);
  }
  const Program program = compile(std::move(nc).finish(), {.numerics = false});
  const Transfer& t = program.timing().transfer.at(0);
  CHECK(static_cast<double>(t.end - t.begin) * 1e-3 == Approx(1416).epsilon(0.02));
}

TEST_CASE("any window computes the same numbers, and keeps every dependence") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (uint64_t trial = 0; trial < 12; ++trial) {
    std::vector<Tensor> expected;
    for (const int window : {0, 1, 7, 64, 100000}) {
      CAPTURE(trial, window);
      std::mt19937_64 random(seed + trial);
      KernelRun run(trial % 2 ? "trn1" : "trn2");
      emit_random(run, random);
      const Program program = run.run({.window = window, .execute_scheduled = true});
      if (expected.empty())
        expected = run.tensors;
      else
        for (size_t t = 0; t < expected.size(); ++t)
          REQUIRE(std::memcmp(expected[t].data(), run.tensors[t].data(), expected[t].bytes()) == 0);

      const Stream& stream = program.stream();
      const Timing& timing = program.timing();
      const Dependencies d = find_dependencies(stream);
      const CostModel cost(stream, Column::calibrated);
      std::vector<uint32_t> order = schedule(stream, d, cost, window), position(order.size());
      for (uint32_t i = 0; i < order.size(); ++i) position[order[i]] = i;
      for (uint32_t i = 0; i < order.size(); ++i)
        for (const Edge& e : d.of(i)) {
          REQUIRE(position[e.producer] < position[i]);
          // Data is there before it is used.
          if (e.kind == Dependence::data) REQUIRE(timing.record[i].start >= timing.record[e.producer].end);
        }
      for (const QueueTiming& q : timing.queue) REQUIRE(shares(q) == timing.total);
      REQUIRE(timing.total >= timing.queue[0].interval_time);
      REQUIRE(static_cast<double>(timing.total) * 1e-12 >=
              static_cast<double>(timing.dma.read_bytes + timing.dma.write_bytes) /
                  (stream.device->hbm.core_gbps() * 1e9));
      // The binding predecessors form a chain back to the start of the program.
      const std::vector<uint32_t> path = critical_path(timing);
      REQUIRE(timing.record[path.front()].cause == Cause::launch);
      for (size_t i = 1; i < path.size(); ++i)
        REQUIRE(timing.record[path[i]].start >= timing.record[path[i - 1]].start);
      if (window == 0) {
        std::vector<uint32_t> emitted(order.size());
        std::iota(emitted.begin(), emitted.end(), 0u);
        REQUIRE(order == emitted);
      }
    }
  }
}

TEST_CASE(
    "the same kernel takes the same time; faster memory and clocks never make it slower by more than 2 %") {
  const auto total = [](const Description& device) {
    std::mt19937_64 random(42);
    KernelRun run;
    NeuronCore nc(device);
    const Hbm x = nc.hbm("x", {512, 512}, f32), y = nc.hbm("y", {512, 512}, f32);
    TilePool in = nc.sbuf_pool("in", 3), out = nc.sbuf_pool("out", 2), psum = nc.psum_pool("psum", 2);
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < 4; ++c) {
        Tile a = in.tile(128, {128}, f32), o = out.tile(128, {128}, f32), p = psum.tile(128, {128}, f32);
        nc.dma_load(a, x.rows(r * 128, 128).cols(c * 128, 128));
        nc.nc_matmul(p, a, a);
        nc.activation(o, Function::gelu, p);
        nc.dma_store(y.rows(r * 128, 128).cols(c * 128, 128), o);
      }
    return compile(std::move(nc).finish(), {.window = 0, .numerics = false}).timing().total;
  };
  const int64_t base = total(load_description("trn1"));
  CHECK(total(load_description("trn1")) == base);
  for (const char* key : {"dma.gbps", "pe.ghz", "dve.ghz", "act.ghz"}) {
    CAPTURE(key);
    const Description d = load_description("trn1");
    const double value = std::string(key) == "dma.gbps"  ? d.dma.gbps
                         : std::string(key) == "pe.ghz"  ? d.pe.ghz
                         : std::string(key) == "dve.ghz" ? d.dve.ghz
                                                         : d.act.ghz;
    CHECK(static_cast<double>(total(with("trn1", {{key, value * 2}}))) <= 1.02 * static_cast<double>(base));
  }
}

TEST_CASE("weights load behind the running multiply; the same weights stay") {
  const auto cycles = [](bool same, int columns) {
    NeuronCore nc(with("trn1", {{"pe.pair_bubble", 0}}));
    {
      TilePool pool = nc.sbuf_pool("p", 3), psum = nc.psum_pool("q", 1);
      Tile a = pool.tile(128, {128}, bf16), b = pool.tile(128, {128}, bf16),
           v = pool.tile(128, {columns}, bf16);
      nc.memset(a, 0), nc.memset(b, 0), nc.memset(v, 0);
      Tile o = psum.tile(128, {columns}, f32);
      for (int i = 0; i < 100; ++i) nc.nc_matmul(o, same || i % 2 == 0 ? a : b, v, accumulate(i, 100));
    }
    const Program p = compile(std::move(nc).finish(), {.window = 0, .numerics = false});
    const auto& r = p.timing().record;
    return static_cast<double>(r.back().start - r[r.size() - 100].start) * 2.8 / 1000 / 99;
  };
  CHECK(cycles(true, 512) == Approx(512).epsilon(1e-3));
  CHECK(cycles(false, 512) == Approx(512).epsilon(1e-3));
  CHECK(cycles(true, 16) == Approx(64).epsilon(1e-3));
}

TEST_CASE("engines that exclude each other take turns; tables load when functions change") {
  const auto build = [](const char* device, bool alternate) {
    NeuronCore nc(load_description(device));
    {
      TilePool pool = nc.sbuf_pool("p", 2), psum = nc.psum_pool("q", 2);
      Tile a = psum.tile(128, {512}, f32), b = psum.tile(128, {512}, f32), x = pool.tile(128, {512}, f32),
           y = pool.tile(128, {512}, f32);
      nc.memset(a, 0), nc.memset(b, 0);
      for (int i = 0; i < 20; ++i) {
        nc.tensor_copy(x, a);
        nc.activation(y, alternate && i % 2 ? Function::gelu : Function::exp, b);
      }
    }
    return compile(std::move(nc).finish(), {.numerics = false}).timing();
  };
  const Timing one = build("trn1", false), two = build("trn2", false);
  // On trn1 PSUM serves one of them at a time: 20*(512/1.12 + 512/1.4) ns at least.
  CHECK(one.total >= static_cast<int64_t>(20 * 512 * (1 / 1.12 + 1 / 1.4) * 1000));
  CHECK(two.total < static_cast<int64_t>(20 * 512 * (1 / 0.96 + 1 / 1.2) * 1000));
  int ports = 0;
  for (const Record& r : one.record) ports += r.cause == Cause::port;
  CHECK(ports > 10);
  // A table load of 1.28 us before each activation but the first, which nothing but waiting can hide.
  CHECK(build("trn1", true).total > 19 * 1280000 + static_cast<int64_t>(20 * 512 / 1.4 * 1000));
}

TEST_CASE("reports: metric names, shares of 100 %, and events that Perfetto can show") {
  std::mt19937_64 random(1);
  KernelRun run;
  emit_random(run, random);
  const Program program = run.run();
  const auto report = nlohmann::json::parse(program.report());
  CHECK(report["note"].get<std::string>().find("never run on Trainium") != std::string::npos);
  for (const char* engine : {"tensor", "scalar", "vector", "gpsimd", "sync"}) {
    const std::string e = std::string(engine) + "_engine_";
    CHECK(report[e + "active_time_percent"].get<double>() + report[e + "waiting_dma_percent"].get<double>() +
              report[e + "waiting_engine_percent"].get<double>() + report[e + "idle_percent"].get<double>() ==
          Approx(100));
  }
  CHECK(report["hbm_read_bytes"].get<int64_t>() == 60 * 2 * 32 * 64 * 4);
  CHECK(report["hbm_write_bytes"].get<int64_t>() == 60 * 32 * 64 * 4);
  const auto trace = nlohmann::json::parse(program.trace());
  std::map<int, double> reach;
  size_t events = 0;
  std::vector<std::pair<std::pair<int, double>, double>> sorted;
  for (const auto& event : trace)
    if (event["ph"] == "X") {
      ++events;
      sorted.push_back({{event["tid"].get<int>(), event["ts"].get<double>()}, event["dur"].get<double>()});
    }
  CHECK(events == program.stream().instructions.size() + program.timing().transfer.size());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [key, duration] : sorted) {
    CHECK(key.second >= reach[key.first] - 1e-5);
    reach[key.first] = key.second + duration;
  }
}

TEST_CASE("timing alone refuses to run, and pinned instructions keep their order") {
  KernelRun run;
  std::mt19937_64 random(1);
  run.nc.pin_order(true);
  emit_random(run, random);
  Program program = compile(std::move(run.nc).finish(), {.window = 1000, .numerics = false});
  expect_error(ErrorCode::unsupported, "timing alone", [&] { run.run(program); });
  std::array<int64_t, engine_count> last{};
  for (size_t i = 0; i < program.stream().instructions.size(); ++i) {
    int64_t& before = last[static_cast<size_t>(program.stream().instructions[i].engine)];
    CHECK(program.timing().record[i].start >= before);
    before = program.timing().record[i].start;
  }
}
