#include "kernels/attention_oracle.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference_math.h"
#include "kernels/type_rules.h"

namespace heddle::kernels {
namespace {

// The sizes and layout of one call.
struct Heads {
  bool bshd, causal;
  int64_t batch, heads, key_heads, queries, keys, size, value_size;
  double scale;

  Heads(const Attributes& attributes, const Shape& q, const Shape& k, const Shape& v)
      : bshd(attributes.get<std::string>("layout") == "bshd"),
        causal(attributes.get<bool>("causal")),
        batch(q[0]),
        heads(q[bshd ? 2 : 1]),
        key_heads(k[bshd ? 2 : 1]),
        queries(q[bshd ? 1 : 2]),
        keys(k[bshd ? 1 : 2]),
        size(q[3]),
        value_size(v[3]),
        scale(attributes.get<double>("scale")) {
    if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(size));
  }

  int64_t key_head(int64_t h) const { return h / (heads / key_heads); }
  // Offset of the vector at position i of head h, in an operand with `count` heads, `positions` and vectors
  // of `width`.
  size_t at(int64_t b, int64_t h, int64_t i, int64_t count, int64_t positions, int64_t width) const {
    const int64_t row = bshd ? (b * positions + i) * count + h : (b * count + h) * positions + i;
    return static_cast<size_t>(row * width);
  }
  size_t query_at(int64_t b, int64_t h, int64_t i) const { return at(b, h, i, heads, queries, size); }
  size_t out_at(int64_t b, int64_t h, int64_t i) const { return at(b, h, i, heads, queries, value_size); }
  size_t key_at(int64_t b, int64_t h, int64_t j) const {
    return at(b, key_head(h), j, key_heads, keys, size);
  }
  size_t value_at(int64_t b, int64_t h, int64_t j) const {
    return at(b, key_head(h), j, key_heads, keys, value_size);
  }
  size_t lse_at(int64_t b, int64_t h, int64_t i) const {
    return static_cast<size_t>((b * heads + h) * queries + i);
  }

  template <class F>
  void over_queries(const F& f) const {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < queries; ++i) f(b, h, i);
  }
  double depth() const { return static_cast<double>(std::max({size, value_size, keys})); }
  double grad_depth() const {
    return std::max(depth(), static_cast<double>(
                                 queries * std::max<int64_t>(1, heads / std::max<int64_t>(1, key_heads))));
  }
};

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
double absolute_dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::fabs(a[i] * b[i]);
  return sum;
}

struct Operands : Heads {
  std::vector<double> q, k, v, mask;
  bool mask_hides;  // bool mask
  std::array<int64_t, 4> mask_stride{};

  explicit Operands(const ReferenceCall& call)
      : Heads(call.attributes, call.inputs[0].shape(), call.inputs[1].shape(), call.inputs[2].shape()),
        q(reference::reals(call.inputs[0])),
        k(reference::reals(call.inputs[1])),
        v(reference::reals(call.inputs[2])),
        mask(has_mask(call) ? reference::reals(call.inputs[3]) : std::vector<double>()),
        mask_hides(has_mask(call) && call.inputs[3].dtype() == DType::boolean) {
    if (!has_mask(call)) return;
    const Tensor full = call.inputs[3].contiguous().broadcast({batch, heads, queries, keys});
    std::copy(full.strides().begin(), full.strides().end(), mask_stride.begin());
  }

  static bool has_mask(const ReferenceCall& call) {
    return call.inputs.size() > 3 && call.inputs[3].defined();
  }

  // Scores of query i against every key, minus infinity where hidden. `reach` is what their rounding is
  // relative to.
  void scores(int64_t b, int64_t h, int64_t i, std::vector<double>& score, std::vector<double>& reach) const {
    score.assign(static_cast<size_t>(keys), -INFINITY);
    reach.assign(static_cast<size_t>(keys), 0);
    for (int64_t j = 0; j < keys; ++j) {
      if (causal && j > i + keys - queries) continue;
      double added = 0;
      if (!mask.empty()) {
        added = mask[static_cast<size_t>(b * mask_stride[0] + h * mask_stride[1] + i * mask_stride[2] +
                                         j * mask_stride[3])];
        if (mask_hides && added == 0) continue;
        if (mask_hides) added = 0;
      }
      const double *query = &q[query_at(b, h, i)], *key = &k[key_at(b, h, j)];
      const auto at = static_cast<size_t>(j);
      score[at] = dot(query, key, size) * scale + added;
      reach[at] =
          absolute_dot(query, key, size) * std::fabs(scale) + (std::isinf(added) ? 0 : std::fabs(added));
    }
  }
};

// Devices may round the weights (and their gradients) of 16-bit attention to the 16-bit dtype before the
// second product, as flash attention does: an error of u_out per term. This is that error as a part of a
// magnitude, which is multiplied by c * u_acc * sqrt(depth).
double narrow_weights(DType dtype, double c, double depth) {
  if (size_of(dtype) > 2) return 0;
  return unit_roundoff(dtype) / (c * unit_roundoff(DType::float32) * std::sqrt(depth));
}

