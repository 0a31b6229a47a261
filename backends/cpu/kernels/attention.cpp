#include "cpu/kernels/attention.h"

#include <cmath>
#include <limits>
#include <string>

#include "cpu/kernels/attention_plan.h"
#include "heddle/error.h"

namespace heddle::cpu {
namespace {

// Work worth a second thread, and worth one turn at the task counter.
constexpr double flops_per_thread = 1e6, flops_per_claim = 2e5;

double score_flops(const Attention& a) {
  const double visible = a.causal && a.queries <= a.keys
                             ? static_cast<double>(a.keys) - 0.5 * static_cast<double>(a.queries)
                             : static_cast<double>(a.keys);
  return 2.0 * static_cast<double>(a.batch * a.heads * a.queries) * visible *
         static_cast<double>(a.depth + a.value_depth);
}

Threads useful_threads(Threads threads, double flops) {
  return {static_cast<int>(std::clamp<double>(flops / flops_per_thread, 1, threads.count))};
}

int64_t claim_size(double flops, int64_t tasks, Threads threads) {
  if (tasks == 0) return 1;
  const double per_task = flops / static_cast<double>(tasks);
  const int64_t wanted = static_cast<int64_t>(flops_per_claim / std::max(per_task, 1.0)) + 1;
  return std::clamp<int64_t>(tasks / (4 * threads.count), 1, wanted);
}

// Places consecutive arrays of floats, each at a cache line.
struct Places {
  int64_t at = 0;
  int64_t next(int64_t floats) {
    const int64_t here = at;
    at += round_up(floats, 16);
    return here;
  }
};

ForwardPlan plan_forward(const Attention& a, Threads threads) {
  ForwardPlan p{};
  p.a = a;
  p.q = head_strides(a.layout, a.heads, a.queries, a.depth);
  p.k = head_strides(a.layout, a.kv_heads, a.keys, a.depth);
  p.v = head_strides(a.layout, a.kv_heads, a.keys, a.value_depth);
  p.out = head_strides(a.layout, a.heads, a.queries, a.value_depth);
  p.group = a.kv_heads == 0 ? 1 : a.heads / a.kv_heads;
  p.merged = p.group > 1 && a.queries < widest_panel;
  p.rows = p.merged ? p.group * a.queries : a.queries;
  p.row_sets = a.batch * (p.merged ? a.kv_heads : a.heads);
  p.block_rows = std::clamp<int64_t>(p.rows, 1, block_rows_max);
  p.blocks = (p.rows + p.block_rows - 1) / p.block_rows;
  p.block_keys = std::clamp<int64_t>(a.keys, 1, block_keys_max);
  p.tasks = p.row_sets * p.blocks;
  p.splits = 1;
  const int64_t key_blocks = (a.keys + p.block_keys - 1) / p.block_keys;
  if (p.tasks > 0 && p.tasks < threads.count && key_blocks > 1)
    p.splits = std::min((2 * threads.count + p.tasks - 1) / p.tasks, key_blocks);
  p.tasks *= p.splits;
  p.tasks_per_claim = claim_size(score_flops(a), p.tasks, threads);

  const int64_t padded = round_up(p.block_rows, widest_panel);
  const bool widen = a.dtype != DType::float32;
  Places place;
  p.packed_q = place.next(padded * a.depth);
  p.sums = place.next(padded * a.value_depth);
  p.scores = place.next(p.block_keys * widest_panel);
  p.state = place.next(4 * padded);
  p.wide_k = place.next(widen ? p.block_keys * a.depth : 0);
  p.wide_v = place.next(widen ? p.block_keys * a.value_depth : 0);
  p.thread_floats = place.at + 16;
  p.partial_floats = p.splits == 1 ? 0 : round_up(padded * (a.value_depth + 2), 16);
  return p;
}

BackwardPlan plan_backward(const Attention& a, Threads threads) {
  BackwardPlan p{};
  p.a = a;
  p.q = head_strides(a.layout, a.heads, a.queries, a.depth);
  p.k = head_strides(a.layout, a.kv_heads, a.keys, a.depth);
  p.v = head_strides(a.layout, a.kv_heads, a.keys, a.value_depth);
  p.out = head_strides(a.layout, a.heads, a.queries, a.value_depth);
  p.group = a.kv_heads == 0 ? 1 : a.heads / a.kv_heads;
  p.block_keys = std::clamp<int64_t>(a.keys, 1, 64);
  p.key_blocks = (a.keys + p.block_keys - 1) / p.block_keys;
  p.block_rows = std::clamp<int64_t>(a.queries, 1, 64);
  const int64_t sets = a.batch * a.kv_heads;
  p.parts = 1;
  if (threads.count > 1 && sets > 0 && sets < 4 * threads.count && p.key_blocks > 1)
    p.parts = std::min((4 * threads.count + sets - 1) / sets, p.key_blocks);
  p.tasks = sets * p.parts;
  p.tasks_per_claim = claim_size(2.5 * score_flops(a), p.tasks, threads);
  const bool plain = a.dtype == DType::float32 && a.depth % 16 == 0;
  p.direct_k = plain;
  p.direct_dq = plain && p.parts == 1;
  p.depth_padded = round_up(a.depth, 16);

  const bool widen = a.dtype != DType::float32;
  const int64_t keys_padded = round_up(p.block_keys, 16), dq = p.group * a.queries * p.depth_padded;
  Places place;
  p.packed_k = place.next(keys_padded * a.depth);
  p.packed_v = place.next(keys_padded * a.value_depth);
  p.wide_k = place.next(p.direct_k ? 0 : p.block_keys * p.depth_padded);
  p.sum_dk = place.next(keys_padded * a.depth);
  p.sum_dv = place.next(keys_padded * a.value_depth);
  p.scores = place.next(p.block_rows * keys_padded);
  p.gradients = place.next(p.block_rows * keys_padded);
  p.row_state = place.next(2 * p.group * a.queries);
  p.wide_q = place.next(widen ? p.block_rows * a.depth : 0);
  p.wide_dout = place.next(widen ? p.block_rows * a.value_depth : 0);
  p.sum_dq = place.next(p.parts > 1 || p.direct_dq ? 0 : dq);
  p.thread_floats = place.at + 16;
  p.part_floats = p.parts == 1 ? 0 : round_up(dq, 16);
  return p;
}

// The plain double path, forward and backward: one row of scores at a time.
struct Plain {
  const Attention& a;
  HeadStrides q, k, v, out;
  double scale;

