// The scalar, vector and GpSimd engines against the same formulas in double precision.
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/catch.h"
#include "tests/expect_error.h"
#include "tests/property.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

constexpr double pi = 3.14159265358979323846;

double normal(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

struct FunctionCase {
  Function function;
  double low, high;
  double ulp;  // of the result, or of `scale` where that is larger
  std::function<double(double)> reference;
  std::function<double(double)> scale = [](double) { return 0.0; };  // magnitude that rounding errors have
};

// One unit in the last place of float32 at |x|.
double ulp_at(double x) {
  const float f = std::max(std::fabs(static_cast<float>(x)), std::numeric_limits<float>::min());
  return static_cast<double>(std::nextafter(f, std::numeric_limits<float>::infinity())) -
         static_cast<double>(f);
}

// y = f(x) elementwise on an engine.
Tensor apply(const Tensor& x, Function f, Engine engine, double scale = 1, double bias = 0, float alpha = 0) {
  KernelRun run;
  const int rows = static_cast<int>(x.shape()[0]), columns = static_cast<int>(x.shape()[1]);
  const Hbm in = run.value(x), out = run.value(Tensor(f32, x.shape()));
  {
    TilePool pool = run.nc.sbuf_pool("io", 2);
    Tile a = pool.tile(rows, {columns}, f32), b = pool.tile(rows, {columns}, f32);
    run.nc.dma_load(a, in);
    run.nc.activation(b, f, a, scale, bias, alpha, engine);
    run.nc.dma_store(out, b);
  }
  run.run();
  return run.tensors[1];
}

}  // namespace

TEST_CASE("functions of the scalar engine are accurate over their ranges") {
  const auto gelu_tanh = [](double x) { return std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)); };
  // Where a function is the exponential of a rounded argument, that rounding grows with the argument.
  const std::vector<FunctionCase> cases = {
      {Function::exp, -100, 88, 2, [](double x) { return std::exp(x); }},
      {Function::log, 0x1p-64, 10, 2, [](double x) { return std::log(x); }},
      {Function::log, 10, 0x1p63, 2, [](double x) { return std::log(x); }},
      {Function::tanh, -12, 12, 3, [](double x) { return std::tanh(x); }},
      {Function::sigmoid, -80, 80, 3, logistic},
      {Function::erf, -5, 5, 2, [](double x) { return std::erf(x); }},
      {Function::gelu, -8, 8, 3, [](double x) { return x * normal(x); }, [](double x) { return x; }},
      {Function::gelu_dx, -8, 8, 4,
       [](double x) { return normal(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * pi); },
       [](double) { return 1.0; }},
      {Function::gelu_tanh, -8, 8, 4, [&](double x) { return 0.5 * x * (1 + gelu_tanh(x)); },
       [](double x) { return x; }},
      {Function::gelu_tanh_dx, -8, 8, 8,
       [&](double x) {
         const double t = gelu_tanh(x);
         return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x);
       },
       [](double) { return 1.0; }},
      {Function::gelu_sigmoid, -20, 20, 48, [](double x) { return x * logistic(1.702 * x); }},
      {Function::silu, -80, 80, 4, [](double x) { return x * logistic(x); }},
      {Function::silu_dx, -20, 20, 6, [](double x) { return logistic(x) * (1 + x * (1 - logistic(x))); },
       [](double x) { return std::max(1.0, std::fabs(x)); }},
      {Function::softplus, -80, 80, 3, [](double x) { return x > 30 ? x : std::log1p(std::exp(x)); }},
      {Function::mish, -20, 30, 5, [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }},
      {Function::erf_dx, -4, 4, 24, [](double x) { return 2 / std::sqrt(pi) * std::exp(-x * x); }},
      {Function::tanh_dx, -6, 6, 6, [](double x) { return 1 - std::tanh(x) * std::tanh(x); },
       [](double) { return 1.0; }},
      {Function::sigmoid_dx, -80, 80, 5, [](double x) { return logistic(x) * logistic(-x); }},
      {Function::sin, -3.14159, 3.14159, 2, [](double x) { return std::sin(x); }},
      {Function::arctan, -1.57, 1.57, 3, [](double x) { return std::atan(x); }},
      {Function::sqrt, 0x1p-100, 1e30, 1, [](double x) { return std::sqrt(x); }},
      {Function::rsqrt, 1e-20, 1e20, 2, [](double x) { return 1 / std::sqrt(x); }},
      {Function::reciprocal, 1e-9, 1e9, 1, [](double x) { return 1 / x; }},
      {Function::square, -10, 10, 1, [](double x) { return x * x; }},
      {Function::relu, -10, 10, 0, [](double x) { return x > 0 ? x : 0; }},
      {Function::abs, -10, 10, 0, [](double x) { return std::fabs(x); }},
      {Function::sign, -10, 10, 0, [](double x) { return x > 0   ? 1
                                                         : x < 0 ? -1
                                                                 : 0; }},
      {Function::identity, -10, 10, 0, [](double x) { return x; }},
  };
  for (const FunctionCase& c : cases) {
    Tensor x(f32, {101, 1999});
    const int64_t n = x.elements();
    for (int64_t i = 0; i < n; ++i)
      x.set(i, c.low + (c.high - c.low) * static_cast<double>(i) / static_cast<double>(n - 1));
    const Tensor y = apply(x, c.function, Engine::act);
    double worst = 0, at = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double v = x.at(i), want = c.reference(v);
      const double unit = std::max(ulp_at(want), ulp_at(c.scale(v)));
      const double error = std::fabs(y.at(i) - want) / unit;
      if (!(error <= worst)) worst = error, at = v;
    }
    CAPTURE(function_name(c.function), at, worst);
    CHECK(worst <= c.ulp);
  }
}

