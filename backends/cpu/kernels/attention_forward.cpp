// Attention forward for one task (attention_plan.h), compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/attention_forward.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

inline constexpr float log2_e = 1.44269504088896340736f;
inline constexpr float ln_2 = 0.693147180559945309417f;

// Four mask values of one query at keys j.. as floats; lanes n.. are zero.
#if HWY_TARGET != HWY_SCALAR
template <class M>
HWY_INLINE hn::Vec<Four> mask_four(const M* p, int64_t step, int64_t n) {
  const Four d;
  M part[4] = {};
  if (step == 0) {
    for (int64_t i = 0; i < n; ++i) part[i] = p[0];
  } else if (n < 4) {
    for (int64_t i = 0; i < n; ++i) part[i] = p[i];
  }
  const M* from = step == 0 || n < 4 ? part : p;
  if constexpr (std::is_same_v<M, uint8_t>) {
    const hn::Rebind<uint8_t, Four> d8;
    return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<Four>(), hn::LoadU(d8, from)));
  } else {
    return load(d, from);
  }
}
#endif

template <class M>
HWY_INLINE float mask_value(const M* p) {
  if constexpr (std::is_same_v<M, uint8_t>) {
    return *p;
  } else {
    return static_cast<float>(hn::GetLane(load(hn::CappedTag<float, 1>(), p)));
  }
}

// The score after the mask: dropped to -inf (boolean) or moved by it (added; scores are in units of log 2).
template <class M, class D, class V>
HWY_INLINE V masked(D d, V score, V mask) {
  if constexpr (std::is_same_v<M, uint8_t>) {
    return hn::IfThenElse(hn::Ne(mask, hn::Zero(d)), score, hn::Set(d, minus_inf));
  } else {
    return hn::MulAdd(mask, hn::Set(d, log2_e), score);
  }
}

// scores[j][r] for n keys and `width` rows; rows[r] points at the mask of row r and the first key. `uniform`:
// every row has the same mask.
template <class M>
HWY_NOINLINE void mask_scores(float* HWY_RESTRICT scores, int64_t n, int64_t width, const void* const* rows,
                              int64_t step, bool uniform) {
  const F d;
  const auto row = [rows](int64_t r) HWY_ATTR { return static_cast<const M*>(rows[r]); };
  if (uniform || HWY_TARGET == HWY_SCALAR) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t r = 0; r < width; r += lanes_f32) {
        const VF mask = hn::Set(d, mask_value(row(r) + j * step));
        hn::StoreU(masked<M>(d, hn::LoadU(d, scores + j * width + r), mask), d, scores + j * width + r);
      }
    }
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  const Four d4;
  for (int64_t j = 0; j < n; j += 4) {
    const int64_t valid = std::min<int64_t>(4, n - j);
    for (int64_t r = 0; r < width; r += 4) {
      hn::Vec<Four> w[4];
      for (int i = 0; i < 4; ++i) w[i] = mask_four(row(r + i) + j * step, step, valid);
      transpose4(w[0], w[1], w[2], w[3]);
      for (int64_t i = 0; i < valid; ++i) {
        float* s = scores + (j + i) * width + r;
        hn::StoreU(masked<M>(d4, hn::LoadU(d4, s), w[i]), d4, s);
      }
    }
  }
#endif
}

// Drops key first_key + j of row r where it is not below limits[r].
HWY_INLINE void mask_causal(float* HWY_RESTRICT scores, int64_t n, int64_t width, const int32_t* limits,
                            int64_t first_key) {
  const F d;
  const hn::RebindToSigned<F> di;
  for (int64_t j = 0; j < n; ++j) {
    const auto key = hn::Set(di, static_cast<int32_t>(first_key + j));
    for (int64_t r = 0; r < width; r += lanes_f32) {
      const auto seen = hn::RebindMask(d, hn::Gt(hn::LoadU(di, limits + r), key));
      float* s = scores + j * width + r;
      hn::StoreU(hn::IfThenElse(seen, hn::LoadU(d, s), hn::Set(d, minus_inf)), d, s);
    }
  }
}