  explicit Plain(const Attention& attention)
      : a(attention),
        q(head_strides(a.layout, a.heads, a.queries, a.depth)),
        k(head_strides(a.layout, a.kv_heads, a.keys, a.depth)),
        v(head_strides(a.layout, a.kv_heads, a.keys, a.value_depth)),
        out(head_strides(a.layout, a.heads, a.queries, a.value_depth)),
        scale(a.scale == 0 ? 1.0 / std::sqrt(static_cast<double>(a.depth)) : a.scale) {}

  int64_t kv_head(int64_t head) const { return head / (a.heads / a.kv_heads); }

  // The score of query i and key j; -inf where masked.
  double score(const double* qi, const double* kj, const void* mask, int64_t batch, int64_t head, int64_t i,
               int64_t j) const {
    double s = 0;
    for (int64_t c = 0; c < a.depth; ++c) s += qi[c] * kj[c];
    s *= scale;
    const auto& m = a.mask_strides;
    const int64_t at = batch * m[0] + head * m[1] + i * m[2] + j * m[3];
    if (a.mask == Attention::Mask::added) s += static_cast<const double*>(mask)[at];
    if (a.mask == Attention::Mask::boolean && static_cast<const uint8_t*>(mask)[at] == 0)
      s = -std::numeric_limits<double>::infinity();
    return s;
  }

