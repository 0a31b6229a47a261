// What must hold for every kernel: random streams, on every device.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/catch.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// A legal kernel made by chance: loads and stores of odd blocks, products in groups, element-wise work on
// every engine, few buffers. The same random numbers emit the same kernel on any device. `trigger`: of every
// DMA; pe: the device's choice, which is more than one queue.
void emit_random(NeuronCore& nc, std::mt19937_64& random, Engine trigger = Engine::pe, int steps = 80) {
  const auto pick = [&](int low, int high) { return static_cast<int>(draw(random, low, high)); };
  std::vector<Hbm> values;
  for (int v = 0; v < 4; ++v) values.push_back(nc.hbm("v" + std::to_string(v), {128, 300}, f32));
  TilePool in = nc.sbuf_pool("in", pick(2, 5)), narrow = nc.sbuf_pool("narrow", 4),
           out = nc.sbuf_pool("out", pick(1, 3));
  TilePool row = nc.sbuf_pool("row", 4), psum = nc.psum_pool("psum", pick(2, 4));
  for (int step = 0; step < steps; ++step) {
    const int rows = pick(1, 32), columns = pick(1, 75), at = pick(0, 3) * 32;
    const auto block = [&](int from) {
      return values[static_cast<size_t>(pick(0, 3))].rows(from, rows).cols(pick(0, 300 - columns), columns);
    };
    Tile a = in.tile(rows, {columns}, f32), b = in.tile(rows, {columns}, f32),
         o = out.tile(rows, {columns}, f32);
    Tile s = row.tile(rows, {1}, f32);
    nc.dma_load(a, block(at), {.trigger = trigger});
    nc.dma_load(b, block(pick(0, 96)), {.trigger = trigger});
    switch (pick(0, 7)) {
      case 0:
        nc.tensor_tensor(o, a, AluOp::add, b);
        break;
      case 1:
        nc.activation_reduce(o, s, pick(0, 1) ? Function::tanh : Function::gelu, a, 0.5);
        nc.tensor_scalar(o, o, {AluOp::multiply, s}, {AluOp::add, 1});
        break;
      case 2: {
        Tile x = narrow.tile(rows, {columns}, bf16), y = narrow.tile(rows, {columns}, bf16);
        nc.tensor_copy(x, a, Engine::act), nc.tensor_copy(y, b);
        Tile p = psum.tile(columns, {columns}, f32), q = psum.tile(columns, {columns}, f32);
        nc.nc_matmul(p, x, y, accumulate(0, 3));
        nc.nc_matmul(q, y, y);
        nc.nc_matmul(p, y, x, accumulate(1, 3));
        nc.nc_matmul(p, x, x, accumulate(2, 3));
        const int top = std::min(rows, columns);
        nc.memset(o, 0);
        nc.tensor_tensor(o.rows(0, top), p.rows(0, top), AluOp::maximum, q.rows(0, top));
        break;
      }
      case 3:
        nc.tensor_copy(o, b, Engine::gpsimd);
        break;
      case 4:
        nc.tensor_reduce(s, AluOp::maximum, a);
        nc.activation(o, Function::copy, b, 1, s);
        break;
      case 5:
        nc.affine_select(o, a, {.base = 3, .partition_step = -1, .step = {1}}, AluOp::greater, -1);
        nc.tensor_tensor(o, o, AluOp::multiply, b);
        break;
      case 6:
        nc.memset(o, 2, Engine::gpsimd);
        nc.scalar_tensor_tensor(o, a, {AluOp::multiply, 3}, AluOp::add, o);
        break;
      default:
        nc.dma_copy(o, a, {.trigger = trigger});
    }
    nc.dma_store(block(at), o, {.trigger = trigger});
  }
}

Program random_program(const Description& device, uint64_t seed, const CompileOptions& options,
                       Engine trigger = Engine::pe) {
  NeuronCore nc(device);
  std::mt19937_64 random(seed);
  emit_random(nc, random, trigger);
  return compile(std::move(nc), options);
}

const std::vector<const char*> devices = {"trn1", "trn2", "trn3"};

// Distinct bytes of HBM that the loads read and the stores write.
std::pair<int64_t, int64_t> compulsory_bytes(const Stream& stream) {
  std::set<std::pair<uint32_t, int64_t>> read, written;
  const auto touch = [&](uint32_t region, auto& into) {
    const Region& r = stream.regions[region];
    for (int64_t i = 0; i < r.size[0]; ++i)
      for (int64_t j = 0; j < r.size[1]; ++j)
        into.insert({r.value, r.offset + i * r.stride[0] + j * r.stride[1]});
  };
  for (const Instruction& i : stream.instructions) {
    if (i.opcode == Opcode::dma_load) touch(i.region, read);
    if (i.opcode == Opcode::dma_store) touch(i.region, written);
  }
  return {static_cast<int64_t>(read.size()) * 4, static_cast<int64_t>(written.size()) * 4};
}

}  // namespace

