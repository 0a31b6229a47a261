// Attention, forward and backward, against plain loops in double with element-wise bounds.
#include "cpu/kernels/attention.h"

#include <limits>

#include "tests/cpu/kernel_check.h"
#include "tests/expect_error.h"

using namespace heddle;
using namespace heddle::cpu;
using namespace heddle::test;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
using Doubles = std::vector<double>;

Shape head_shape(const Attention& a, int64_t heads, int64_t rows, int64_t depth) {
  return a.layout == Attention::Layout::bhsd ? Shape{a.batch, heads, rows, depth}
                                             : Shape{a.batch, rows, heads, depth};
}

struct Problem {
  Attention a;
  Tensor q, k, v, mask, dout;
  std::string text() const {
    return std::string(dtype_name(a.dtype)) + (a.layout == Attention::Layout::bhsd ? " bhsd" : " bshd") +
           (a.causal ? " causal" : "") + " B" + std::to_string(a.batch) + " H" + std::to_string(a.heads) +
           "/" + std::to_string(a.kv_heads) + " S" + std::to_string(a.queries) + " T" +
           std::to_string(a.keys) + " D" + std::to_string(a.depth) + " Dv" + std::to_string(a.value_depth) +
           (mask.defined() ? " mask " + std::string(dtype_name(mask.dtype())) + to_string(mask.shape()) : "");
  }
};

Problem make(std::mt19937_64& random, Attention a, const Shape* mask = nullptr) {
  Problem p;
  p.q = random_tensor(random, a.dtype, head_shape(a, a.heads, a.queries, a.depth), 2);
  p.k = random_tensor(random, a.dtype, head_shape(a, a.kv_heads, a.keys, a.depth), 2);
  p.v = random_tensor(random, a.dtype, head_shape(a, a.kv_heads, a.keys, a.value_depth));
  p.dout = random_tensor(random, a.dtype, head_shape(a, a.heads, a.queries, a.value_depth));
  if (a.mask != Attention::Mask::none) {
    p.mask = random_tensor(random, a.mask == Attention::Mask::boolean ? DType::boolean : a.dtype, *mask);
    if (a.mask == Attention::Mask::boolean) {
      // Mostly runs, so that whole blocks are visible or hidden too.
      const int64_t run = draw(random, 1, 200);
      for (int64_t i = 0; i < p.mask.elements(); ++i)
        p.mask.set(i, i % run == 0 ? static_cast<double>(draw(random, 0, 1)) : p.mask.at(i - 1));
    } else {
      for (int64_t i = 0; i < p.mask.elements(); ++i)
        if (draw(random, 0, 7) == 0) p.mask.set(i, -inf);
    }
    a.mask_strides = attention_mask_strides(a, p.mask.shape());
  }
  p.a = a;
  return p;
}

struct Result {
  Doubles out, lse, dq, dk, dv;
  Doubles out_bound, lse_bound, dq_bound, dk_bound, dv_bound;
};

