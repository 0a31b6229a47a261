#include "cpu/kernels/loss.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/loss.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

inline int64_t target_at(DType dtype, const void* targets, int64_t i) {
  switch (dtype) {
    case DType::int8:
      return static_cast<const int8_t*>(targets)[i];
    case DType::int16:
      return static_cast<const int16_t*>(targets)[i];
    case DType::int32:
      return static_cast<const int32_t*>(targets)[i];
    case DType::uint8:
      return static_cast<const uint8_t*>(targets)[i];
    case DType::uint16:
      return static_cast<const uint16_t*>(targets)[i];
    case DType::uint32:
      return static_cast<const uint32_t*>(targets)[i];
    // A uint64 beyond int64 turns negative, and is out of range either way.
    default:
      return static_cast<const int64_t*>(targets)[i];
  }
}

template <class T>
Wide<T> element(const T* p) {
  return hn::GetLane(load(hn::CappedTag<Wide<T>, 1>(), p));
}

template <class T>
void loss_rows(const LossRows& r, const T* logits, const void* targets, Wide<T>* loss, Wide<T>* lse,
               int64_t begin, int64_t end) {
  const WideTag<T> d;
  using W = Wide<T>;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = logits + row * r.classes;
    Maxima<WideTag<T>> top(d);
    steps(d, r.classes, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto v = keep_n(d, load_n(d, x + i, count), count, -std::numeric_limits<W>::infinity());
      top.part[k] = hn::Max(top.part[k], v);
    });
    const W base = top.total(d);
    const auto middle = hn::Set(d, base);
    Sums<WideTag<T>> sum(d);
    steps(d, r.classes, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto e = exp_falling(d, hn::Sub(load_n(d, x + i, count), middle));
      sum.part[k] = hn::Add(sum.part[k], keep_n(d, e, count, W(0)));
    });
    const W spread = std::log(sum.total(d));
    lse[row] = base + spread;
    const int64_t target = target_at(r.target_dtype, targets, row);
    if (target == r.ignore_index) {
      loss[row] = 0;
    } else if (target < 0 || target >= r.classes) {
      loss[row] = std::numeric_limits<W>::quiet_NaN();
    } else {
      loss[row] = spread - (element(x + target) - base);
    }
  }
}

template <class T>
void loss_grad_rows(const LossRows& r, const Wide<T>* dloss, const T* logits, const void* targets,
                    const Wide<T>* lse, T* dlogits, int64_t begin, int64_t end) {
  const WideTag<T> d;
  using W = Wide<T>;
  const hn::CappedTag<W, 1> one;
  for (int64_t row = begin; row < end; ++row) {
    const T* x = logits + row * r.classes;
    T* dx = dlogits + row * r.classes;
    const int64_t target = target_at(r.target_dtype, targets, row);
    const bool ignored = target == r.ignore_index;
    if (ignored || target < 0 || target >= r.classes) {
      const auto fill = hn::Set(d, ignored ? W(0) : std::numeric_limits<W>::quiet_NaN());
      steps(d, r.classes, [&](int64_t i, auto count, int) HWY_ATTR { store_n(fill, d, dx + i, count); });
      continue;
    }
    // Read before dx, which may be x, is written.
    const auto hot =
        hn::Sub(exp_falling(one, hn::Set(one, element(x + target) - lse[row])), hn::Set(one, W(1)));
    const auto log_sum = hn::Set(d, lse[row]), factor = hn::Set(d, dloss[row]);
    steps(d, r.classes, [&](int64_t i, auto count, int) HWY_ATTR {
      store_n(hn::Mul(exp_falling(d, hn::Sub(load_n(d, x + i, count), log_sum)), factor), d, dx + i, count);
    });
    store(hn::Mul(hot, hn::Set(one, dloss[row])), one, dx + target);
  }
}

// Calls f with the element type of the logits.
template <class F>
void with_type(DType dtype, F f) {
  switch (dtype) {
    case DType::float64:
      return f(double());
    case DType::bfloat16:
      return f(bfloat16_t());
    case DType::float16:
      return f(float16_t());
    default:
      return f(float());
  }
}

void loss_range(const LossRows& r, const void* logits, const void* targets, void* loss, void* lse,
                int64_t begin, int64_t end) {
  with_type(r.dtype, [&]<class T>(T) {
    loss_rows(r, static_cast<const T*>(logits), targets, static_cast<Wide<T>*>(loss),
              static_cast<Wide<T>*>(lse), begin, end);
  });
}

void loss_grad_range(const LossRows& r, const void* dloss, const void* logits, const void* targets,
                     const void* lse, void* dlogits, int64_t begin, int64_t end) {
  with_type(r.dtype, [&]<class T>(T) {
    loss_grad_rows(r, static_cast<const Wide<T>*>(dloss), static_cast<const T*>(logits), targets,
                   static_cast<const Wide<T>*>(lse), static_cast<T*>(dlogits), begin, end);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {

HWY_EXPORT(loss_range);
HWY_EXPORT(loss_grad_range);

void cross_entropy(const LossRows& r, Threads threads, const void* logits, const void* targets, void* loss,
                   void* lse) {
  parallel_for(threads, r.rows, grain_of(r.classes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(loss_range)(r, logits, targets, loss, lse, begin, end);
  });
}

void cross_entropy_grad(const LossRows& r, Threads threads, const void* dloss, const void* logits,
                        const void* targets, const void* lse, void* dlogits) {
  parallel_for(threads, r.rows, grain_of(r.classes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(loss_grad_range)(r, dloss, logits, targets, lse, dlogits, begin, end);
  });
}

}  // namespace heddle::cpu
#endif