TEST_CASE("functions keep NaN and infinities") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const Tensor x =
      Tensor::of<float>({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                         -std::numeric_limits<float>::infinity(), 0.0f},
                        {1, 4});
  const auto check = [&](Function f, std::array<double, 4> want) {
    CAPTURE(function_name(f));
    const Tensor y = apply(x, f, Engine::gpsimd);
    for (int64_t i = 0; i < 4; ++i) {
      if (std::isnan(want[static_cast<size_t>(i)]))
        CHECK(std::isnan(y.at(i)));
      else
        CHECK(y.at(i) == Approx(want[static_cast<size_t>(i)]));
    }
  };
  check(Function::exp, {nan, inf, 0, 1});
  check(Function::log, {nan, inf, nan, -inf});
  check(Function::tanh, {nan, 1, -1, 0});
  check(Function::sigmoid, {nan, 1, 0, 0.5});
  check(Function::erf, {nan, 1, -1, 0});
  check(Function::relu, {nan, inf, 0, 0});
  check(Function::softplus, {nan, inf, 0, std::log(2)});
  check(Function::sqrt, {nan, inf, nan, 0});
  check(Function::rsqrt, {nan, 0, nan, inf});
  check(Function::reciprocal, {nan, 0, 0, inf});
  check(Function::sin, {nan, nan, nan, 0});
  check(Function::cos, {nan, nan, nan, 1});
  check(Function::floor, {nan, inf, -inf, 0});
  check(Function::is_nan, {1, 0, 0, 0});
  check(Function::sign, {nan, 1, -1, 0});
  check(Function::abs, {nan, inf, inf, 0});
}

TEST_CASE("the scalar engine traps arguments outside its tables, GpSimd does not") {
  const Tensor zero = Tensor::full(0, f32, {2, 3});
  const std::string text = expect_error(ErrorCode::device, "sqrt has an argument outside",
                                        [&] { apply(zero, Function::sqrt, Engine::act); });
  CHECK_THAT(text, ContainsSubstring("activation at systolic/vector_engines.cpp:"));
  expect_error(ErrorCode::device, "log", [&] { apply(zero, Function::log, Engine::act); });
  expect_error(ErrorCode::device, "sin", [&] {
    apply(Tensor::full(9, f32, {1, 40}), Function::sin, Engine::act);
  });
  expect_error(ErrorCode::device, "reciprocal", [&] { apply(zero, Function::reciprocal, Engine::act); });
  CHECK(apply(zero, Function::sqrt, Engine::gpsimd).at(0) == 0);
  CHECK(apply(Tensor::full(9, f32, {1, 40}), Function::sin, Engine::gpsimd).at(3) == Approx(std::sin(9.0)));
}