// Everything in double, and beside it what the kernel may err by: each quantity's bound follows from those of
// what it is made of. A sum of K products errs by u * c * sqrt(K) * sum|a||b|.
Result reference(const Problem& p) {
  const Attention& a = p.a;
  const Doubles q = to_doubles(p.q), k = to_doubles(p.k), v = to_doubles(p.v), dout = to_doubles(p.dout);
  const Doubles mask = p.mask.defined() ? to_doubles(p.mask) : Doubles{};
  const double u = a.dtype == DType::float64 ? unit_roundoff(DType::float64) : unit_roundoff(DType::float32);
  const double u_out = unit_roundoff(a.dtype);
  const double c = 4, scale = a.scale == 0 ? 1 / std::sqrt(static_cast<double>(a.depth)) : a.scale;
  const auto at = [&](int64_t heads, int64_t rows, int64_t depth, int64_t b, int64_t h, int64_t r) {
    return static_cast<size_t>(
        (a.layout == Attention::Layout::bhsd ? (b * heads + h) * rows + r : (b * rows + r) * heads + h) *
        depth);
  };
  Result y;
  const size_t n_out = dout.size(), n_lse = static_cast<size_t>(a.batch * a.heads * a.queries);
  for (Doubles* d : {&y.out, &y.out_bound}) d->assign(n_out, 0);
  for (Doubles* d : {&y.lse, &y.lse_bound}) d->assign(n_lse, 0);
  for (Doubles* d : {&y.dq, &y.dq_bound}) d->assign(q.size(), 0);
  for (Doubles* d : {&y.dk, &y.dk_bound}) d->assign(k.size(), 0);
  for (Doubles* d : {&y.dv, &y.dv_bound}) d->assign(v.size(), 0);
  const auto T = static_cast<size_t>(a.keys), D = static_cast<size_t>(a.depth),
             Dv = static_cast<size_t>(a.value_depth);
  Doubles s(T), e(T), prob(T);
  for (int64_t b = 0; b < a.batch; ++b)
    for (int64_t h = 0; h < a.heads; ++h)
      for (int64_t i = 0; i < a.queries; ++i) {
        const int64_t hk = h / (a.heads / a.kv_heads);
        const size_t qi = at(a.heads, a.queries, a.depth, b, h, i),
                     oi = at(a.heads, a.queries, a.value_depth, b, h, i);
        double top = -inf, worst = 0;
        for (size_t j = 0; j < T; ++j) {
          const auto jj = static_cast<int64_t>(j);
          const size_t kj = at(a.kv_heads, a.keys, a.depth, b, hk, jj);
          double sum = 0, size = 0;
          for (size_t d = 0; d < D; ++d) {
            sum += q[qi + d] * k[kj + d];
            size += std::abs(q[qi + d] * k[kj + d]);
          }
          s[j] = sum * scale;
          if (!mask.empty()) {
            const auto& m = a.mask_strides;
            const double value = mask[static_cast<size_t>(b * m[0] + h * m[1] + i * m[2] + jj * m[3])];
            if (a.mask == Attention::Mask::boolean) {
              if (value == 0) s[j] = -inf;
            } else {
              s[j] += value;
            }
          }
          if (a.causal && jj > i + a.keys - a.queries) s[j] = -inf;
          // The dot product, then a few roundings of the score itself (scale, mask, distance to the maximum).
          e[j] = c * u *
                 (std::sqrt(static_cast<double>(D) + 1) * size * scale + (s[j] == -inf ? 0 : std::abs(s[j])) +
                  1);
          if (s[j] != -inf) worst = std::max(worst, e[j]);
          if (s[j] > top) top = s[j];
        }
        const auto row = static_cast<size_t>((b * a.heads + h) * a.queries + i);
        double sum = 0;
        for (size_t j = 0; j < T; ++j) sum += prob[j] = top == -inf ? 0 : std::exp(s[j] - top);
        y.lse[row] = top == -inf ? -inf : top + std::log(sum);
        if (top == -inf) continue;
        const double root = std::sqrt(static_cast<double>(T));
        y.lse_bound[row] = worst + c * u * (std::abs(y.lse[row]) + root);
        // P recomputed from lse.
        Doubles relative(T);
        for (size_t j = 0; j < T; ++j) {
          prob[j] /= sum;
          relative[j] = e[j] + y.lse_bound[row] + u * std::abs(y.lse[row]) + c * u;
        }
        double delta = 0, delta_bound = 0;
        for (size_t d = 0; d < Dv; ++d) {
          double out = 0, bound = 0;
          for (size_t j = 0; j < T; ++j) {
            if (prob[j] == 0) continue;
            const double pv =
                prob[j] * v[at(a.kv_heads, a.keys, a.value_depth, b, hk, static_cast<int64_t>(j)) + d];
            out += pv;
            bound += std::abs(pv) * (2 * worst + c * u * (root + 2));
          }
          y.out[oi + d] = out;
          y.out_bound[oi + d] = bound;
          delta += dout[oi + d] * out;
          delta_bound += std::abs(dout[oi + d]) *
                         (bound + (u_out + c * u * std::sqrt(static_cast<double>(Dv))) * std::abs(out));
        }
        for (size_t j = 0; j < T; ++j) {
          if (prob[j] == 0) continue;
          const auto jj = static_cast<int64_t>(j);
          const size_t kj = at(a.kv_heads, a.keys, a.depth, b, hk, jj),
                       vj = at(a.kv_heads, a.keys, a.value_depth, b, hk, jj);
          double dp = 0, dp_size = 0;
          for (size_t d = 0; d < Dv; ++d) {
            dp += dout[oi + d] * v[vj + d];
            dp_size += std::abs(dout[oi + d] * v[vj + d]);
            y.dv[vj + d] += prob[j] * dout[oi + d];
            y.dv_bound[vj + d] +=
                prob[j] * std::abs(dout[oi + d]) *
                (relative[j] + c * u * std::sqrt(static_cast<double>(a.queries * a.heads / a.kv_heads)));
          }
          const double ds = prob[j] * (dp - delta);
          const double ds_bound =
              prob[j] * (c * u * std::sqrt(static_cast<double>(Dv) + 1) * (dp_size + std::abs(delta)) +
                         delta_bound) +
              std::abs(ds) * relative[j];
          for (size_t d = 0; d < D; ++d) {
            y.dq[qi + d] += scale * ds * k[kj + d];
            y.dq_bound[qi + d] += scale * std::abs(k[kj + d]) * (ds_bound + c * u * root * std::abs(ds));
            y.dk[kj + d] += scale * ds * q[qi + d];
            y.dk_bound[kj + d] +=
                scale * std::abs(q[qi + d]) *
                (ds_bound +
                 c * u * std::sqrt(static_cast<double>(a.queries * a.heads / a.kv_heads)) * std::abs(ds));
          }
        }
      }
  return y;
}

