// Instructions that choose elements, by position, by chance and by index, against plain loops; stochastic
// rounding.
#include <cmath>

#include "core/philox.h"
#include "tests/catch.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// Loads every tensor into a tile, runs `emit` on the tiles, and returns the last tensor as the kernel leaves
// it.
Tensor run_on_tiles(const char* device, const std::vector<Tensor>& tensors,
                    const std::function<void(NeuronCore&, const std::vector<Tile>&)>& emit,
                    const CompileOptions& options = {}) {
  KernelRun run(device);
  std::vector<Hbm> values;
  for (const Tensor& t : tensors) values.push_back(run.value(t.clone()));
  {
    TilePool pool = run.nc.sbuf_pool("p", static_cast<int>(tensors.size()));
    std::vector<Tile> tiles;
    for (size_t i = 0; i < tensors.size(); ++i) {
      tiles.push_back(pool.tile(static_cast<int>(tensors[i].shape()[0]),
                                {static_cast<int>(tensors[i].shape()[1])}, tensors[i].dtype()));
      run.nc.dma_load(tiles.back(), values[i]);
    }
    emit(run.nc, tiles);
    run.nc.dma_store(values.back(), tiles.back());
  }
  run.run(options);
  return run.tensors.back();
}

Tensor index_of(int32_t value) { return Tensor::of<int32_t>({value}, {1, 1}); }

}  // namespace

TEST_CASE("range_select keeps what lies between two bounds, and finds the largest of a row") {
  std::mt19937_64 random(3);
  const Tensor x = random_tensor(random, f32, {5, 77});
  Tensor low(f32, {5, 1});
  for (int64_t p = 0; p < 5; ++p) low.set(p, static_cast<double>(10 * p + 3));
  const auto kept = [&](int64_t p, int64_t i) {
    const double position = 2 + static_cast<double>(i);
    return position >= low.at(p) && position < 60;
  };
  const Tensor y = run_on_tiles("trn2", {x, low, Tensor(f32, {5, 77})}, [](NeuronCore& nc, const auto& t) {
    nc.range_select(t[2], t[0], AluOp::greater_equal, t[1], AluOp::less, 60, -9, 2);
  });
  const Tensor largest = run_on_tiles(
      "trn2", {x, low, Tensor(f32, {5, 77}), Tensor(f32, {5, 1})}, [](NeuronCore& nc, const auto& t) {
        nc.range_select(t[2], t[3], t[0], AluOp::greater_equal, t[1], AluOp::less, 60, -9, 2);
      });
  for (int64_t p = 0; p < 5; ++p) {
    double top = -9;
    for (int64_t i = 0; i < 77; ++i) {
      const double want = kept(p, i) ? x.at(p * 77 + i) : -9;
      REQUIRE(y.at(p * 77 + i) == want);
      top = std::max(top, want);
    }
    CHECK(largest.at(p) == top);
  }
}

TEST_CASE("stream_shuffle moves rows within 32 partitions, or leaves them") {
  std::mt19937_64 random(4);
  for (const DType dtype : {f32, bf16, u8}) {
    const Tensor x = random_tensor(random, dtype, {64, 9}, 0, 100),
                 before = random_tensor(random, dtype, {64, 9}, 0, 100);
    Shuffle shuffle;
    for (size_t p = 0; p < 32; ++p)
      shuffle.source[p] = p % 5 == 0 ? Shuffle::keep : static_cast<uint8_t>((p * 7 + 3) % 32);
    const Tensor y = run_on_tiles(
        "trn1", {x, before}, [&](NeuronCore& nc, const auto& t) { nc.stream_shuffle(t[1], t[0], shuffle); });
    for (int64_t p = 0; p < 64; ++p)
      for (int64_t i = 0; i < 9; ++i) {
        const uint8_t source = shuffle.source[static_cast<size_t>(p % 32)];
        REQUIRE(y.at(p * 9 + i) ==
                (source == Shuffle::keep ? before.at(p * 9 + i) : x.at((p / 32 * 32 + source) * 9 + i)));
      }
  }
}