// Online softmax over n keys: scores become exp2(score - maximum); sum and maximum are brought up to date,
// `rescale` is what earlier sums must be multiplied by.
template <int kVectors>
HWY_NOINLINE void soften(float* HWY_RESTRICT scores, int64_t n, float* HWY_RESTRICT maximum,
                         float* HWY_RESTRICT sum, float* HWY_RESTRICT rescale) {
  const F d;
  constexpr int64_t width = kVectors * lanes_f32;
  VF top[2][kVectors], total[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) top[0][v] = top[1][v] = hn::LoadU(d, maximum + v * lanes_f32);
  int64_t j = 0;
  for (; j + 2 <= n; j += 2) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      top[0][v] = hn::Max(top[0][v], hn::LoadU(d, scores + j * width + v * lanes_f32));
      top[1][v] = hn::Max(top[1][v], hn::LoadU(d, scores + (j + 1) * width + v * lanes_f32));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    if (j < n) top[0][v] = hn::Max(top[0][v], hn::LoadU(d, scores + j * width + v * lanes_f32));
    const VF before = hn::LoadU(d, maximum + v * lanes_f32);
    // A row that has seen nothing keeps maximum 0, so that -inf - maximum is no NaN.
    top[0][v] = hn::Max(top[0][v], top[1][v]);
    const VF base = hn::IfThenElse(hn::Eq(top[0][v], hn::Set(d, minus_inf)), hn::Zero(d), top[0][v]);
    const VF factor = exp2_falling(d, hn::Sub(before, base));
    hn::StoreU(top[0][v], d, maximum + v * lanes_f32);
    hn::StoreU(factor, d, rescale + v * lanes_f32);
    total[v] = hn::Mul(hn::LoadU(d, sum + v * lanes_f32), factor);
    top[0][v] = base;
  }
  for (j = 0; j < n; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* s = scores + j * width + v * lanes_f32;
      const VF p = exp2_falling(d, hn::Sub(hn::LoadU(d, s), top[0][v]));
      total[v] = hn::Add(total[v], p);
      hn::StoreU(p, d, s);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) hn::StoreU(total[v], d, sum + v * lanes_f32);
}

template <class T>
class ForwardTask {
 public:
  ForwardTask(const ForwardPlan& plan, const ForwardIo& io, int64_t task, float* scratch)
      : p_(plan), a_(plan.a), io_(io), scratch_(scratch) {
    split_ = task % p_.splits;
    first_split_ = task - split_;
    task /= p_.splits;
    // Late blocks see the most keys under the causal rule: they come first.
    const int64_t block = p_.blocks - 1 - task % p_.blocks;
    set_ = task / p_.blocks;
    const int64_t sets = p_.merged ? a_.kv_heads : a_.heads;
    batch_ = set_ / sets;
    kv_head_ = p_.merged ? set_ % sets : set_ % sets / p_.group;
    row0_ = block * p_.block_rows;
    rows_ = std::min(p_.block_rows, p_.rows - row0_);
    k_ = static_cast<const T*>(io.k) + batch_ * p_.k.batch + kv_head_ * p_.k.head;
    v_ = static_cast<const T*>(io.v) + batch_ * p_.v.batch + kv_head_ * p_.v.head;
  }

  // The whole task, or (with splits) one part of its keys into the task's partial results.
  void run() {
    use_state(scratch_ + p_.state);
    pack_queries();
    int64_t last = a_.keys;
    std::fill_n(maximum_, padded(), minus_inf);
    std::fill_n(sum_, padded(), 0.0f);
    if (a_.causal) {
      last = 0;
      for (int64_t r = 0; r < padded(); ++r) {
        limits_[r] = static_cast<int32_t>(causal_limit(a_, query(r)));
        last = std::max<int64_t>(last, limits_[r]);
      }
    }
    int64_t first = 0;
    if (p_.splits > 1) {
      const int64_t blocks = (a_.keys + p_.block_keys - 1) / p_.block_keys;
      first = blocks * split_ / p_.splits * p_.block_keys;
      last = std::min(last, blocks * (split_ + 1) / p_.splits * p_.block_keys);
    }
    for (int64_t key = first; key < last; key += p_.block_keys)
      pass_keys(key, std::min(p_.block_keys, last - key));
    if (p_.splits == 1) {
      finish();
    } else {
      float* to = partial(split_);
      std::copy_n(maximum_, padded(), to);
      std::copy_n(sum_, padded(), to + padded());
      std::copy_n(scratch_ + p_.sums, padded() * a_.value_depth, to + 2 * padded());
    }
  }

  // The results of a task from those of its splits, always added in the same order.
  void combine() {
    const F d;
    use_state(scratch_ + p_.state);
    for (int64_t r = 0; r < padded(); r += lanes_f32) {
      VF top = hn::Set(d, minus_inf), sum = hn::Zero(d);
      for (int64_t s = 0; s < p_.splits; ++s) top = hn::Max(top, hn::LoadU(d, partial(s) + r));
      const VF base = hn::IfThenElse(hn::Eq(top, hn::Set(d, minus_inf)), hn::Zero(d), top);
      for (int64_t s = 0; s < p_.splits; ++s) {
        float* factor = partial(s) + r;
        const VF f = exp2_falling(d, hn::Sub(hn::LoadU(d, factor), base));
        sum = hn::MulAdd(hn::LoadU(d, factor + padded()), f, sum);
        hn::StoreU(f, d, factor);
      }
      hn::StoreU(top, d, maximum_ + r);
      hn::StoreU(sum, d, sum_ + r);
    }
    for (int64_t r = 0; r < rows_; r += panel_max) {
      const int64_t width = panel_width(r);
      for (int64_t c = 0; c < a_.value_depth; ++c) {
        for (int64_t lane = 0; lane < width; lane += lanes_f32) {
          const int64_t offset = r * a_.value_depth + c * width + lane;
          VF total = hn::Zero(d);
          for (int64_t s = 0; s < p_.splits; ++s) {
            const VF f = hn::LoadU(d, partial(s) + r + lane);
            // A split that saw nothing left its sums unwritten.
            const VF part =
                hn::IfThenZeroElse(hn::Eq(f, hn::Zero(d)), hn::LoadU(d, partial(s) + 2 * padded() + offset));
            total = hn::MulAdd(part, f, total);
          }
          hn::StoreU(total, d, scratch_ + p_.sums + offset);
        }
      }
    }
    finish();
  }

