// Attention backward for one task (attention_plan.h), compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/attention_backward.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

// What one row of scores needs to become probabilities and their gradients.
struct RowRules {
  float lse;     // in units of log 2; +inf for a row that saw nothing
  float delta;   // scale * sum(dout * out)
  int64_t seen;  // keys of this block before the causal limit
  const void* mask;
};

// Mask values of the n (<= lanes) keys from j on, as floats.
template <class M>
HWY_INLINE VF mask_lanes(F d, const M* mask, int64_t step, int64_t j, int64_t n) {
  if constexpr (std::is_same_v<M, uint8_t>) {
    if (step == 0) return hn::Set(d, static_cast<float>(mask[0]));
    const hn::Rebind<uint8_t, F> d8;
    if (n == lanes_f32)
      return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<F>(), hn::LoadU(d8, mask + j)));
    float part[lanes_f32] = {};
    for (int64_t i = 0; i < n; ++i) part[i] = mask[j + i];
    return hn::LoadU(d, part);
  } else {
    if (step == 0) {
      M part[lanes_f32];
      std::fill_n(part, lanes_f32, mask[0]);
      return load(d, part);
    }
    return n == lanes_f32 ? load(d, mask + j) : load_n(d, mask + j, static_cast<size_t>(n));
  }
}

// scores (in units of log 2) become probabilities, gradients (scale * dP) become gradients of the scores.
template <class M>
HWY_INLINE void soften_row(float* HWY_RESTRICT scores, float* HWY_RESTRICT gradients, int64_t keys,
                           const RowRules& row, int64_t mask_step) {
  const F d;
  const VF lse = hn::Set(d, row.lse), delta = hn::Set(d, row.delta);
  for (int64_t j = 0; j < keys; j += lanes_f32) {
    VF s = hn::LoadU(d, scores + j), keep_value = hn::Zero(d);
    if constexpr (!std::is_void_v<M>) {
      const VF mask =
          mask_lanes(d, static_cast<const M*>(row.mask), mask_step, j, std::min(lanes_f32, keys - j));
      if constexpr (std::is_same_v<M, uint8_t>) {
        keep_value = mask;
      } else {
        s = hn::MulAdd(mask, hn::Set(d, 1.44269504088896340736f), s);
      }
    }
    VF p = exp2_falling(d, hn::Sub(s, lse));
    if constexpr (std::is_same_v<M, uint8_t>) p = hn::IfThenElseZero(hn::Ne(keep_value, hn::Zero(d)), p);
    if (j + lanes_f32 > row.seen) {
      const auto n = static_cast<size_t>(std::max<int64_t>(row.seen - j, 0));
      p = hn::IfThenElseZero(hn::FirstN(d, n), p);
    }
    hn::StoreU(p, d, scores + j);
    hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(d, gradients + j), delta)), d, gradients + j);
  }
}

template <class T>
class BackwardTask {
 public:
  BackwardTask(const BackwardPlan& plan, const BackwardIo& io, int64_t task, float* scratch)
      : p_(plan), a_(plan.a), io_(io.t), scratch_(scratch), part_(task % p_.parts) {
    const int64_t set = task / p_.parts;
    batch_ = set / a_.kv_heads;
    kv_head_ = set % a_.kv_heads;
    scale_ = a_.scale == 0 ? 1.0f / std::sqrt(static_cast<float>(a_.depth)) : static_cast<float>(a_.scale);
    sum_dq_ = p_.parts > 1 ? io.parts + task * p_.part_floats : scratch + p_.sum_dq;
  }

  void run() {
    prepare_rows();
    // Blocks are dealt to the parts back and forth: under the causal rule the first ones are the heaviest.
    for (int64_t round = 0;; ++round) {
      const int64_t block = round * p_.parts + (round % 2 == 0 ? part_ : p_.parts - 1 - part_);
      if (round * p_.parts >= p_.key_blocks) break;
      if (block < p_.key_blocks) pass_keys(block * p_.block_keys);
    }
    if (p_.parts == 1 && !p_.direct_dq) write_dq();
  }

