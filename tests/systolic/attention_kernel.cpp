// Attention of heads longer than a tile: sections, runs of rows, pairs under a causal mask, against a plain
// softmax.
#include <cmath>

#include "bench/kernel_bounds.h"
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

struct Sizes {
  int64_t heads, kv_heads, queries, keys, depth;
};

// out and lse of the kernel against double precision; returns the largest error, relative to 1 + |reference|.
double largest_error(const Sizes& z, DType dtype, bool causal, const std::string& layout) {
  std::mt19937_64 random(7);
  const bool bshd = layout == "bshd";
  const auto shape = [&](int64_t heads, int64_t rows) {
    return bshd ? Shape{1, rows, heads, z.depth} : Shape{1, heads, rows, z.depth};
  };
  KernelRun run;
  const Tensor q = random_tensor(random, dtype, shape(z.heads, z.queries), -2, 2),
               k = random_tensor(random, dtype, shape(z.kv_heads, z.keys), -2, 2),
               v = random_tensor(random, dtype, shape(z.kv_heads, z.keys), -2, 2);
  const Tensor results[] = {Tensor(dtype, shape(z.heads, z.queries)), Tensor(f32, {1, z.heads, z.queries})};
  std::vector<systolic::Operand> inputs, outputs;
  const auto operand = [&](const Tensor& t) {
    systolic::Operand o;
    o.dtype = t.dtype(), o.shape = t.shape(), o.present = true;
    o.hbm = run.value(t).reshape({t.elements()});
    return o;
  };
  for (const Tensor& t : {q, k, v}) inputs.push_back(operand(t));
  for (const Tensor& t : results) outputs.push_back(operand(t));
  const Attributes attributes =
      ir::complete_attributes(*find_op("attention"), {{"causal", causal}, {"layout", layout}});
  systolic::find_lowering("attention")->emit({run.nc, "attention", "attention", attributes, inputs, outputs});
  run.run();
  const Tensor &out = run.tensors[3], &lse = run.tensors[4];

  const auto at = [&](int64_t heads, int64_t rows, int64_t h, int64_t r, int64_t d) {
    return ((bshd ? r * heads + h : h * rows + r)) * z.depth + d;
  };
  double worst = 0;
  for (int64_t h = 0; h < z.heads; ++h) {
    const int64_t g = h / (z.heads / z.kv_heads);
    for (int64_t i = 0; i < z.queries; i += 37) {  // every residue of the tiling comes up
      std::vector<double> p;
      double max = -INFINITY, sum = 0;
      for (int64_t j = 0; j < z.keys && (!causal || j <= i + z.keys - z.queries); ++j) {
        double s = 0;
        for (int64_t d = 0; d < z.depth; ++d)
          s += q.at(at(z.heads, z.queries, h, i, d)) * k.at(at(z.kv_heads, z.keys, g, j, d));
        p.push_back(s / std::sqrt(static_cast<double>(z.depth)));
        max = std::max(max, p.back());
      }
      for (double& x : p) sum += x = std::exp(x - max);
      const double reference = p.empty() ? -INFINITY : max + std::log(sum);
      const double got = lse.at(h * z.queries + i);
      if (p.empty())
        CHECK(got == reference);
      else
        worst = std::max(worst, std::abs(got - reference) / (1 + std::abs(reference)));
      for (int64_t d = 0; d < z.depth; d += 5) {
        double o = 0;
        for (size_t j = 0; j < p.size(); ++j)
          o += p[j] / sum * v.at(at(z.kv_heads, z.keys, g, static_cast<int64_t>(j), d));
        worst = std::max(worst, std::abs(out.at(at(z.heads, z.queries, h, i, d)) - o) / (1 + std::abs(o)));
      }
    }
  }
  return worst;
}

}  // namespace

// Float32: products and sums of some thousand terms, 2^-24 each and far fewer than all in one direction.
// bfloat16 rounds each weight and the result to 2^-9.
constexpr double f32_error = 1e-5, bf16_error = 0x1p-7;

TEST_CASE("long attention equals a plain softmax") {
  // Rows in runs of eight (bfloat16) and four (float32); two heads share keys; sections joined by rescaling.
  CHECK(largest_error({2, 1, 1024, 2048, 16}, bf16, false, "bhsd") < bf16_error);
  CHECK(largest_error({1, 1, 512, 512, 32}, f32, false, "bhsd") < f32_error);
  CHECK(largest_error({1, 1, 128, 2304, 16}, f32, false, "bhsd") < f32_error);
  CHECK(largest_error({2, 2, 200, 4500, 8}, bf16, false, "bshd") < bf16_error);
}

TEST_CASE("long causal attention sees no hidden key") {
  CHECK(largest_error({2, 2, 512, 512, 16}, f32, true, "bhsd") < f32_error);   // pairs of rows
  CHECK(largest_error({2, 1, 256, 2304, 16}, f32, true, "bshd") < f32_error);  // pairs, in two sections
  CHECK(largest_error({1, 1, 300, 300, 16}, f32, true, "bhsd") < f32_error);   // tiles that end early
  CHECK(largest_error({1, 1, 300, 431, 16}, f32, true, "bhsd") < f32_error);   // an edge across two blocks
  CHECK(largest_error({1, 1, 400, 150, 16}, f32, true, "bhsd") < f32_error);   // queries that see nothing
  CHECK(largest_error({1, 1, 1280, 1280, 16}, bf16, true, "bhsd") < bf16_error);
}