  void forward_row(const double* qi, const double* kh, const double* vh, const void* mask, int64_t batch,
                   int64_t head, int64_t i, double* scores, double* to, double* lse) const {
    const double none = -std::numeric_limits<double>::infinity();
    const int64_t n = causal_limit(a, i);
    double top = none, sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      scores[j] = score(qi, kh + j * k.row, mask, batch, head, i, j);
      if (!(scores[j] <= top)) top = scores[j];
    }
    std::fill_n(to, a.value_depth, 0.0);
    *lse = none;
    if (n == 0 || top == none) return;
    for (int64_t j = 0; j < n; ++j) sum += scores[j] = std::exp(scores[j] - top);
    for (int64_t j = 0; j < n; ++j) {
      if (scores[j] == 0) continue;
      for (int64_t c = 0; c < a.value_depth; ++c) to[c] += scores[j] / sum * vh[j * v.row + c];
    }
    *lse = top + std::log(sum);
  }
};

void attention_f64(const Attention& a, Threads threads, const double* q, const double* k, const double* v,
                   const void* mask, double* out, double* lse, double* scratch) {
  const Plain p(a);
  parallel_tasks(threads, a.batch * a.heads * a.queries, [&](int64_t task, int thread) {
    const int64_t i = task % a.queries, head = task / a.queries % a.heads, batch = task / a.queries / a.heads;
    const int64_t kv = p.kv_head(head);
    p.forward_row(q + batch * p.q.batch + head * p.q.head + i * p.q.row,
                  k + batch * p.k.batch + kv * p.k.head, v + batch * p.v.batch + kv * p.v.head, mask, batch,
                  head, i, scratch + thread * a.keys,
                  out + batch * p.out.batch + head * p.out.head + i * p.out.row, lse + task);
  });
}

// One task per (batch, key/value head): all that adds to one dk and dv.
void attention_grad_f64(const Attention& a, Threads threads, const AttentionGradIo& io, double* scratch) {
  const Plain p(a);
  const int64_t group = a.kv_heads == 0 ? 1 : a.heads / a.kv_heads;
  const auto input = [](const void* base) { return static_cast<const double*>(base); };
  const auto output = [](void* base) { return static_cast<double*>(base); };
  parallel_tasks(threads, a.batch * a.kv_heads, [&](int64_t task, int thread) {
    const int64_t kv = task % a.kv_heads, batch = task / a.kv_heads;
    const int64_t k_at = batch * p.k.batch + kv * p.k.head, v_at = batch * p.v.batch + kv * p.v.head;
    for (int64_t j = 0; j < a.keys; ++j) {
      std::fill_n(output(io.dk) + k_at + j * p.k.row, a.depth, 0.0);
      std::fill_n(output(io.dv) + v_at + j * p.v.row, a.value_depth, 0.0);
    }
    double* prob = scratch + thread * a.keys;
    for (int64_t row = 0; row < group * a.queries; ++row) {
      const int64_t head = kv * group + row / a.queries, i = row % a.queries;
      const int64_t q_at = batch * p.q.batch + head * p.q.head + i * p.q.row;
      const int64_t out_at = batch * p.out.batch + head * p.out.head + i * p.out.row;
      const double *qi = input(io.q) + q_at, *out = input(io.out) + out_at, *dout = input(io.dout) + out_at;
      double* dq = output(io.dq) + q_at;
      const double lse = input(io.lse)[(batch * a.heads + head) * a.queries + i];
      std::fill_n(dq, a.depth, 0.0);
      if (lse == -std::numeric_limits<double>::infinity()) continue;
      double delta = 0;
      for (int64_t c = 0; c < a.value_depth; ++c) delta += dout[c] * out[c];
      for (int64_t j = 0, n = causal_limit(a, i); j < n; ++j) {
        const double *kj = input(io.k) + k_at + j * p.k.row, *vj = input(io.v) + v_at + j * p.v.row;
        prob[j] = std::exp(p.score(qi, kj, io.mask, batch, head, i, j) - lse);
        if (prob[j] == 0) continue;
        double *dk = output(io.dk) + k_at + j * p.k.row, *dv = output(io.dv) + v_at + j * p.v.row, dp = 0;
        for (int64_t c = 0; c < a.value_depth; ++c) {
          dp += dout[c] * vj[c];
          dv[c] += prob[j] * dout[c];
        }
        const double ds = p.scale * prob[j] * (dp - delta);
        for (int64_t c = 0; c < a.depth; ++c) {
          dq[c] += ds * kj[c];
          dk[c] += ds * qi[c];
        }
      }
    }
  });
}

}  // namespace

void check_attention(const Attention& a) {
  if (a.dtype != DType::float64 && a.dtype != DType::float32 && a.dtype != DType::bfloat16 &&
      a.dtype != DType::float16)
    throw Error(ErrorCode::unsupported, std::string("attention on cpu does not take ") + dtype_name(a.dtype) +
                                            "; convert to float32, bfloat16 or float16 first");
  for (int64_t n : {a.batch, a.heads, a.kv_heads, a.queries, a.keys, a.depth, a.value_depth})
    if (n < 0) throw Error(ErrorCode::shape_mismatch, "attention has a negative size: " + std::to_string(n));
  if (a.heads != 0 && (a.kv_heads == 0 || a.heads % a.kv_heads != 0))
    throw Error(ErrorCode::shape_mismatch, "attention has " + std::to_string(a.heads) +
                                               " heads, no multiple of its " + std::to_string(a.kv_heads) +
                                               " key/value heads");
  if (std::max(a.queries, a.keys) > std::numeric_limits<int32_t>::max())
    throw Error(ErrorCode::unsupported, "attention on cpu takes at most 2^31 - 1 queries and keys");
}