void attend(const ReferenceCall& call, bool magnitude) {
  const Operands o(call);
  const double narrow = narrow_weights(call.inputs[0].dtype(), attention_c, o.depth());
  std::vector<double> out(static_cast<size_t>(call.outputs[0].elements()));
  std::vector<double> lse(static_cast<size_t>(call.outputs[1].elements())), weight, reach;
  o.over_queries([&](int64_t b, int64_t h, int64_t i) {
    o.scores(b, h, i, weight, reach);
    double top = -INFINITY, total = 0, error = 0;
    for (double s : weight) top = std::fmax(top, s);
    const bool sees_nothing =
        std::all_of(weight.begin(), weight.end(), [](double s) { return s == -INFINITY; });
    for (size_t j = 0; j < weight.size(); ++j) {
      const double s = weight[j];
      weight[j] = s == -INFINITY ? 0 : std::exp(s - top);
      total += weight[j];
      // Rounding of the score and of its distance from the maximum: relative once exp is taken.
      reach[j] = s == -INFINITY ? 0 : reach[j] + top - s;
    }
    const size_t row = o.lse_at(b, h, i);
    double* const result = &out[o.out_at(b, h, i)];
    if (sees_nothing) {
      lse[row] = magnitude ? 0 : -INFINITY;
      return;  // out stays 0
    }
    for (size_t j = 0; j < weight.size(); ++j) {
      weight[j] /= total;
      error += weight[j] * reach[j];
    }
    lse[row] = magnitude ? 1 + error + std::fabs(top) + std::log(total) : top + std::log(total);
    for (int64_t j = 0; j < o.keys; ++j) {
      const auto at = static_cast<size_t>(j);
      for (int64_t d = 0; d < o.value_size; ++d) {
        const double value = o.v[o.value_at(b, h, j) + static_cast<size_t>(d)];
        // The error of the sum divides every weight: `error` times |out| <= sum p |v|.
        result[d] +=
            magnitude ? weight[at] * std::fabs(value) * (1 + reach[at] + error + narrow) : weight[at] * value;
      }
    }
  });
  reference::store(call.outputs[0], out);
  reference::store(call.outputs[1], lse);
}

// With p = exp(score - lse) and delta = sum(dout * out): dv = p' @ dout, ds = p * (dout @ v' - delta),
// dq = scale * ds @ k, dk = scale * ds' @ q.
void grade(const ReferenceCall& call, bool magnitude) {
  const Operands o(call);
  const std::vector<double> out = reference::reals(call.inputs[4]), lse = reference::reals(call.inputs[5]),
                            dout = reference::reals(call.inputs[6]);
  const double narrow = narrow_weights(call.inputs[0].dtype(), attention_grad_c, o.grad_depth());
  std::vector<double> dq(o.q.size()), dk(o.k.size()), dv(o.v.size()), score, reach;
  o.over_queries([&](int64_t b, int64_t h, int64_t i) {
    const double log_total = lse[o.lse_at(b, h, i)];
    if (log_total == -INFINITY) return;
    o.scores(b, h, i, score, reach);
    const size_t query = o.query_at(b, h, i);
    const double *grad = &dout[o.out_at(b, h, i)], *result = &out[o.out_at(b, h, i)];
    const double delta =
        magnitude ? absolute_dot(grad, result, o.value_size) : dot(grad, result, o.value_size);
    for (int64_t j = 0; j < o.keys; ++j) {
      const auto at = static_cast<size_t>(j);
      if (score[at] == -INFINITY) continue;
      const size_t key = o.key_at(b, h, j), value = o.value_at(b, h, j);
      double p = std::exp(score[at] - log_total), ds = 0;
      if (magnitude) {
        p *= 1 + reach[at] + std::fabs(score[at] - log_total) + narrow;
        ds = p * (absolute_dot(grad, &o.v[value], o.value_size) + delta) * std::fabs(o.scale);
      } else {
        ds = p * (dot(grad, &o.v[value], o.value_size) - delta) * o.scale;
      }
      const auto term = [&](double x) { return magnitude ? std::fabs(x) : x; };
      for (int64_t d = 0; d < o.size; ++d) {
        const auto e = static_cast<size_t>(d);
        dq[query + e] += ds * term(o.k[key + e]);
        dk[key + e] += ds * term(o.q[query + e]);
      }
      for (int64_t d = 0; d < o.value_size; ++d) dv[value + static_cast<size_t>(d)] += p * term(grad[d]);
    }
  });
  reference::store(call.outputs[0], dq);
  reference::store(call.outputs[1], dk);
  reference::store(call.outputs[2], dv);
}

Heads heads_of(const CostCall& call) {
  return Heads(call.attributes, call.inputs[0]->dims.shape(), call.inputs[1]->dims.shape(),
               call.inputs[2]->dims.shape());
}

}  // namespace

double attention_depth(const CostCall& call) { return heads_of(call).depth(); }
void reference_attention(const ReferenceCall& call) { attend(call, false); }
void magnitude_attention(const ReferenceCall& call) { attend(call, true); }

double attention_grad_depth(const CostCall& call) { return heads_of(call).grad_depth(); }
void reference_attention_grad(const ReferenceCall& call) { grade(call, false); }
void magnitude_attention_grad(const ReferenceCall& call) { grade(call, true); }

}  // namespace heddle::kernels