 private:
  template <class Pointer>
  Pointer at(Pointer base, const HeadStrides& s, int64_t head, int64_t row) const {
    return base + batch_ * s.batch + head * s.head + row * s.row;
  }
  int64_t head_of(int64_t member) const { return kv_head_ * p_.group + member; }

  // dq rows of one head, as they are being summed.
  float* dq_rows(int64_t member, int64_t row) const {
    if constexpr (std::is_same_v<T, float>) {
      if (p_.direct_dq) return at(static_cast<float*>(io_.dq), p_.q, head_of(member), row);
    }
    return sum_dq_ + (member * a_.queries + row) * p_.depth_padded;
  }
  int64_t dq_stride() const { return p_.direct_dq ? p_.q.row : p_.depth_padded; }

  void prepare_rows() {
    const F d;
    float* lse = scratch_ + p_.row_state;
    float* delta = lse + p_.group * a_.queries;
    for (int64_t member = 0; member < p_.group; ++member) {
      for (int64_t i = 0; i < a_.queries; ++i, ++lse, ++delta) {
        const float given =
            static_cast<const float*>(io_.lse)[(batch_ * a_.heads + head_of(member)) * a_.queries + i];
        *lse = given == minus_inf ? -minus_inf : given * 1.44269504088896340736f;
        const T* out = at(static_cast<const T*>(io_.out), p_.out, head_of(member), i);
        const T* dout = at(static_cast<const T*>(io_.dout), p_.out, head_of(member), i);
        VF sum = hn::Zero(d);
        int64_t c = 0;
        for (; c + lanes_f32 <= a_.value_depth; c += lanes_f32)
          sum = hn::MulAdd(load(d, out + c), load(d, dout + c), sum);
        if (const auto n = static_cast<size_t>(a_.value_depth - c); n > 0)
          sum = hn::MulAdd(load_n(d, out + c, n), load_n(d, dout + c, n), sum);
        *delta = scale_ * sum_of(d, sum);
        std::fill_n(dq_rows(member, i), p_.direct_dq ? a_.depth : p_.depth_padded, 0.0f);
      }
    }
  }

  // All that a block of keys takes part in: its dk and dv, and its share of dq.
  void pass_keys(int64_t key) {
    keys_ = std::min(p_.block_keys, a_.keys - key);
    width_ = round_up(keys_, std::max<int64_t>(lanes_f32, 4));
    const T* k = static_cast<const T*>(io_.k) + batch_ * p_.k.batch + kv_head_ * p_.k.head + key * p_.k.row;
    const T* v = static_cast<const T*>(io_.v) + batch_ * p_.v.batch + kv_head_ * p_.v.head + key * p_.v.row;
    pack(k, p_.k.row, a_.depth, scale_ * 1.44269504088896340736f, scratch_ + p_.packed_k);
    pack(v, p_.v.row, a_.value_depth, scale_, scratch_ + p_.packed_v);
    k_rows_ = scratch_ + p_.wide_k;
    k_stride_ = p_.depth_padded;
    if constexpr (std::is_same_v<T, float>) {
      if (p_.direct_k) {
        k_rows_ = k;
        k_stride_ = p_.k.row;
      }
    }
    if (!p_.direct_k) widen_rows(k, p_.k.row, keys_, a_.depth, scratch_ + p_.wide_k, p_.depth_padded);

    std::fill_n(scratch_ + p_.sum_dk, a_.depth * width_, 0.0f);
    std::fill_n(scratch_ + p_.sum_dv, a_.value_depth * width_, 0.0f);
    const int64_t first = a_.causal ? std::clamp<int64_t>(key + a_.queries - a_.keys, 0, a_.queries) : 0;
    for (int64_t member = 0; member < p_.group; ++member)
      for (int64_t row = first; row < a_.queries; row += p_.block_rows)
        pass_rows(key, member, row, std::min(p_.block_rows, a_.queries - row));

    unpack(static_cast<T*>(io_.dk) + (k - static_cast<const T*>(io_.k)), p_.k.row, a_.depth,
           scratch_ + p_.sum_dk);
    unpack(static_cast<T*>(io_.dv) + (v - static_cast<const T*>(io_.v)), p_.v.row, a_.value_depth,
           scratch_ + p_.sum_dv);
  }