 private:
  // Rows of the block up to whole vectors.
  int64_t padded() const { return round_up(rows_, std::max<int64_t>(lanes_f32, 4)); }
  int64_t row_of(int64_t r) const { return row0_ + std::min(r, rows_ - 1); }
  int64_t query(int64_t r) const { return p_.merged ? row_of(r) % a_.queries : row_of(r); }
  int64_t head(int64_t r) const {
    if (p_.merged) return kv_head_ * p_.group + row_of(r) / a_.queries;
    return set_ % a_.heads;
  }

  void use_state(float* state) {
    maximum_ = state;
    sum_ = state + padded();
    rescale_ = state + 2 * padded();
    limits_ = reinterpret_cast<int32_t*>(state + 3 * padded());
  }
  float* partial(int64_t split) const { return io_.partials + (first_split_ + split) * p_.partial_floats; }

  template <class Pointer>
  Pointer at(Pointer base, const HeadStrides& s, int64_t r) const {
    return base + batch_ * s.batch + head(r) * s.head + query(r) * s.row;
  }

  void pack_queries() {
    const float scale =
        (a_.scale == 0 ? 1.0f / std::sqrt(static_cast<float>(a_.depth)) : static_cast<float>(a_.scale)) *
        log2_e;
    for (int64_t r = 0; r < rows_; r += panel_max) {
      const T* from[panel_max];
      const int64_t width = panel_width(r);
      for (int64_t i = 0; i < width; ++i) from[i] = at(static_cast<const T*>(io_.q), p_.q, r + i);
      pack_columns(from, width, a_.depth, scale, scratch_ + p_.packed_q + r * a_.depth, width);
    }
  }

  int64_t panel_width(int64_t r) const { return rows_ - r <= lanes_f32 ? lanes_f32 : panel_max; }

  void pass_keys(int64_t key, int64_t n) {
    Rows k, v;
    if constexpr (std::is_same_v<T, float>) {
      k = {k_ + key * p_.k.row, p_.k.row, 1};
      v = {v_ + key * p_.v.row, 1, p_.v.row};
    } else {
      widen_rows(k_ + key * p_.k.row, p_.k.row, n, a_.depth, scratch_ + p_.wide_k, a_.depth);
      widen_rows(v_ + key * p_.v.row, p_.v.row, n, a_.value_depth, scratch_ + p_.wide_v, a_.value_depth);
      k = {scratch_ + p_.wide_k, a_.depth, 1};
      v = {scratch_ + p_.wide_v, 1, a_.value_depth};
    }
    for (int64_t r = 0, panel = 0; r < rows_; r += panel_max, ++panel) {
      if (panel_width(r) == panel_max) {
        pass_panel<2>(r, panel, key, n, k, v);
      } else {
        pass_panel<1>(r, panel, key, n, k, v);
      }
    }
  }

  template <int kVectors>
  void pass_panel(int64_t r, int64_t panel, int64_t key, int64_t n, Rows k, Rows v) {
    constexpr int64_t width = kVectors * lanes_f32;
    int64_t least = a_.keys;
    if (a_.causal) {
      int64_t most = 0;
      for (int64_t i = 0; i < width; ++i) {
        least = std::min<int64_t>(least, limits_[r + i]);
        most = std::max<int64_t>(most, limits_[r + i]);
      }
      n = std::min(n, most - key);
      if (n <= 0) return;
    }
    const void* masks[width];
    bool mask = a_.mask != Attention::Mask::none;
    if (mask) mask = find_masks(r, width, key, n, masks);
    if (mask && masks[0] == nullptr) return;  // nothing is visible

    float* scores = scratch_ + p_.scores;
    product<kVectors>(n, k, scratch_ + p_.packed_q + r * a_.depth, width, a_.depth, scores, width,
                      Start::zero, nullptr);
    if (mask) {
      const bool uniform = a_.mask_strides[2] == 0 && (!p_.merged || a_.mask_strides[1] == 0);
      if (a_.mask == Attention::Mask::boolean) {
        mask_scores<uint8_t>(scores, n, width, masks, a_.mask_strides[3], uniform);
      } else {
        mask_scores<T>(scores, n, width, masks, a_.mask_strides[3], uniform);
      }
    }
    if (key + n > least) mask_causal(scores, n, width, limits_ + r, key);
    soften<kVectors>(scores, n, maximum_ + r, sum_ + r, rescale_ + r);
    const bool first = (started_ >> panel & 1) == 0;
    started_ |= uint64_t{1} << panel;
    product<kVectors>(a_.value_depth, v, scores, width, n, scratch_ + p_.sums + r * a_.value_depth, width,
                      first ? Start::zero : Start::rescale, rescale_ + r);
  }