struct Scratch {
  explicit Scratch(size_t bytes) : tensor(DType::uint8, {static_cast<int64_t>(bytes)}) {
    std::memset(tensor.data(), 0xFF, bytes);  // NaN, should anything read what it did not write
  }
  void* data() { return tensor.data(); }
  Tensor tensor;
};

const void* bytes_of(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

struct Got {
  Tensor out, lse, dq, dk, dv;
};

Got run(const Problem& p, int threads, bool gradient) {
  const Attention& a = p.a;
  const DType state = a.dtype == DType::float64 ? DType::float64 : DType::float32;
  Got g{Tensor(a.dtype, p.dout.shape()), Tensor(state, {a.batch, a.heads, a.queries}),
        Tensor(a.dtype, p.q.shape()), Tensor(a.dtype, p.k.shape()), Tensor(a.dtype, p.v.shape())};
  Scratch scratch(attention_scratch_bytes(a, {threads}));
  attention(a, {threads}, p.q.data(), p.k.data(), p.v.data(), bytes_of(p.mask), g.out.data(), g.lse.data(),
            scratch.data());
  if (gradient) {
    Scratch more(attention_grad_scratch_bytes(a, {threads}));
    attention_grad(a, {threads},
                   {p.q.data(), p.k.data(), p.v.data(), bytes_of(p.mask), g.out.data(), g.lse.data(),
                    p.dout.data(), g.dq.data(), g.dk.data(), g.dv.data()},
                   more.data());
  }
  return g;
}

void check(const Problem& p, int threads) {
  INFO(p.text() << ", threads " << threads);
  check_attention(p.a);
  const Result ref = reference(p);
  const Got got = run(p, threads, true);
  check_close("out", got.out, ref.out, ref.out_bound);
  check_close("lse", got.lse, ref.lse, ref.lse_bound);
  check_close("dq", got.dq, ref.dq, ref.dq_bound);
  check_close("dk", got.dk, ref.dk, ref.dk_bound);
  check_close("dv", got.dv, ref.dv, ref.dv_bound);
  const Got again = run(p, threads, true);
  CHECK(same_bits(got.out, again.out));
  CHECK(same_bits(got.lse, again.lse));
  CHECK(same_bits(got.dq, again.dq));
  CHECK(same_bits(got.dk, again.dk));
  CHECK(same_bits(got.dv, again.dv));
}

Attention sizes(DType dtype, int64_t b, int64_t h, int64_t hk, int64_t s, int64_t t, int64_t d, int64_t dv) {
  Attention a;
  a.dtype = dtype;
  a.batch = b, a.heads = h, a.kv_heads = hk, a.queries = s, a.keys = t, a.depth = d, a.value_depth = dv;
  return a;
}

constexpr DType float_dtypes[] = {DType::float32, DType::bfloat16, DType::float16, DType::float64};

}  // namespace

TEST_CASE("attention over odd sizes, layouts, dtypes and thread counts", "[cpu][attention]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const int64_t shapes[][7] = {
      {1, 1, 1, 1, 1, 1, 1},       {2, 3, 3, 16, 16, 16, 16},  {1, 2, 1, 7, 13, 5, 3},
      {1, 4, 2, 31, 33, 32, 17},   {2, 2, 2, 127, 129, 8, 24}, {1, 1, 1, 128, 128, 64, 64},
      {1, 2, 2, 129, 127, 33, 16}, {1, 6, 2, 1, 300, 16, 8},   {1, 2, 1, 3, 1, 64, 65},
      {1, 2, 2, 48, 48, 31, 31},   {1, 1, 1, 5, 0, 8, 8},      {1, 2, 2, 0, 5, 8, 8},
      {0, 2, 2, 4, 4, 8, 8},       {1, 1, 1, 270, 140, 4, 4},
  };
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const auto& n : shapes)
      for (const DType dtype : float_dtypes)
        for (const bool causal : {false, true}) {
          Attention a = sizes(dtype, n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
          a.causal = causal;
          a.layout = draw(random, 0, 1) == 0 ? Attention::Layout::bhsd : Attention::Layout::bshd;
          if (draw(random, 0, 2) == 0) a.scale = 0.3;
          check(make(random, a), static_cast<int>(draw(random, 1, 4)));
        }
  });
}