std::array<int64_t, 4> attention_mask_strides(const Attention& a, const Shape& mask) {
  const int64_t full[4] = {a.batch, a.heads, a.queries, a.keys};
  std::array<int64_t, 4> strides{};
  const int offset = 4 - mask.rank();
  const auto dense = row_major_strides(mask);
  for (int axis = 0; axis < mask.rank(); ++axis) {
    if (offset < 0 || (mask[axis] != 1 && mask[axis] != full[offset + axis]))
      throw Error(ErrorCode::shape_mismatch, "attention mask " + to_string(mask) + " does not broadcast to " +
                                                 to_string(Shape{a.batch, a.heads, a.queries, a.keys}));
    strides[static_cast<size_t>(offset + axis)] = mask[axis] == 1 ? 0 : dense[static_cast<size_t>(axis)];
  }
  return strides;
}

size_t attention_scratch_bytes(const Attention& a, Threads threads) {
  if (a.dtype == DType::float64) return static_cast<size_t>(threads.count * a.keys) * sizeof(double);
  threads = useful_threads(threads, score_flops(a));
  const ForwardPlan p = plan_forward(a, threads);
  return static_cast<size_t>(threads.count * p.thread_floats + p.tasks * p.partial_floats) * sizeof(float);
}

void attention(const Attention& a, Threads threads, const void* q, const void* k, const void* v,
               const void* mask, void* out, void* lse, void* scratch) {
  threads = useful_threads(threads, score_flops(a));
  if (a.dtype == DType::float64)
    return attention_f64(a, threads, static_cast<const double*>(q), static_cast<const double*>(k),
                         static_cast<const double*>(v), mask, static_cast<double*>(out),
                         static_cast<double*>(lse), static_cast<double*>(scratch));
  const ForwardPlan p = plan_forward(a, threads);
  float* base = static_cast<float*>(scratch);
  const ForwardIo io{q, k, v, mask, out, static_cast<float*>(lse), base + threads.count * p.thread_floats};
  const auto claims = [&](int64_t tasks, bool combine) {
    parallel_tasks(
        threads, (tasks + p.tasks_per_claim - 1) / p.tasks_per_claim, [&](int64_t claim, int thread) {
          const int64_t begin = claim * p.tasks_per_claim;
          attention_forward_tasks(p, io, combine, begin, std::min(tasks, begin + p.tasks_per_claim),
                                  base + thread * p.thread_floats);
        });
  };
  claims(p.tasks, false);
  if (p.splits > 1) claims(p.tasks / p.splits, true);
}

size_t attention_grad_scratch_bytes(const Attention& a, Threads threads) {
  if (a.dtype == DType::float64) return static_cast<size_t>(threads.count * a.keys) * sizeof(double);
  threads = useful_threads(threads, 2.5 * score_flops(a));
  const BackwardPlan p = plan_backward(a, threads);
  return static_cast<size_t>(threads.count * p.thread_floats + p.tasks * p.part_floats) * sizeof(float);
}

void attention_grad(const Attention& a, Threads threads, const AttentionGradIo& io, void* scratch) {
  threads = useful_threads(threads, 2.5 * score_flops(a));
  if (a.dtype == DType::float64) return attention_grad_f64(a, threads, io, static_cast<double*>(scratch));
  const BackwardPlan p = plan_backward(a, threads);
  float* base = static_cast<float*>(scratch);
  const BackwardIo all{io, base + threads.count * p.thread_floats};
  parallel_tasks(threads, (p.tasks + p.tasks_per_claim - 1) / p.tasks_per_claim,
                 [&](int64_t claim, int thread) {
                   const int64_t begin = claim * p.tasks_per_claim;
                   attention_backward_tasks(p, all, begin, std::min(p.tasks, begin + p.tasks_per_claim),
                                            base + thread * p.thread_floats);
                 });
  if (p.parts > 1) {
    parallel_for(threads, a.batch * a.heads * a.queries, 16,
                 [&](int64_t begin, int64_t end) { attention_backward_sum(p, all, begin, end); });
  }
}

}  // namespace heddle::cpu