  void pack(const T* from, int64_t row, int64_t depth, float scale, float* to) const {
    const T* rows[block_keys_max];
    for (int64_t j = 0; j < width_; ++j) rows[j] = from + std::min(j, keys_ - 1) * row;
    pack_columns(rows, width_, depth, scale, to, width_);
  }

  void unpack(T* to, int64_t row, int64_t depth, const float* from) const {
    T* rows[block_keys_max];
    float factor[block_keys_max];
    for (int64_t j = 0; j < width_; ++j) {
      rows[j] = to + j * row;
      factor[j] = 1.0f;
    }
    unpack_columns(from, width_, factor, keys_, depth, rows);
  }

  void pass_rows(int64_t key, int64_t member, int64_t row, int64_t n) {
    const int64_t head = head_of(member);
    RowRules rules[block_rows_max];
    const float* lse = scratch_ + p_.row_state + member * a_.queries + row;
    const float* delta = lse + p_.group * a_.queries;
    const auto& m = a_.mask_strides;
    const bool boolean = a_.mask == Attention::Mask::boolean;
    Visible visible{a_.mask != Attention::Mask::boolean, true};
    for (int64_t i = 0; i < n; ++i) {
      rules[i] = {lse[i], delta[i], std::clamp<int64_t>(causal_limit(a_, row + i) - key, 0, keys_), nullptr};
      if (a_.mask == Attention::Mask::none) continue;
      const int64_t offset = batch_ * m[0] + head * m[1] + (row + i) * m[2] + key * m[3];
      rules[i].mask =
          static_cast<const uint8_t*>(io_.mask) + offset * (boolean ? 1 : static_cast<int64_t>(sizeof(T)));
      if (!boolean || (i > 0 && rules[i].mask == rules[i - 1].mask)) continue;
      const Visible here = visible_in(static_cast<const uint8_t*>(rules[i].mask), m[3], keys_);
      visible = {visible.any || here.any, visible.all && here.all};
    }
    if (!visible.any) return;

    Rows q, dout;
    if constexpr (std::is_same_v<T, float>) {
      q = {at(static_cast<const float*>(io_.q), p_.q, head, row), p_.q.row, 1};
      dout = {at(static_cast<const float*>(io_.dout), p_.out, head, row), p_.out.row, 1};
    } else {
      q = {scratch_ + p_.wide_q, a_.depth, 1};
      dout = {scratch_ + p_.wide_dout, a_.value_depth, 1};
      widen_rows(at(static_cast<const T*>(io_.q), p_.q, head, row), p_.q.row, n, a_.depth,
                 scratch_ + p_.wide_q, a_.depth);
      widen_rows(at(static_cast<const T*>(io_.dout), p_.out, head, row), p_.out.row, n, a_.value_depth,
                 scratch_ + p_.wide_dout, a_.value_depth);
    }
    // Under the causal rule the last row sees the most keys.
    const int64_t seen = rules[n - 1].seen, width = std::min(width_, round_up(seen, lanes_f32));
    float* scores = scratch_ + p_.scores;
    float* gradients = scratch_ + p_.gradients;
    product_wide(n, width, q, scratch_ + p_.packed_k, width_, a_.depth, scores, width_, Start::zero);
    product_wide(n, width, dout, scratch_ + p_.packed_v, width_, a_.value_depth, gradients, width_,
                 Start::zero);
    for (int64_t i = 0; i < n; ++i) {
      float* s = scores + i * width_;
      float* g = gradients + i * width_;
      if (a_.mask == Attention::Mask::none || (boolean && visible.all)) {
        soften_row<void>(s, g, seen, rules[i], 0);
      } else if (boolean) {
        soften_row<uint8_t>(s, g, seen, rules[i], m[3]);
      } else {
        soften_row<T>(s, g, seen, rules[i], m[3]);
      }
    }
    product_wide(a_.value_depth, width, {dout.base, 1, dout.row}, scores, width_, n, scratch_ + p_.sum_dv,
                 width_, Start::add);
    product_wide(a_.depth, width, {q.base, 1, q.row}, gradients, width_, n, scratch_ + p_.sum_dk, width_,
                 Start::add);
    product_wide(n, a_.depth, {gradients, width_, 1}, k_rows_, k_stride_, seen, dq_rows(member, row),
                 dq_stride(), Start::add);
  }