TEST_CASE("attention masks of both kinds broadcast by strides", "[cpu][attention]") {
  const uint64_t seed = property_seed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (int round = 0; round < 60; ++round) {
      const int64_t kv = draw(random, 1, 2);
      Attention a =
          sizes(float_dtypes[draw(random, 0, 3)], draw(random, 1, 2), kv * draw(random, 1, 3), kv,
                draw(random, 1, 150), draw(random, 1, 280), draw(random, 1, 20), draw(random, 1, 20));
      if (draw(random, 0, 2) == 0) a.queries = draw(random, 1, 8);
      a.causal = draw(random, 0, 1) == 0;
      a.mask = draw(random, 0, 1) == 0 ? Attention::Mask::boolean : Attention::Mask::added;
      a.layout = draw(random, 0, 1) == 0 ? Attention::Layout::bhsd : Attention::Layout::bshd;
      Shape mask;
      const int64_t full[] = {a.batch, a.heads, a.queries, a.keys};
      for (int64_t axis = 4 - draw(random, 0, 4); axis < 4; ++axis)
        mask.push_back(draw(random, 0, 2) == 0 ? 1 : full[axis]);
      check(make(random, a, &mask), static_cast<int>(draw(random, 1, 3)));
    }
  });
}

TEST_CASE("attention rows that see nothing give out 0, lse -inf and no gradient", "[cpu][attention]") {
  std::mt19937_64 random(1);
  for (const DType dtype : float_dtypes) {
    Attention a = sizes(dtype, 1, 1, 1, 20, 6, 8, 8);
    a.causal = true;  // rows 0..13 see no key
    const Problem p = make(random, a);
    const Got got = run(p, 2, true);
    for (int64_t i = 0; i < 14; ++i) {
      CHECK(got.lse.at(i) == -inf);
      for (int64_t c = 0; c < 8; ++c) {
        CHECK(got.out.at(i * 8 + c) == 0);
        CHECK(got.dq.at(i * 8 + c) == 0);
      }
    }
    CHECK(std::isfinite(got.lse.at(14)));
  }
}

TEST_CASE("a NaN in one query or key reaches exactly the rows that see it", "[cpu][attention]") {
  std::mt19937_64 random(1);
  each_instruction_set([&](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : float_dtypes) {
      Attention a = sizes(dtype, 1, 1, 1, 20, 20, 8, 8);
      a.causal = true;
      Problem p = make(random, a);
      p.k.set(10 * 8 + 3, std::nan(""));
      const Got got = run(p, 1, false);
      for (int64_t i = 0; i < 20; ++i) CHECK(std::isnan(got.lse.at(i)) == (i >= 10));
      for (int64_t i = 0; i < 20; ++i) CHECK(std::isnan(got.out.at(i * 8)) == (i >= 10));
    }
  });
}

TEST_CASE("attention scores far apart and huge neither overflow nor lose the largest", "[cpu][attention]") {
  std::mt19937_64 random(3);
  Attention a = sizes(DType::float32, 1, 1, 1, 9, 300, 4, 4);
  a.scale = 1;
  Problem p = make(random, a);
  for (int64_t i = 0; i < p.q.elements(); ++i) p.q.set(i, 1000 * p.q.at(i));
  const Result ref = reference(p);
  const Got got = run(p, 1, false);
  check_close("out", got.out, ref.out, ref.out_bound);
  check_close("lse", got.lse, ref.lse, ref.lse_bound);
}

TEST_CASE("attention refuses shapes and dtypes that make no sense", "[cpu][attention]") {
  expect_error(ErrorCode::unsupported, "int8",
               [] { check_attention(sizes(DType::int8, 1, 1, 1, 1, 1, 1, 1)); });
  expect_error(ErrorCode::shape_mismatch, "3 heads",
               [] { check_attention(sizes(f32, 1, 3, 2, 1, 1, 1, 1)); });
  expect_error(ErrorCode::shape_mismatch, "negative",
               [] { check_attention(sizes(f32, 1, 2, 2, -1, 1, 1, 1)); });
  const Attention a = sizes(f32, 2, 3, 3, 4, 5, 1, 1);
  CHECK(attention_mask_strides(a, Shape{2, 1, 1, 5}) == std::array<int64_t, 4>{5, 0, 0, 1});
  CHECK(attention_mask_strides(a, Shape{4, 5}) == std::array<int64_t, 4>{0, 0, 5, 1});
  CHECK(attention_mask_strides(a, Shape{}) == std::array<int64_t, 4>{});
  expect_error(ErrorCode::shape_mismatch, "[4,4]", [&] { attention_mask_strides(a, Shape{4, 4}); });
}