TEST_CASE(
    "no run is faster than its engines and its memory; shares add up; bytes are at least the compulsory "
    "ones") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (const char* device : devices)
    for (uint64_t trial = 0; trial < 20; ++trial)
      for (const int window : {0, 256}) {
        CAPTURE(device, trial, window);
        const Program p =
            random_program(load_description(device), seed + trial, {.window = window, .numerics = false});
        const Timing& t = p.timing();
        const Description& d = *p.stream().device;
        for (const QueueTiming& q : t.queue) {
          REQUIRE(t.total >= q.interval_time);
          REQUIRE(q.busy + q.waiting_dma + q.waiting_engine + q.idle == t.total);
          REQUIRE(std::min({q.busy, q.waiting_dma, q.waiting_engine, q.idle}) >= 0);
        }
        REQUIRE(t.seconds() >= static_cast<double>(t.hbm_bytes()) / (d.hbm.core_gbps() * 1e9));
        REQUIRE(t.seconds() >= static_cast<double>(t.dma.total_bytes) / (d.dma.engines * d.dma.gbps * 1e9));
        const auto [read, written] = compulsory_bytes(p.stream());
        REQUIRE(t.dma.read_bytes >= read);
        REQUIRE(t.dma.write_bytes >= written);
        // Every record is in order, and nothing starts before what held it back.
        for (const Record& r : t.record) {
          REQUIRE(0 <= r.start);
          REQUIRE(r.start <= r.issued);
          REQUIRE(std::max(r.issued, r.end) <= t.total);
          if (r.binding != none) REQUIRE(t.record[r.binding].start <= r.start);
        }
      }
}

TEST_CASE("the same kernel takes the same cycles") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (const char* device : devices)
    for (uint64_t trial = 0; trial < 5; ++trial) {
      const Program one = random_program(load_description(device), seed + trial, {.numerics = false});
      const Program two = random_program(load_description(device), seed + trial, {.numerics = false});
      REQUIRE(one.timing().record.size() == two.timing().record.size());
      for (size_t i = 0; i < one.timing().record.size(); ++i) {
        const Record &a = one.timing().record[i], &b = two.timing().record[i];
        REQUIRE(std::tie(a.start, a.issued, a.end, a.binding, a.cause) ==
                std::tie(b.start, b.issued, b.end, b.binding, b.cause));
      }
    }
}

namespace {

constexpr std::array<const char*, 6> rates = {"dma.gbps", "hbm.gbps", "pe.ghz",
                                              "dve.ghz",  "act.ghz",  "gpsimd.ghz"};

double rate_of(const Description& d, const std::string& key) {
  return key == "dma.gbps"   ? d.dma.gbps
         : key == "hbm.gbps" ? d.hbm.gbps
         : key == "pe.ghz"   ? d.pe.ghz
         : key == "dve.ghz"  ? d.dve.ghz
         : key == "act.ghz"  ? d.act.ghz
                             : d.gpsimd.ghz;
}

}  // namespace

TEST_CASE("without arbitration, no rate that grows makes a fixed stream slower") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  // One queue triggers every DMA, no memory ports are shared, and the tensor engine does not throttle: every
  // start is a maximum of sums.
  const std::vector<std::pair<std::string, double>> unshared = {
      {"ports.sbuf_dve_gpsimd", 0}, {"ports.psum_dve_act", 0}, {"throttle.enabled", 0}};
  for (const char* device : devices)
    for (uint64_t trial = 0; trial < 8; ++trial) {
      const auto total = [&](std::vector<std::pair<std::string, double>> changes) {
        changes.insert(changes.end(), unshared.begin(), unshared.end());
        return random_program(with(device, changes), seed + trial, {.window = 0, .numerics = false},
                              Engine::sp)
            .timing()
            .total;
      };
      const int64_t base = total({});
      for (const char* key : rates) {
        int64_t before = base;
        double factor = 1;
        for (int step = 0; step < 3; ++step) {
          factor *= 1 + static_cast<double>(draw(random, 1, 100)) / 100;
          CAPTURE(device, trial, key, factor);
          const int64_t now = total({{key, factor * rate_of(load_description(device), key)}});
          REQUIRE(now <= before);
          before = now;
        }
      }
    }
}

