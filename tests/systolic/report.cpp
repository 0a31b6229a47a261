// Reports: shares, breakdowns of the critical path, the table of nodes, activity, arrows of the trace.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "systolic/report/path.h"
#include "systolic/report/profile.h"
#include "tests/catch.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;
using nlohmann::json;

namespace {

constexpr const char* engines[] = {"tensor", "scalar", "vector", "gpsimd", "sync"};

// A random but legal kernel in several scopes: loads, work on every engine, products, stores.
Program random_program(std::mt19937_64& random, const std::string& device) {
  NeuronCore nc(load_description(device));
  std::vector<Hbm> values;
  for (int v = 0; v < 3; ++v) values.push_back(nc.hbm("v" + std::to_string(v), {128, 256}, f32));
  TilePool in = nc.sbuf_pool("in", static_cast<int>(draw(random, 2, 5))), out = nc.sbuf_pool("out", 2);
  TilePool psum = nc.psum_pool("psum", static_cast<int>(draw(random, 1, 4)));
  const int64_t steps = draw(random, 1, 40);
  for (int64_t step = 0; step < steps; ++step) {
    nc.scope("op" + std::to_string(step / 4));
    const Hbm from = values[static_cast<size_t>(draw(random, 0, 2))],
              to = values[static_cast<size_t>(draw(random, 0, 2))];
    const Tile a = in.tile(64, {64}, f32), b = in.tile(64, {64}, f32), o = out.tile(64, {64}, f32);
    nc.dma_load(a, from.rows(draw(random, 0, 64), 64).cols(draw(random, 0, 192), 64));
    nc.dma_load(b, from.rows(draw(random, 0, 64), 64).cols(draw(random, 0, 192), 64));
    switch (draw(random, 0, 3)) {
      case 0:
        nc.tensor_tensor(o, a, AluOp::add, b);
        break;
      case 1:
        nc.activation(o, Function::tanh, a, 0.5);
        break;
      case 2: {
        const Tile acc = psum.tile(64, {64}, f32);
        nc.nc_matmul(acc, a, b);
        nc.tensor_copy(o, acc);
        break;
      }
      default:
        nc.tensor_copy(o, b, Engine::gpsimd);
    }
    nc.dma_store(to.rows(draw(random, 0, 64), 64).cols(0, 64), o);
  }
  return compile(std::move(nc).finish(), {.numerics = false});
}

double sum_of(const json& object) {
  double sum = 0;
  for (const auto& [name, value] : object.items()) sum += value.get<double>();
  return sum;
}

}  // namespace

TEST_CASE("shares and breakdowns add up on random kernels", "[systolic]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 30; ++round) {
    CAPTURE(round);
    const Program program = random_program(random, round % 2 == 0 ? "trn1" : "trn2");
    const Timing& t = program.timing();
    for (const QueueTiming& q : t.queue) {
      CHECK(q.busy + q.waiting_dma + q.waiting_engine + q.idle == t.total);
      for (const int64_t share : {q.busy, q.waiting_dma, q.waiting_engine, q.idle}) CHECK(share >= 0);
    }
    const json report = json::parse(program.report());
    const double total = report.at("total_time").get<double>();
    for (const char* engine : engines) {
      const std::string e = std::string(engine) + "_engine_";
      CHECK(report.at(e + "active_time_percent").get<double>() +
                report.at(e + "waiting_dma_percent").get<double>() +
                report.at(e + "waiting_engine_percent").get<double>() +
                report.at(e + "idle_percent").get<double>() ==
            Approx(100).margin(1e-9));
    }
    // The critical path explains the whole run, by cause, by unit, by instruction and by node.
    int64_t path = 0;
    for (const PathStep& step : path_steps(t)) path += step.time;
    CHECK(path == t.total);
    for (const auto& [by, breakdown] : report.at("critical_path").items()) {
      if (by == "instructions") continue;
      CAPTURE(by);
      CHECK(sum_of(breakdown) == Approx(total).epsilon(1e-9));
    }
    double nodes = 0, instructions = 0;
    for (const json& node : report.at("nodes")) {
      nodes += node.at("critical_time").get<double>();
      instructions += node.at("instructions").get<double>();
      CHECK(node.at("begin").get<double>() <= node.at("end").get<double>());
      CHECK(node.at("end").get<double>() <= total * (1 + 1e-9));
    }
    CHECK(nodes == Approx(total).epsilon(1e-9));
    CHECK(instructions == static_cast<double>(program.stream().instructions.size()));
    // The activity's integral is the active time.
    const json& activity = report.at("activity");
    for (const char* engine : engines) {
      double busy = 0;
      for (const json& share : activity.at(engine)) {
        CHECK(share.get<double>() >= 0);
        CHECK(share.get<double>() <= 1);
        busy += share.get<double>() * activity.at("slice_time").get<double>();
      }
      // Shares are rounded to three digits. Loads of the scalar engine's tables are active time without an
      // instruction to draw, so its activity may be less.
      const double active = report.at(std::string(engine) + "_engine_active_time").get<double>();
      CHECK(busy <= active + 5e-4 * total);
      if (std::string(engine) != "scalar") CHECK(busy >= active - 5e-4 * total);
    }
    CHECK(report.at("total_active_time_percent").get<double>() <= 100 + 1e-9);
    CHECK(report.at("total_active_time_percent").get<double>() >=
          report.at("tensor_engine_active_time_percent").get<double>());
  }
}