  // Where each row's mask begins for this key. False: no mask is needed, all is visible. masks[0] null:
  // nothing is.
  bool find_masks(int64_t r, int64_t width, int64_t key, int64_t n, const void** masks) const {
    const auto& s = a_.mask_strides;
    const bool boolean = a_.mask == Attention::Mask::boolean;
    const int64_t size = boolean ? 1 : static_cast<int64_t>(sizeof(T));
    Visible visible{false, true};
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = batch_ * s[0] + head(r + i) * s[1] + query(r + i) * s[2] + key * s[3];
      masks[i] = static_cast<const uint8_t*>(io_.mask) + at * size;
      if (!boolean || (i > 0 && masks[i] == masks[i - 1])) continue;
      const Visible row = visible_in(static_cast<const uint8_t*>(masks[i]), s[3], n);
      visible = {visible.any || row.any, visible.all && row.all};
    }
    if (!boolean) return true;
    if (!visible.any) masks[0] = nullptr;
    return !visible.all;
  }

  void finish() {
    const F d;
    float* inverse = rescale_;
    float* lse = maximum_;
    for (int64_t r = 0; r < padded(); r += lanes_f32) {
      const VF sum = hn::LoadU(d, sum_ + r);
      const auto empty = hn::Eq(sum, hn::Zero(d));
      hn::StoreU(hn::IfThenElse(empty, sum, hn::Div(hn::Set(d, 1.0f), sum)), d, inverse + r);
      const VF top = hn::LoadU(d, maximum_ + r);
      hn::StoreU(hn::IfThenElse(empty, hn::Set(d, minus_inf), hn::MulAdd(top, hn::Set(d, ln_2), log(d, sum))),
                 d, lse + r);
    }
    for (int64_t r = 0; r < rows_; r += panel_max) {
      T* to[panel_max];
      const int64_t width = std::min(panel_max, rows_ - r);
      for (int64_t i = 0; i < width; ++i) {
        to[i] = at(static_cast<T*>(io_.out), p_.out, r + i);
        io_.lse[(batch_ * a_.heads + head(r + i)) * a_.queries + query(r + i)] = lse[r + i];
      }
      unpack_columns(scratch_ + p_.sums + r * a_.value_depth, panel_width(r), inverse + r, width,
                     a_.value_depth, to);
    }
  }

  const ForwardPlan& p_;
  const Attention& a_;
  const ForwardIo& io_;
  float* scratch_;
  int64_t split_, first_split_, set_, batch_, kv_head_, row0_, rows_;
  const T *k_, *v_;
  float *maximum_, *sum_, *rescale_;
  int32_t* limits_;
  uint64_t started_ = 0;  // a bit per panel: sums hold something
};

template <class T>
void run_forward(const ForwardPlan& plan, const ForwardIo& io, bool combine, int64_t begin, int64_t end,
                 float* scratch) {
  for (int64_t task = begin; task < end; ++task) {
    if (combine) {
      ForwardTask<T>(plan, io, task * plan.splits, scratch).combine();
    } else {
      ForwardTask<T>(plan, io, task, scratch).run();
    }
  }
}

void forward_tasks(const ForwardPlan& plan, const ForwardIo& io, bool combine, int64_t begin, int64_t end,
                   float* scratch) {
  switch (plan.a.dtype) {
    case DType::bfloat16:
      return run_forward<bfloat16_t>(plan, io, combine, begin, end, scratch);
    case DType::float16:
      return run_forward<float16_t>(plan, io, combine, begin, end, scratch);
    default:
      return run_forward<float>(plan, io, combine, begin, end, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
HWY_EXPORT(forward_tasks);

void attention_forward_tasks(const ForwardPlan& plan, const ForwardIo& io, bool combine, int64_t begin,
                             int64_t end, float* scratch) {
  HWY_DYNAMIC_DISPATCH(forward_tasks)(plan, io, combine, begin, end, scratch);
}
}  // namespace heddle::cpu
#endif