TEST_CASE("with arbitration, a rate that grows makes a fixed stream slower by 2 % at most") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  for (const char* device : devices)
    for (uint64_t trial = 0; trial < 8; ++trial) {
      const auto total = [&](const Description& d) {
        return static_cast<double>(
            random_program(d, seed + trial, {.window = 0, .numerics = false}).timing().total);
      };
      const double base = total(load_description(device));
      for (const char* key : rates)
        for (const double factor : {1.1, 2.0}) {
          CAPTURE(device, trial, key, factor);
          CHECK(total(with(device, {{key, factor * rate_of(load_description(device), key)}})) <= 1.02 * base);
        }
    }
}

TEST_CASE("infinitely fast DMA leaves no wait for DMA") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  const std::vector<std::pair<std::string, double>> free = {{"dma.gbps", 1e12},       {"hbm.gbps", 1e12},
                                                            {"dma.descriptor_ns", 0}, {"dma.start_ns", 0},
                                                            {"dma.done_ns", 0},       {"dma.issue_ns", 0}};
  for (const char* device : devices)
    for (uint64_t trial = 0; trial < 10; ++trial) {
      CAPTURE(device, trial);
      const Program p = random_program(with(device, free), seed + trial, {.numerics = false});
      for (const QueueTiming& q : p.timing().queue) REQUIRE(q.waiting_dma == 0);
      const Program real = random_program(load_description(device), seed + trial, {.numerics = false});
      REQUIRE(p.timing().total < real.timing().total);
    }
}

namespace {

uint32_t bits(float v) {
  uint32_t b;
  std::memcpy(&b, &v, sizeof b);
  return b;
}

// result = a^T b, one group of tiles of at most 128 rows, with `options`.
Tensor multiply(const char* device, const Tensor& a, const Tensor& b, MatmulOptions options) {
  KernelRun run(device);
  NeuronCore& nc = run.nc;
  const auto k = static_cast<int>(a.shape()[0]), m = static_cast<int>(a.shape()[1]),
             n = static_cast<int>(b.shape()[1]);
  const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(f32, {m, n}));
  {
    TilePool sbuf = nc.sbuf_pool("operands", 2), out = nc.sbuf_pool("out", 1), psum = nc.psum_pool("acc", 1);
    Tile acc = psum.tile(m, {n}, f32);
    const int rows = options.double_row ? k / 2 : 128;
    for (int row = 0; row < k; row += options.double_row ? k : rows) {
      const int height = std::min(rows, k - row);
      Tile ta = options.double_row ? sbuf.tile(height, {2, m}, a.dtype()) : sbuf.tile(height, {m}, a.dtype());
      Tile tb = options.double_row ? sbuf.tile(height, {2, n}, b.dtype()) : sbuf.tile(height, {n}, b.dtype());
      if (options.double_row) {
        nc.dma_load(ta, ha.reshape({2, height, m}).permute({1, 0, 2}));
        nc.dma_load(tb, hb.reshape({2, height, n}).permute({1, 0, 2}));
      } else {
        nc.dma_load(ta, ha.rows(row, height)), nc.dma_load(tb, hb.rows(row, height));
      }
      nc.nc_matmul(acc, ta, tb, {row == 0, options.double_row || row + rows >= k}, options);
    }
    Tile result = out.tile(m, {n}, f32);
    nc.tensor_copy(result, acc);
    nc.dma_store(hc, result);
  }
  run.run();
  return run.tensors[2];
}

// The stated model: operands widened, per tile acc = fma(a, b, acc) with k ascending from 0, tiles added in
// order.
void expect_model(const Tensor& a, const Tensor& b, const Tensor& c, int64_t tile) {
  const int64_t k = a.shape()[0], m = a.shape()[1], n = b.shape()[1];
  int wrong = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t first = 0; first < k; first += tile) {
        float acc = 0;
        for (int64_t l = first; l < std::min(first + tile, k); ++l)
          acc = std::fma(static_cast<float>(a.at(l * m + i)), static_cast<float>(b.at(l * n + j)), acc);
        sum = first == 0 ? acc : sum + acc;
      }
      wrong += bits(sum) != bits(c.values<float>()[static_cast<size_t>(i * n + j)]);
    }
  REQUIRE(wrong == 0);
}

}  // namespace