  void write_dq() const {
    const F d;
    for (int64_t member = 0; member < p_.group; ++member) {
      for (int64_t i = 0; i < a_.queries; ++i) {
        const float* from = dq_rows(member, i);
        T* to = at(static_cast<T*>(io_.dq), p_.q, head_of(member), i);
        int64_t c = 0;
        for (; c + lanes_f32 <= a_.depth; c += lanes_f32) store(hn::LoadU(d, from + c), d, to + c);
        if (c < a_.depth) store_n(hn::LoadU(d, from + c), d, to + c, static_cast<size_t>(a_.depth - c));
      }
    }
  }

  const BackwardPlan& p_;
  const Attention& a_;
  const AttentionGradIo& io_;
  float* scratch_;
  int64_t part_, batch_, kv_head_;
  float scale_;
  float* sum_dq_;
  int64_t keys_, width_;  // of the current block, and up to whole vectors
  const float* k_rows_;
  int64_t k_stride_;
};

template <class T>
void sum_parts(const BackwardPlan& p, const BackwardIo& io, int64_t begin, int64_t end) {
  const F d;
  const Attention& a = p.a;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t i = row % a.queries, head = row / a.queries % a.heads, batch = row / a.queries / a.heads;
    const int64_t first_task = (batch * a.kv_heads + head / p.group) * p.parts;
    const float* from =
        io.parts + first_task * p.part_floats + (head % p.group * a.queries + i) * p.depth_padded;
    T* to = static_cast<T*>(io.t.dq) + batch * p.q.batch + head * p.q.head + i * p.q.row;
    for (int64_t c = 0; c < a.depth; c += lanes_f32) {
      VF sum = hn::LoadU(d, from + c);
      for (int64_t part = 1; part < p.parts; ++part)
        sum = hn::Add(sum, hn::LoadU(d, from + part * p.part_floats + c));
      if (c + lanes_f32 <= a.depth) {
        store(sum, d, to + c);
      } else {
        store_n(sum, d, to + c, static_cast<size_t>(a.depth - c));
      }
    }
  }
}

template <class T>
void run_backward(const BackwardPlan& plan, const BackwardIo& io, bool sum, int64_t begin, int64_t end,
                  float* scratch) {
  if (sum) return sum_parts<T>(plan, io, begin, end);
  for (int64_t task = begin; task < end; ++task) BackwardTask<T>(plan, io, task, scratch).run();
}

void backward_tasks(const BackwardPlan& plan, const BackwardIo& io, bool sum, int64_t begin, int64_t end,
                    float* scratch) {
  switch (plan.a.dtype) {
    case DType::bfloat16:
      return run_backward<bfloat16_t>(plan, io, sum, begin, end, scratch);
    case DType::float16:
      return run_backward<float16_t>(plan, io, sum, begin, end, scratch);
    default:
      return run_backward<float>(plan, io, sum, begin, end, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
HWY_EXPORT(backward_tasks);

void attention_backward_tasks(const BackwardPlan& plan, const BackwardIo& io, int64_t begin, int64_t end,
                              float* scratch) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(plan, io, false, begin, end, scratch);
}
void attention_backward_sum(const BackwardPlan& plan, const BackwardIo& io, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(plan, io, true, begin, end, nullptr);
}
}  // namespace heddle::cpu
#endif
