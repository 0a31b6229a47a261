// What the machine around single instructions costs: DMA, HBM, parts of the tensor engine, throttling.
//
// DMAO, DMAG, DGE: the DMA guides of aws-neuron-sdk. EXP: the schema of neuron-explorer. T1, T2: architecture
// guides.
#include <functional>

#include "systolic/machine/cost.h"
#include "systolic/machine/dma.h"
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

struct Loaded {
  DmaCost cost;
  double start_ns, done_ns, issue_ns;
};

Loaded load_of(const char* device, int partitions, int bytes, Column column = Column::calibrated,
               const std::function<void(NeuronCore&, const Tile&, const Hbm&)>& emit = nullptr) {
  NeuronCore nc(load_description(device));
  TilePool pool = nc.sbuf_pool("p", 1);
  const Tile t = pool.tile(partitions, {bytes / 4}, f32);
  const Hbm x = nc.hbm("x", {partitions, bytes / 4}, f32);
  if (emit)
    emit(nc, t, x);
  else
    nc.dma_load(t, x);
  const CostModel cost(nc.stream(), column);
  const Instruction& i = nc.stream().instructions.back();
  return {cost.dma(i), static_cast<double>(cost.dma_start()) * 1e-3,
          static_cast<double>(cost.dma_done()) * 1e-3, static_cast<double>(cost.cost(i).interval) * 1e-3};
}

}  // namespace

TEST_CASE("DMA: peak and effective rates, fixed times, modes") {
  struct Device {
    const char* name;
    double peak, descriptor_ns, effective, issue_ns;
  };
  // DMAO: peak of an engine; DMAG: what is left of it with rows of 4 KiB.
  for (const Device& d :
       {Device{"trn1", 27.2, 90, 17, 70}, {"trn2", 27.2, 28, 23, 70}, {"trn3", 38.4, 17.5, 33, 70}}) {
    CAPTURE(d.name);
    const Loaded row = load_of(d.name, 128, 4096);
    CHECK(row.cost.per_partition == Approx(1000 * (4096 / d.peak + d.descriptor_ns)).epsilon(1e-4));
    CHECK(4096e3 / static_cast<double>(row.cost.per_partition) == Approx(d.effective).epsilon(0.01));
    CHECK(row.cost.descriptors == 128);
    // A longer row is cut into descriptors of 4 KiB.
    CHECK(load_of(d.name, 128, 16384).cost.descriptors == 4 * 128);
    CHECK(load_of(d.name, 128, 16384).cost.per_partition == Approx(4 * row.cost.per_partition).epsilon(1e-4));
    // DMAO: 1300 ns from semaphore to start; traces: 900 to 1000 ns, and 300 ns from completion to the
    // engine.
    CHECK(load_of(d.name, 1, 4096, Column::documented).start_ns == 1300);
    CHECK(row.start_ns == 1000);
    CHECK(row.done_ns == 300);
    CHECK(row.issue_ns == d.issue_ns);
    // Casts and read-add-write: half the rate before v4, all of it on v4.
    const double compute = std::string(d.name) == "trn3" ? 1 : 0.5;
    const Loaded added =
        load_of(d.name, 128, 4096, Column::calibrated, [](NeuronCore& nc, const Tile& t, const Hbm& x) {
          nc.memset(t, 0);
          nc.dma_store(x, t, {.accumulate = AluOp::add});
        });
    CHECK(added.cost.per_partition ==
          Approx(1000 * (4096 / (d.peak * compute) + d.descriptor_ns)).epsilon(1e-4));
    // T2: a transpose runs at 90 % of the rate; trn1: half, an assumption.
    const double transpose = std::string(d.name) == "trn1" ? 0.5 : 0.9;
    CHECK(load_description(d.name).dma.transpose_rate == transpose);
  }
  // DGE: 600 ns where hardware makes the descriptors of a dynamic offset.
  const Loaded dynamic =
      load_of("trn2", 1, 4, Column::calibrated, [](NeuronCore& nc, const Tile& t, const Hbm& x) {
        nc.memset(t, 0);
        TilePool pool = nc.sbuf_pool("index", 1);
        const Tile index = pool.tile(1, {1}, i32);
        nc.memset(index, 0);
        nc.dma_store(x.dynamic(0, index, 0), t);
      });
  CHECK(dynamic.issue_ns == 600);
}

TEST_CASE("DMA: four rows of 8 KiB on one engine of trn2 take 1416 ns, as measured (DMAO)") {
  const Loaded x = load_of("trn2", 4, 8192);
  CHECK(static_cast<double>(4 * x.cost.per_partition) * 1e-3 == Approx(1416).epsilon(0.02));
  // All four partitions belong to one engine.
  DmaEngines engines(load_description("trn2").dma);
  const DmaEngines::Span span = engines.take(x.cost, 0);
  CHECK(span.end - span.begin == 4 * x.cost.per_partition);
}