TEST_CASE("activation scales, shifts per partition and sums") {
  std::mt19937_64 random(3);
  for (const int columns : {1, 7, 64, 1500}) {
    KernelRun run;
    NeuronCore& nc = run.nc;
    const Tensor x = random_tensor(random, f32, {70, columns}), s = random_tensor(random, f32, {70, 1});
    const Hbm hx = run.value(x), hs = run.value(s), hy = run.value(Tensor(bf16, {70, columns})),
              hsum = run.value(Tensor(f32, {70, 1}));
    {
      TilePool pool = nc.sbuf_pool("io", 4);
      Tile tx = pool.tile(70, {columns}, f32), ts = pool.tile(70, {1}, f32),
           ty = pool.tile(70, {columns}, bf16), tsum = pool.tile(70, {1}, f32);
      nc.dma_load(tx, hx), nc.dma_load(ts, hs);
      nc.activation_reduce(ty, tsum, Function::exp, tx, 0.5, ts);
      nc.dma_store(hy, ty), nc.dma_store(hsum, tsum);
    }
    run.run();
    for (int64_t p = 0; p < 70; ++p) {
      double sum = 0;
      for (int64_t i = 0; i < columns; ++i) {
        const double want = std::exp(0.5 * x.at(p * columns + i) + s.at(p));
        CHECK(run.tensors[2].at(p * columns + i) == Approx(want).epsilon(0.005));
        sum += want;
      }
      CHECK(run.tensors[3].at(p) == Approx(sum).epsilon(1e-5));
    }
  }
}