TEST_CASE("dynamic copies read and write windows at run-time places") {
  std::mt19937_64 random(5);
  const Tensor x = random_tensor(random, f32, {7, 40});
  for (const int32_t at : {0, 13, 30}) {
    const Tensor read =
        run_on_tiles("trn1", {x, index_of(at), Tensor(f32, {7, 10})},
                     [](NeuronCore& nc, const auto& t) { nc.tensor_copy_dynamic_src(t[2], t[0], 0, t[1]); });
    const Tensor part = random_tensor(random, f32, {7, 10});
    const Tensor written = run_on_tiles("trn1", {part, index_of(at), x}, [](NeuronCore& nc, const auto& t) {
      nc.tensor_copy_dynamic_dst(t[2], t[0], 0, t[1]);
    });
    // The middle axis of a tile [4 x 5 x 2].
    const Tensor inner =
        run_on_tiles("trn1", {x, index_of(at / 10), Tensor(f32, {7, 16})}, [](NeuronCore& nc, const auto& t) {
          nc.tensor_copy_dynamic_src(t[2].reshape({4, 2, 2}), t[0].reshape({4, 5, 2}), 1, t[1]);
        });
    for (int64_t p = 0; p < 7; ++p) {
      for (int64_t i = 0; i < 10; ++i) REQUIRE(read.at(p * 10 + i) == x.at(p * 40 + at + i));
      for (int64_t i = 0; i < 40; ++i)
        REQUIRE(written.at(p * 40 + i) ==
                (i >= at && i < at + 10 ? part.at(p * 10 + i - at) : x.at(p * 40 + i)));
      for (int64_t i = 0; i < 16; ++i)
        REQUIRE(inner.at(p * 16 + i) == x.at(p * 40 + i / 4 * 10 + (at / 10 + i / 2 % 2) * 2 + i % 2));
    }
  }
}

TEST_CASE("an instruction that leaves part of its destination waits for what was written there") {
  NeuronCore nc("trn1");
  {
    TilePool pool = nc.sbuf_pool("p", 3);
    Tile whole = pool.tile(8, {900}, f32), part = pool.tile(8, {100}, f32), index = pool.tile(1, {1}, i32);
    nc.memset(part, 1), nc.memset(index, 0), nc.memset(whole, 2);
    nc.tensor_copy_dynamic_dst(whole, part, 0, index);
  }
  const Program p = compile(std::move(nc), {.numerics = false});
  CHECK(p.timing().record[3].start >= p.timing().record[2].end);
}

TEST_CASE("local_gather and local_scatter work in groups of 16 partitions, whose indices lie across them") {
  std::mt19937_64 random(6);
  for (const int each : {1, 4})
    for (const DType dtype : {f32, f16}) {
      CAPTURE(each, static_cast<int>(dtype));
      const int entries = 24, used = 37;  // of 48 indices
      const Tensor table = random_tensor(random, dtype, {32, entries * each});
      Tensor index(u16, {32, 3});
      for (int64_t i = 0; i < index.elements(); ++i)
        index.set(i, static_cast<double>(draw(random, 0, entries - 1)));
      const auto place = [&](int64_t p, int64_t k) {
        return static_cast<int64_t>(index.at((p / 16 * 16 + k % 16) * 3 + k / 16));
      };
      const Tensor got =
          run_on_tiles("trn1", {table, index, Tensor(dtype, {32, used * each})},
                       [&](NeuronCore& nc, const auto& t) { nc.local_gather(t[2], t[0], t[1], each); });
      const Tensor rows = random_tensor(random, dtype, {32, used * each});
      const Tensor put = run_on_tiles("trn1", {rows, index, table}, [&](NeuronCore& nc, const auto& t) {
        nc.local_scatter(t[2], t[0], t[1], each);
      });
      Tensor want = table.clone();
      for (int64_t p = 0; p < 32; ++p)
        for (int64_t k = 0; k < used; ++k)
          for (int64_t e = 0; e < each; ++e) {
            REQUIRE(got.at(p * used * each + k * each + e) ==
                    table.at(p * entries * each + place(p, k) * each + e));
            want.set(p * entries * each + place(p, k) * each + e, rows.at(p * used * each + k * each + e));
          }
      for (int64_t i = 0; i < want.elements(); ++i) REQUIRE(put.at(i) == want.at(i));
    }
}