TEST_CASE("metrics of one product, by hand", "[systolic]") {
  NeuronCore nc(load_description("trn1"));
  const Hbm a = nc.hbm("a", {128, 128}, f32), b = nc.hbm("b", {128, 512}, f32),
            c = nc.hbm("c", {128, 512}, f32);
  {
    TilePool in = nc.sbuf_pool("in", 1), moving = nc.sbuf_pool("moving", 1), out = nc.sbuf_pool("out", 1),
             psum = nc.psum_pool("psum", 1);
    const Tile ta = in.tile(128, {128}, f32), tb = moving.tile(128, {512}, f32),
               acc = psum.tile(128, {512}, f32), o = out.tile(128, {512}, f32);
    nc.dma_load(ta, a), nc.dma_load(tb, b);
    nc.nc_matmul(acc, ta, tb);
    nc.tensor_copy(o, acc);
    nc.dma_store(c, o);
  }
  const Program program = compile(std::move(nc).finish(), {.numerics = false});
  const json r = json::parse(program.report());
  const double flops = 2.0 * 128 * 128 * 512, time = r.at("total_time").get<double>();
  CHECK(r.at("model_flops") == flops);
  CHECK(r.at("adjusted_hardware_flops") == 4 * flops);  // float32: four passes
  CHECK(r.at("matmul_instruction_count") == 2);         // ... as two instructions
  CHECK(r.at("hbm_read_bytes") == (128 * 128 + 128 * 512) * 4);
  CHECK(r.at("inputs_and_weights_size_bytes") == (128 * 128 + 128 * 512) * 4);
  CHECK(r.at("psum_read_sbuf_write_bytes") == 128 * 512 * 4);
  CHECK(r.at("static_dma_transfer_count") == 3);
  CHECK(r.at("software_dynamic_dma_transfer_count") == 0);
  CHECK(r.at("mfu_estimated_percent").get<double>() == Approx(100 * flops / (2 * 128 * 128 * 2.8e9 * time)));
  const double intensity = flops / ((128 * 128 + 2 * 128 * 512) * 4);
  CHECK(r.at("mm_arithmetic_intensity").get<double>() == Approx(intensity));
  CHECK(r.at("peak_flops_bandwidth_ratio").get<double>() == Approx(2 * 128 * 128 * 2.8e9 / 410e9));
  CHECK(r.at("mfu_max_achievable_estimated_percent").get<double>() ==
        Approx(100 * intensity / (2 * 128 * 128 * 2.8e9 / 410e9)));
  CHECK(r.at("average_utilization_limit_percent") == 100);  // trn1 does not throttle
}

TEST_CASE("the trace has arrows between tracks, each with a tail and a head", "[systolic]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Program program = random_program(random, "trn1");
  std::map<int64_t, std::pair<json, json>> arrows;
  std::set<int> tracks;
  for (const json& event : json::parse(program.trace())) {
    if (event.at("ph") == "M") tracks.insert(event.at("tid").get<int>());
    if (event.at("ph") == "s") arrows[event.at("id").get<int64_t>()].first = event;
    if (event.at("ph") == "f") arrows[event.at("id").get<int64_t>()].second = event;
  }
  CHECK(arrows.size() >= program.timing().transfer.size());  // at least trigger -> transfer
  for (const auto& [id, arrow] : arrows) {
    CAPTURE(id);
    REQUIRE(arrow.first.is_object());
    REQUIRE(arrow.second.is_object());
    CHECK(arrow.first.at("ts").get<double>() <= arrow.second.at("ts").get<double>());
    CHECK(arrow.first.at("tid") != arrow.second.at("tid"));
    CHECK(tracks.count(arrow.first.at("tid").get<int>()) == 1);
    CHECK(tracks.count(arrow.second.at("tid").get<int>()) == 1);
  }
}