TEST_CASE("bfloat16 products have the bits of the stated model, on 50 random tiles") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 50; ++trial) {
    // Odd sizes half of the time; up to three tiles of K.
    const int64_t odd = trial % 2, m = draw(random, 0, 63) * 2 + odd + (1 - odd) * 2,
                  n = draw(random, 0, 70) * 2 + odd + (1 - odd) * 2,
                  k = draw(random, 0, 180) * 2 + odd + (1 - odd) * 2;
    CAPTURE(trial, m, n, k);
    const Tensor a = random_tensor(random, bf16, {k, m}, -4, 4),
                 b = random_tensor(random, bf16, {k, n}, -4, 4);
    expect_model(a, b, multiply(trial % 3 ? "trn1" : "trn2", a, b, {}), 128);
  }
}

TEST_CASE("modes of the tensor engine change the time, not the bits") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 10; ++trial) {
    const int64_t m = draw(random, 1, 64), n = draw(random, 1, 90), k = draw(random, 1, 128);
    CAPTURE(trial, m, n, k);
    // Double row: two tiles of the same partitions.
    const Tensor a8 = random_tensor(random, f8e4m3, {2 * k, m}),
                 b8 = random_tensor(random, f8e4m3, {2 * k, n});
    expect_model(a8, b8, multiply("trn2", a8, b8, {.double_row = true}), k);
    // Zeros and ones.
    Tensor ones(f32, {k, m});
    for (int64_t i = 0; i < ones.elements(); ++i) ones.set(i, static_cast<double>(draw(random, 0, 1)));
    const Tensor b = random_tensor(random, f32, {k, n});
    expect_model(ones, b, multiply("trn2", ones, b, {.stationary_onezero = true}), 128);
    // Parts of the array.
    const int64_t small = std::min<int64_t>(k, 32);
    const Tensor pa = random_tensor(random, bf16, {small, std::min<int64_t>(m, 32)}),
                 pb = random_tensor(random, bf16, {small, n});
    expect_model(pa, pb, multiply("trn3", pa, pb, {.array_rows = 32, .array_columns = 32}), 128);
  }
}

TEST_CASE("bfloat16 PSUM of trn3 is widened, added to and rounded for every product") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const Tensor a = random_tensor(random, bf16, {300, 20}), b = random_tensor(random, bf16, {300, 33});
  // Whether other work stands between the products must not matter.
  for (const bool interrupted : {false, true}) {
    KernelRun run("trn3");
    const Hbm ha = run.value(a), hb = run.value(b), hc = run.value(Tensor(bf16, {20, 33}));
    {
      TilePool sbuf = run.nc.sbuf_pool("operands", 2), out = run.nc.sbuf_pool("out", 1),
               psum = run.nc.psum_pool("acc", 1);
      Tile acc = psum.tile(20, {33}, bf16), result = out.tile(20, {33}, bf16);
      for (int k = 0; k < 3; ++k) {
        Tile ta = sbuf.tile(100, {20}, bf16), tb = sbuf.tile(100, {33}, bf16);
        run.nc.dma_load(ta, ha.rows(k * 100, 100)), run.nc.dma_load(tb, hb.rows(k * 100, 100));
        run.nc.nc_matmul(acc, ta, tb, accumulate(k, 3));
        if (interrupted) run.nc.memset(result, 0);
      }
      run.nc.tensor_copy(result, acc);
      run.nc.dma_store(hc, result);
    }
    run.run();
    for (int64_t i = 0; i < 20; ++i)
      for (int64_t j = 0; j < 33; ++j) {
        double sum = 0;
        for (int64_t first = 0; first < 300; first += 100) {
          float acc = 0;
          for (int64_t l = first; l < first + 100; ++l)
            acc = std::fma(static_cast<float>(a.at(l * 20 + i)), static_cast<float>(b.at(l * 33 + j)), acc);
          sum = Tensor::scalar(static_cast<double>(static_cast<float>(sum) + acc), bf16).at(0);
        }
        REQUIRE(run.tensors[2].at(i * 33 + j) == sum);
      }
  }
}

TEST_CASE("products of NaN, infinities and zeros follow IEEE 754") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const Tensor a = Tensor::of<float>({infinity, 0, 1, nan, 2, infinity, 1, 1, -1}, {3, 3});
  const Tensor b = Tensor::of<float>({0, 1, 2, 3, 4, 5, 6, 7, 8}, {3, 3});
  const Tensor c = multiply("trn1", a, b, {});
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 3; ++j) {
      float want = 0;
      for (int64_t k = 0; k < 3; ++k)
        want = std::fma(static_cast<float>(a.at(k * 3 + i)), static_cast<float>(b.at(k * 3 + j)), want);
      const float got = c.values<float>()[static_cast<size_t>(i * 3 + j)];
      CAPTURE(i, j, want, got);
      CHECK((std::isnan(want) ? std::isnan(got) : want == got));
    }
}