TEST_CASE("ALU operators in every form") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto reference = [](AluOp op, float a, float b) -> double {
    switch (op) {
      case AluOp::add:
        return static_cast<double>(a + b);
      case AluOp::subtract:
        return static_cast<double>(a - b);
      case AluOp::multiply:
        return static_cast<double>(a * b);
      case AluOp::divide:
        return static_cast<double>(a / b);
      case AluOp::maximum:
        return static_cast<double>(std::max(a, b));
      case AluOp::minimum:
        return static_cast<double>(std::min(a, b));
      case AluOp::power:
        return static_cast<double>(std::pow(a, b));
      case AluOp::mod: {
        const float m = std::fmod(a, b);
        return static_cast<double>(m != 0 && (m < 0) != (b < 0) ? m + b : m);
      }
      case AluOp::equal:
        return a == b;
      case AluOp::not_equal:
        return a != b;
      case AluOp::greater:
        return a > b;
      case AluOp::greater_equal:
        return a >= b;
      case AluOp::less:
        return a < b;
      case AluOp::less_equal:
        return a <= b;
      case AluOp::logical_and:
        return a != 0 && b != 0;
      case AluOp::logical_or:
        return a != 0 || b != 0;
      case AluOp::logical_xor:
        return (a != 0) != (b != 0);
      default:
        return static_cast<double>(a);
    }
  };
  for (int o = static_cast<int>(AluOp::add); o <= static_cast<int>(AluOp::logical_xor); ++o) {
    const auto op = static_cast<AluOp>(o);
    const int rows = static_cast<int>(draw(random, 1, 128)), columns = static_cast<int>(draw(random, 1, 80));
    CAPTURE(alu_op_name(op), rows, columns);
    KernelRun run;
    NeuronCore& nc = run.nc;
    Tensor a = random_tensor(random, f32, {rows, columns}, 0, 4),
           b = random_tensor(random, f32, {rows, columns}, 0.5, 4),
           s = random_tensor(random, f32, {rows, 1}, 0.5, 3);
    for (int64_t i = 0; i < a.elements(); i += 3) b.set(i, a.at(i) == 0 ? 1 : a.at(i));  // equal sometimes
    const Hbm ha = run.value(a), hb = run.value(b), hs = run.value(s);
    std::vector<Hbm> out;
    for (int i = 0; i < 5; ++i) out.push_back(run.value(Tensor(f32, {rows, columns})));
    {
      TilePool pool = nc.sbuf_pool("io", 3), result = nc.sbuf_pool("out", 5);
      Tile ta = pool.tile(rows, {columns}, f32), tb = pool.tile(rows, {columns}, f32),
           ts = pool.tile(rows, {1}, f32);
      nc.dma_load(ta, ha), nc.dma_load(tb, hb), nc.dma_load(ts, hs);
      std::vector<Tile> t;
      for (int i = 0; i < 5; ++i) t.push_back(result.tile(rows, {columns}, f32));
      nc.tensor_tensor(t[0], ta, op, tb);
      nc.tensor_scalar(t[1], ta, {op, ts});
      nc.tensor_scalar(t[2], ta, reversed(op, 1.5));
      nc.tensor_scalar(t[3], ta, {op, ts}, {AluOp::subtract, 0.25});
      nc.scalar_tensor_tensor(t[4], ta, {AluOp::multiply, 2.0}, op, tb, true);
      for (size_t i = 0; i < 5; ++i) nc.dma_store(out[i], t[i]);
    }
    run.run();
    int wrong = 0;
    for (int64_t i = 0; i < rows * columns; ++i) {
      const auto x = static_cast<float>(a.at(i)), y = static_cast<float>(b.at(i)),
                 z = static_cast<float>(s.at(i / columns));
      const double want[5] = {reference(op, x, y), reference(op, x, z), reference(op, 1.5f, x),
                              static_cast<double>(static_cast<float>(reference(op, x, z)) - 0.25f),
                              reference(op, y, x * 2.0f)};
      for (size_t v = 0; v < 5; ++v) {
        const double got = run.tensors[3 + v].at(i);
        wrong += !(got == want[v] || (std::isnan(got) && std::isnan(want[v])));
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("reductions, in place of the innermost dimensions or all") {
  std::mt19937_64 random(5);
  for (const AluOp op : {AluOp::add, AluOp::maximum, AluOp::minimum, AluOp::multiply})
    for (const DType dtype : {f32, bf16}) {
      CAPTURE(alu_op_name(op), static_cast<int>(dtype));
      KernelRun run;
      NeuronCore& nc = run.nc;
      const Tensor x = random_tensor(random, dtype, {65, 6, 37}, 0.5, 1.5);
      const Hbm hx = run.value(x), h1 = run.value(Tensor(f32, {65, 6})), h2 = run.value(Tensor(f32, {65, 1})),
                h3 = run.value(Tensor(f32, {65, 37}));
      {
        TilePool pool = nc.sbuf_pool("io", 4);
        Tile t = pool.tile(65, {6, 37}, dtype), a = pool.tile(65, {6}, f32), b = pool.tile(65, {1}, f32),
             c = pool.tile(65, {37}, f32);
        nc.dma_load(t, hx);
        nc.tensor_reduce(a, op, t, 1);
        nc.tensor_reduce(b, op, t);
        nc.tensor_reduce(c, op, t.permute({1, 0}), 1);
        nc.dma_store(h1, a), nc.dma_store(h2, b), nc.dma_store(h3, c);
      }
      run.run();
      const auto combine = [&](double u, double v) {
        return op == AluOp::add        ? u + v
               : op == AluOp::multiply ? u * v
               : op == AluOp::maximum  ? std::max(u, v)
                                       : std::min(u, v);
      };
      for (int64_t p = 0; p < 65; ++p) {
        std::vector<double> by_row, by_column;
        for (int64_t i = 0; i < 6; ++i) {
          double r = x.at(p * 222 + i * 37);
          for (int64_t j = 1; j < 37; ++j) r = combine(r, x.at(p * 222 + i * 37 + j));
          by_row.push_back(r);
          CHECK(run.tensors[1].at(p * 6 + i) == Approx(r).epsilon(1e-5));
        }
        double all = by_row[0];
        for (size_t i = 1; i < 6; ++i) all = combine(all, by_row[i]);
        CHECK(run.tensors[2].at(p) == Approx(all).epsilon(1e-5));
        double c = x.at(p * 222 + 5);
        for (int64_t i = 1; i < 6; ++i) c = combine(c, x.at(p * 222 + i * 37 + 5));
        CHECK(run.tensors[3].at(p * 37 + 5) == Approx(c).epsilon(1e-5));
      }
    }
}

TEST_CASE("scan, statistics, selection and the eight largest") {
  std::mt19937_64 random(9);
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Tensor x = random_tensor(random, f32, {40, 100}), y = random_tensor(random, f32, {40, 100});
  const Hbm hx = run.value(x), hy = run.value(y);
  const Hbm scan = run.value(Tensor(f32, {40, 100})), stats = run.value(Tensor(f32, {40, 2})),
            selected = run.value(Tensor(f32, {40, 100})), kept = run.value(Tensor(f32, {40, 100})),
            largest = run.value(Tensor(f32, {40, 8})), places = run.value(Tensor(u32, {40, 8}));
  {
    TilePool pool = nc.sbuf_pool("io", 12);
    Tile a = pool.tile(40, {100}, f32), b = pool.tile(40, {100}, f32), s = pool.tile(40, {100}, f32),
         triples = pool.tile(40, {6}, f32), mv = pool.tile(40, {2}, f32), mask = pool.tile(40, {100}, u8),
         sel = pool.tile(40, {100}, f32), keep = pool.tile(40, {100}, f32), top = pool.tile(40, {8}, f32),
         at = pool.tile(40, {8}, u32);
    nc.dma_load(a, hx), nc.dma_load(b, hy);
    nc.tensor_tensor_scan(s, a, b, 0.5, AluOp::multiply, AluOp::add);
    nc.bn_stats(triples, a);
    nc.bn_aggr(mv, triples);
    nc.tensor_tensor(mask, a, AluOp::greater, b);
    nc.select(sel, mask, a, -7.0f);
    nc.memset(keep, 3);
    nc.tensor_copy_predicated(keep, b, mask);
    nc.max8(top, a);
    nc.find_index8(at, a, top);
    nc.dma_store(scan, s), nc.dma_store(stats, mv), nc.dma_store(selected, sel), nc.dma_store(kept, keep);
    nc.dma_store(largest, top), nc.dma_store(places, at);
  }
  run.run();
  for (int64_t p = 0; p < 40; ++p) {
    double state = 0.5, mean = 0, variance = 0;
    std::vector<std::pair<double, int64_t>> sorted;
    for (int64_t i = 0; i < 100; ++i) {
      const double a = x.at(p * 100 + i), b = y.at(p * 100 + i);
      state = state * a + b;
      CHECK(run.tensors[2].at(p * 100 + i) == Approx(state).epsilon(1e-4).margin(1e-6));
      CHECK(run.tensors[4].at(p * 100 + i) == (a > b ? a : -7));
      CHECK(run.tensors[5].at(p * 100 + i) == (a > b ? b : 3));
      mean += a / 100;
      sorted.emplace_back(-a, i);
    }
    for (int64_t i = 0; i < 100; ++i)
      variance += (x.at(p * 100 + i) - mean) * (x.at(p * 100 + i) - mean) / 100;
    CHECK(run.tensors[3].at(p * 2) == Approx(mean).margin(1e-6));
    CHECK(run.tensors[3].at(p * 2 + 1) == Approx(variance).epsilon(1e-5));
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < 8; ++i) {
      CHECK(run.tensors[6].at(p * 8 + i) == -sorted[static_cast<size_t>(i)].first);
      CHECK(run.tensors[7].at(p * 8 + i) == static_cast<double>(sorted[static_cast<size_t>(i)].second));
    }
  }
}

TEST_CASE("patterns, integers, partitions and programs on GpSimd") {
  std::mt19937_64 random(13);
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Tensor x = random_tensor(random, f32, {64, 50});
  const Hbm hx = run.value(x), hi = run.value(Tensor(i32, {64, 3, 5})), hm = run.value(Tensor(f32, {64, 50})),
            hn = run.value(Tensor(i32, {64, 50})), hr = run.value(Tensor(f32, {1, 50})),
            hp = run.value(Tensor(f32, {64, 50})), hb = run.value(Tensor(bf16, {64, 50}));
  {
    TilePool pool = nc.sbuf_pool("io", 12);
    Tile t = pool.tile(64, {50}, f32), i = pool.tile(64, {3, 5}, i32), m = pool.tile(64, {50}, f32),
         n = pool.tile(64, {50}, i32), r = pool.tile(1, {50}, f32), q = pool.tile(64, {50}, f32),
         b = pool.tile(64, {50}, bf16);
    nc.dma_load(t, hx);
    nc.iota(i, {.base = 7, .partition_step = 100, .step = {10, -1}});
    nc.affine_select(m, t, {.base = 3, .partition_step = 1, .step = {-1}}, AluOp::greater_equal, -5);
    nc.affine_select(b, t, {.base = 3, .partition_step = 1, .step = {-1}}, AluOp::not_equal, 9);
    nc.iota(n, {.base = 16777216, .partition_step = 64, .step = {1}});
    nc.tensor_scalar(n, n, {AluOp::add, 1}, {AluOp::bitwise_and, 0x1ffffff}, Engine::gpsimd);
    nc.partition_reduce(r, AluOp::maximum, t);
    const Tile in[] = {t}, out[] = {q};
    nc.gpsimd_program("reverse", out, in, 5000, [](auto to, auto from) {
      for (int p = 0; p < to[0].partitions; ++p)
        for (int64_t j = 0; j < to[0].elements; ++j)
          to[0].template row<float>(p)[j] = from[0].template row<float>(p)[to[0].elements - 1 - j];
    });
    nc.dma_store(hi, i), nc.dma_store(hm, m), nc.dma_store(hn, n), nc.dma_store(hr, r), nc.dma_store(hp, q);
    nc.dma_store(hb, b);
  }
  run.run();
  for (int64_t j = 0; j < 50; ++j) {
    double most = -10;
    for (int64_t p = 0; p < 64; ++p) {
      most = std::max(most, x.at(p * 50 + j));
      CHECK(run.tensors[2].at(p * 50 + j) == (j <= p + 3 ? x.at(p * 50 + j) : -5));
      CHECK(run.tensors[3].at(p * 50 + j) == static_cast<double>((16777216 + 64 * p + j + 1) & 0x1ffffff));
      CHECK(run.tensors[5].at(p * 50 + j) == x.at(p * 50 + 49 - j));
      CHECK((run.tensors[6].at(p * 50 + j) == 9) == (j == p + 3));
    }
    CHECK(run.tensors[4].at(j) == most);
  }
  for (int64_t p = 0; p < 64; ++p)
    for (int64_t u = 0; u < 3; ++u)
      for (int64_t v = 0; v < 5; ++v)
        CHECK(run.tensors[1].at(p * 15 + u * 5 + v) == static_cast<double>(7 + 100 * p + 10 * u - v));
}

TEST_CASE("affine_select agrees with its definition for every comparison and step") {
  const auto holds = [](AluOp op, int64_t v) {
    switch (op) {
      case AluOp::equal:
        return v == 0;
      case AluOp::not_equal:
        return v != 0;
      case AluOp::greater:
        return v > 0;
      case AluOp::greater_equal:
        return v >= 0;
      case AluOp::less:
        return v < 0;
      default:
        return v <= 0;
    }
  };
  for (int o = static_cast<int>(AluOp::equal); o <= static_cast<int>(AluOp::less_equal); ++o)
    for (const int64_t step : {-3, -1, 0, 1, 2})
      for (const int64_t base : {-9, -1, 0, 1, 8}) {
        const auto op = static_cast<AluOp>(o);
        CAPTURE(alu_op_name(op), step, base);
        KernelRun run;
        const Hbm hx = run.value(Tensor::full(1, f32, {3, 11})), hy = run.value(Tensor(f32, {3, 11}));
        {
          TilePool pool = run.nc.sbuf_pool("io", 2);
          Tile x = pool.tile(3, {11}, f32), y = pool.tile(3, {11}, f32);
          run.nc.dma_load(x, hx);
          run.nc.affine_select(y, x, {.base = base, .partition_step = 2, .step = {step}}, op, 0);
          run.nc.dma_store(hy, y);
        }
        run.run();
        for (int64_t p = 0; p < 3; ++p)
          for (int64_t i = 0; i < 11; ++i)
            REQUIRE(run.tensors[1].at(p * 11 + i) == (holds(op, base + 2 * p + step * i) ? 1 : 0));
      }
}

TEST_CASE("Philox gives the published words") {
  // Random123's known answers for philox4x32-10: counter and key all zero, and all ones.
  KernelRun run;
  NeuronCore& nc = run.nc;
  const Hbm hs = run.value(Tensor::of<uint32_t>({0, 0, 0, 0}, {1, 4})), hr = run.value(Tensor(u32, {2, 4}));
  {
    TilePool pool = nc.sbuf_pool("io", 2);
    Tile state = pool.tile(1, {4}, u32), bits = pool.tile(2, {4}, u32);
    nc.dma_load(state, hs);
    nc.random_bits(bits, state, {.base = 0, .partition_step = 4, .step = {1}});
    nc.dma_store(hr, bits);
  }
  run.run();
  const auto words = run.tensors[1].values<uint32_t>();
  CHECK(words[0] == 0x6627e8d5u);
  CHECK(words[1] == 0xe169c58du);
  CHECK(words[2] == 0xbc57ac4cu);
  CHECK(words[3] == 0x9b00dbd8u);
  CHECK(words[4] != words[0]);
}
