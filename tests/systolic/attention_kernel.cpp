// Attention of heads longer than a tile: sections, runs of rows, pairs under a causal mask, against a plain
// softmax.
#include <cmath>

#include "bench/kernel_bounds.h"
#include "tests/catch.h"
#include "tests/systolic/kernel_run.h"

using namespace heddle;
using namespace heddle::test;

namespace {

// A tensor as doubles: reading an element of a Tensor converts it each time.
struct Values {
  explicit Values(const Tensor& t) : value(static_cast<size_t>(t.elements())) {
    for (size_t i = 0; i < value.size(); ++i) value[i] = t.at(static_cast<int64_t>(i));
  }
  double at(int64_t i) const { return value[static_cast<size_t>(i)]; }
  std::vector<double> value;
};

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
  const Values qs(q), ks(k), vs(v);
  double worst = 0;
  for (int64_t h = 0; h < z.heads; ++h) {
    const int64_t g = h / (z.heads / z.kv_heads);
    for (int64_t i = 0; i < z.queries; i += 37) {  // every residue of the tiling comes up
      std::vector<double> p;
      double max = -INFINITY, sum = 0;
      for (int64_t j = 0; j < z.keys && (!causal || j <= i + z.keys - z.queries); ++j) {
        double s = 0;
        for (int64_t d = 0; d < z.depth; ++d)
          s += qs.at(at(z.heads, z.queries, h, i, d)) * ks.at(at(z.kv_heads, z.keys, g, j, d));
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
          o += p[j] / sum * vs.at(at(z.kv_heads, z.keys, g, static_cast<int64_t>(j), d));
        worst = std::max(worst, std::abs(out.at(at(z.heads, z.queries, h, i, d)) - o) / (1 + std::abs(o)));
      }
    }
  }
  return worst;
}

// The largest error of dq, dk and dv, relative to the largest gradient of their kind.
double largest_gradient_error(const Sizes& z, DType dtype, bool causal) {
  std::mt19937_64 random(11);
  KernelRun run;
  const Shape of_queries{1, z.heads, z.queries, z.depth}, of_keys{1, z.kv_heads, z.keys, z.depth};
  const Tensor q = random_tensor(random, dtype, of_queries, -2, 2),
               k = random_tensor(random, dtype, of_keys, -2, 2),
               v = random_tensor(random, dtype, of_keys, -2, 2),
               dout = random_tensor(random, dtype, of_queries, -1, 1);
  Tensor out(dtype, of_queries), lse(f32, {1, z.heads, z.queries});
  const auto query = [&](int64_t h, int64_t i, int64_t d) { return (h * z.queries + i) * z.depth + d; };
  const auto key = [&](int64_t h, int64_t j, int64_t d) {
    return (h / (z.heads / z.kv_heads) * z.keys + j) * z.depth + d;
  };
  const auto n = static_cast<size_t>(q.elements()), m = static_cast<size_t>(k.elements());
  const Values qs(q), ks(k), vs(v), gs(dout);
  std::vector<double> dq(n, 0), dk(m, 0), dv(m, 0);
  for (int64_t h = 0; h < z.heads; ++h)
    for (int64_t i = 0; i < z.queries; ++i) {
      const int64_t seen = causal ? std::min(z.keys, i + z.keys - z.queries + 1) : z.keys;
      std::vector<double> p, dp;
      double max = -INFINITY, sum = 0;
      for (int64_t j = 0; j < seen; ++j) {
        double s = 0, g = 0;
        for (int64_t d = 0; d < z.depth; ++d)
          s += qs.at(query(h, i, d)) * ks.at(key(h, j, d)), g += gs.at(query(h, i, d)) * vs.at(key(h, j, d));
        p.push_back(s / std::sqrt(static_cast<double>(z.depth))), dp.push_back(g);
        max = std::max(max, p.back());
      }
      for (double& x : p) sum += x = std::exp(x - max);
      lse.set(h * z.queries + i, p.empty() ? -INFINITY : max + std::log(sum));
      double delta = 0;
      for (int64_t d = 0; d < z.depth; ++d) {
        double o = 0;
        for (size_t j = 0; j < p.size(); ++j) o += p[j] / sum * vs.at(key(h, static_cast<int64_t>(j), d));
        out.set(query(h, i, d), o);
        delta += o * gs.at(query(h, i, d));
      }
      for (size_t j = 0; j < p.size(); ++j) {
        const double w = p[j] / sum, ds = w * (dp[j] - delta) / std::sqrt(static_cast<double>(z.depth));
        for (int64_t d = 0; d < z.depth; ++d) {
          const auto at_q = static_cast<size_t>(query(h, i, d)),
                     at_k = static_cast<size_t>(key(h, static_cast<int64_t>(j), d));
          dq[at_q] += ds * ks.at(key(h, static_cast<int64_t>(j), d)), dk[at_k] += ds * qs.at(query(h, i, d));
          dv[at_k] += w * gs.at(query(h, i, d));
        }
      }
    }
  std::vector<systolic::Operand> inputs, outputs;
  const auto operand = [&](const Tensor& t) {
    systolic::Operand o;
    o.dtype = t.dtype(), o.shape = t.shape(), o.present = true;
    o.hbm = run.value(t).reshape({t.elements()});
    return o;
  };
  for (const Tensor& t : {q, k, v}) inputs.push_back(operand(t));
  inputs.emplace_back();
  for (const Tensor& t : {out, lse, dout}) inputs.push_back(operand(t));
  for (const Shape& shape : {of_queries, of_keys, of_keys}) outputs.push_back(operand(Tensor(dtype, shape)));
  const Attributes attributes = ir::complete_attributes(
      *find_op("attention_grad"), {{"causal", causal}, {"layout", std::string("bhsd")}});
  systolic::find_lowering("attention_grad")
      ->emit({run.nc, "attention_grad", "attention_grad", attributes, inputs, outputs});
  run.run();
  double worst = 0;
  const std::vector<double>* references[] = {&dq, &dk, &dv};
  for (size_t g = 0; g < 3; ++g) {
    double largest = 0, error = 0;
    for (size_t i = 0; i < references[g]->size(); ++i) {
      largest = std::max(largest, std::abs((*references[g])[i]));
      error = std::max(error, std::abs(run.tensors[6 + g].at(static_cast<int64_t>(i)) - (*references[g])[i]));
    }
    worst = std::max(worst, error / largest);
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

TEST_CASE("the gradient of long attention") {
  CHECK(largest_gradient_error({2, 1, 1024, 640, 8}, bf16, false) < bf16_error);
  CHECK(largest_gradient_error({1, 1, 512, 1024, 16}, f32, false) < f32_error);
  CHECK(largest_gradient_error({1, 1, 768, 768, 16}, f32, true) < f32_error);  // pairs of rows
  CHECK(largest_gradient_error({2, 2, 300, 431, 8}, f32, true) < f32_error);   // tiles that end early
  CHECK(largest_gradient_error({1, 1, 700, 150, 8}, f32, true) < f32_error);   // queries that see nothing
  CHECK(largest_gradient_error({1, 1, 100, 700, 8}, f32, true) < f32_error);
}