TEST_CASE("dropout drops what the random words say; random bits are the same on both engines") {
  const Tensor state = Tensor::of<uint32_t>({7, 8, 9, 0}, {1, 4});
  const AffinePattern pattern{.base = 5, .partition_step = 100, .step = {1}};
  const auto word = [](int64_t p, int64_t i) {
    const auto element = static_cast<uint64_t>(5 + 100 * p + i);
    return philox_block(9 + element / 4, 7 | uint64_t{8} << 32)[element % 4];
  };
  std::mt19937_64 random(7);
  const Tensor x = random_tensor(random, f32, {64, 100}, 1, 2);
  Tensor chance(f32, {64, 1});
  for (int64_t p = 0; p < 64; ++p) chance.set(p, static_cast<double>(p) / 63);
  const Tensor y =
      run_on_tiles("trn1", {x, chance, state, Tensor(f32, {64, 100})},
                   [&](NeuronCore& nc, const auto& t) { nc.dropout(t[3], t[0], t[1], t[2], pattern); });
  for (int64_t p = 0; p < 64; ++p)
    for (int64_t i = 0; i < 100; ++i)
      REQUIRE(y.at(p * 100 + i) == (word(p, i) < chance.at(p) * 4294967296.0 ? 0 : x.at(p * 100 + i)));
  for (const Engine engine : {Engine::gpsimd, Engine::dve}) {
    const Tensor b =
        run_on_tiles("trn1", {state, Tensor(u32, {64, 100})},
                     [&](NeuronCore& nc, const auto& t) { nc.random_bits(t[1], t[0], pattern, engine); });
    for (int64_t p = 0; p < 64; ++p)
      for (int64_t i = 0; i < 100; ++i) REQUIRE(b.at(p * 100 + i) == word(p, i));
  }
}

TEST_CASE("stochastic rounding: a neighbour each time, right on average, the same in every run") {
  // Halfway sums of float16: to nearest even nothing is ever added; by chance half of them are.
  const auto added = [](std::optional<uint64_t> seed) {
    return run_on_tiles("trn2", {Tensor::full(1024, f16, {128, 8})},
                        [](NeuronCore& nc, const auto& t) {
                          for (int i = 0; i < 2048; ++i) nc.tensor_scalar(t[0], t[0], {AluOp::add, 0.5});
                        },
                        {.timing = false, .stochastic_rounding = seed});
  };
  const auto mean = [](const Tensor& t) {
    double sum = 0;
    for (int64_t i = 0; i < t.elements(); ++i) sum += t.at(i);
    return sum / static_cast<double>(t.elements());
  };
  CHECK(mean(added({})) == 1024);
  // 1024 sums of 2048 steps of variance at most 1/4: the mean has a standard deviation of at most 0.71.
  const Tensor one = added(1);
  CHECK(mean(one) == Approx(2048).margin(5 * 0.71));
  CHECK(std::memcmp(one.data(), added(1).data(), one.bytes()) == 0);
  CHECK(std::memcmp(one.data(), added(2).data(), one.bytes()) != 0);

  // Any float becomes one of its two neighbours; exact values stay.
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const DType to : {bf16, f16, f8e4m3, f8e5m2}) {
    CAPTURE(static_cast<int>(to));
    for (const double range : {100.0, 1e-4}) {
      const Tensor x = random_tensor(random, f32, {128, 40}, -range, range);
      const auto copied = [&](const Tensor& from) {
        return run_on_tiles("trn2", {from, Tensor(to, {128, 40})},
                            [](NeuronCore& nc, const auto& t) { nc.tensor_copy(t[1], t[0]); },
                            {.stochastic_rounding = seed});
      };
      const Tensor y = copied(x), again = copied(y.to(f32));
      double error = 0, size = 0;
      for (int64_t i = 0; i < x.elements(); ++i) {
        // The nearest, or the nearest on the other side: then nothing lies between the two.
        const double near = Tensor::scalar(x.at(i), to).at(0),
                     middle = Tensor::scalar((near + y.at(i)) / 2, to).at(0);
        REQUIRE((y.at(i) == near ||
                 ((near - x.at(i)) * (y.at(i) - x.at(i)) <= 0 && (middle == near || middle == y.at(i)))));
        REQUIRE(again.at(i) == y.at(i));
        error += y.at(i) - x.at(i), size += std::fabs(y.at(i) - x.at(i));
      }
      // Unbiased: the mean error is far below the mean size of an error.
      CHECK(std::fabs(error) <= 5 * size / std::sqrt(static_cast<double>(x.elements())) + 1e-30);
    }
  }
}