TEST_CASE("HBM: the cores of a domain share its bandwidth") {
  const auto rate = [](double cores) {
    NeuronCore nc(with("trn2", {{"hbm.cores_active", cores}}));
    const Hbm x = nc.hbm("x", {4096, 4096}, f32);
    {
      TilePool pool = nc.sbuf_pool("p", 8);
      for (int r = 0; r < 4096; r += 128) nc.dma_load(pool.tile(128, {4096}, f32), x.rows(r, 128));
    }
    const Program p = compile(std::move(nc), {.numerics = false});
    return static_cast<double>(p.timing().hbm_bytes()) / p.timing().seconds() * 1e-9;
  };
  // One core is held up by its engines (368 GB/s), two by the 716 GB/s of the stack.
  CHECK(rate(1) == Approx(368).epsilon(0.03));
  CHECK(rate(2) == Approx(358).epsilon(0.03));
  CHECK(rate(2) < 358);
}

TEST_CASE("products on parts of the array run at the same time") {
  // Four products on 64 rows and 64 columns each take about as long as one.
  const auto total = [](const char* device, int part, int count) {
    NeuronCore nc(with(device, {{"throttle.enabled", 0}, {"pe.pair_bubble", 0}}));
    {
      TilePool sbuf = nc.sbuf_pool("sbuf", 2), psum = nc.psum_pool("psum", 8);
      Tile a = sbuf.tile(128, {128}, bf16), b = sbuf.tile(128, {512}, bf16);
      nc.memset(a, 1), nc.memset(b, 1);
      const int across = 128 / part;
      for (int repeat = 0; repeat < 40; ++repeat)
        for (int i = 0; i < count; ++i) {
          const int row = i / across * part, column = i % across * part;
          Tile p = psum.tile(128, {512}, f32);
          nc.nc_matmul(p.rows(column, part), a.rows(row, part).cols(0, part), b.rows(row, part), {},
                       {.array_rows = part, .array_columns = part});
        }
    }
    const Program p = compile(std::move(nc), {.window = 0, .numerics = false});
    const auto& r = p.timing().record;
    return static_cast<double>(r.back().start - r[2].start) * p.stream().device->pe.ghz / 1000 / 512;
  };
  CHECK(total("trn1", 128, 1) == Approx(39).epsilon(0.02));
  CHECK(total("trn1", 64, 4) == Approx(39).epsilon(0.05));
  CHECK(total("trn2", 32, 16) < 16 * 39 / 6.0);  // sixteen at once, less their issue every 64 cycles
}

TEST_CASE("throttling: after idling the tensor engine of trn2 starts at half its rate (EXP)") {
  const auto intervals = [](const char* device) {
    NeuronCore nc(load_description(device));
    {
      TilePool sbuf = nc.sbuf_pool("sbuf", 2), psum = nc.psum_pool("psum", 1);
      Tile a = sbuf.tile(128, {128}, bf16), b = sbuf.tile(128, {512}, bf16), p = psum.tile(128, {512}, f32);
      nc.memset(a, 1), nc.memset(b, 1);
      for (int i = 0; i < 100; ++i) nc.nc_matmul(p, a, b, accumulate(i, 100));
    }
    const Program p = compile(std::move(nc), {.window = 0, .numerics = false});
    const auto& r = p.timing().record;
    return std::pair(static_cast<double>(r[3].start - r[2].start),
                     static_cast<double>(r[101].start - r[100].start));
  };
  const auto [cold, warm] = intervals("trn2");
  CHECK(cold == Approx(2 * warm).epsilon(0.01));
  const auto [first, last] = intervals("trn1");
  CHECK(first == Approx(last).epsilon(0.01));
}

TEST_CASE(
    "throttling: a tensor engine that works less than half of the time does not stay at its full rate "
    "(EXP)") {
  // Each product waits for DVE to round the one before.
  const auto intervals = [](const char* device, double window_us) {
    NeuronCore nc(with(device, {{"throttle.window_us", window_us}}));
    {
      TilePool sbuf = nc.sbuf_pool("sbuf", 3), psum = nc.psum_pool("psum", 2);
      Tile a = sbuf.tile(128, {128}, bf16), b = sbuf.tile(128, {512}, bf16);
      nc.memset(a, 1), nc.memset(b, 1);
      for (int i = 0; i < 60; ++i) {
        Tile p = psum.tile(128, {512}, f32);
        nc.nc_matmul(p, a, b);
        nc.tensor_copy(b, p);
      }
    }
    const Program p = compile(std::move(nc), {.window = 0, .numerics = false});
    int64_t sum = 0;
    for (size_t i = 0; i < p.stream().instructions.size(); ++i)
      if (i >= 60 && p.stream().instructions[i].opcode == Opcode::matmul)
        sum += p.timing().record[i].issued - p.timing().record[i].start;
    return static_cast<double>(sum) / 31 * p.stream().device->pe.ghz / 1000;
  };
  const double full = 512 + load_description("trn2").pe.pair_bubble.calibrated;
  CHECK(intervals("trn2", 3) > 1.1 * full);
  CHECK(intervals("trn2", 3) < 2 * full);
  CHECK(intervals("trn2", 1e6) == Approx(full).epsilon(0.01));  // a window that never ends
}
