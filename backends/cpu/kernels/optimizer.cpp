#include "cpu/kernels/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#ifndef HEDDLE_CPU_OPTIMIZER_ONCE
#define HEDDLE_CPU_OPTIMIZER_ONCE
namespace heddle::cpu {
namespace {

// The numbers of one step, for sgd (beta1 = momentum) or adam.
struct Step {
  bool adam, decoupled, nesterov;
  double lr, beta1, beta2, epsilon, weight_decay;
  double correction1, correction2;  // 1 - beta^step
};

// Elements [begin, end) of one tensor.
struct Part {
  const ParameterTensor& t;
  int64_t begin, end;
};

// Calls f(tensor, begin, end) for the parts of the tensors that elements [begin, end) of all of them together
// cover.
template <class Tensor, class F>
void over_parts(std::span<const Tensor> tensors, int64_t begin, int64_t end, F f) {
  int64_t first = 0;  // of the tensor, among all elements
  for (const Tensor& t : tensors) {
    const int64_t from = std::max<int64_t>(begin - first, 0), to = std::min(end - first, t.elements);
    if (from < to) f(t, from, to);
    first += t.elements;
    if (first >= end) return;
  }
}

template <class Tensor>
int64_t total_elements(std::span<const Tensor> tensors) {
  int64_t n = 0;
  for (const Tensor& t : tensors) n += t.elements;
  return n;
}

// Elements that are converted at a time: they stay in the first cache.
constexpr int64_t block_elements = 1024;

}  // namespace
}  // namespace heddle::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/optimizer.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h

#include "cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::cpu {
namespace HWY_NAMESPACE {

template <class W, class T>
void convert_all(const T* from, int64_t n, W* to) {
  if constexpr (std::is_same_v<W, double> || std::is_same_v<T, double>) {
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_arithmetic_v<T>) {
        to[i] = static_cast<W>(from[i]);
      } else {
        to[i] = static_cast<W>(to_float(from[i]));
      }
    }
  } else {
    const hn::ScalableTag<W> d;
    steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
      store_n(load_n(d, from + i, count), d, to + i, count);
    });
  }
}

// Elements at..at+n of x as W: in place where they are, else converted into `block`.
template <class W>
const W* widened(DType dtype, const void* x, int64_t at, int64_t n, W* block) {
  if (dtype == dtype_of<W>) return static_cast<const W*>(x) + at;
  switch (dtype) {
    case DType::float64:
      convert_all(static_cast<const double*>(x) + at, n, block);
      break;
    case DType::bfloat16:
      convert_all(static_cast<const bfloat16_t*>(x) + at, n, block);
      break;
    case DType::float16:
      convert_all(static_cast<const float16_t*>(x) + at, n, block);
      break;
    default:
      convert_all(static_cast<const float*>(x) + at, n, block);
      break;
  }
  return block;
}

template <class W>
void adam_block(const Step& s, int64_t n, const W* p, const W* g, const W* m, const W* v, W* p_out, W* m_out,
                W* v_out) {
  const hn::ScalableTag<W> d;
  const auto number = [&](double x) HWY_ATTR { return hn::Set(d, static_cast<W>(x)); };
  const auto beta1 = number(s.beta1), beta2 = number(s.beta2), rest1 = number(1 - s.beta1),
             rest2 = number(1 - s.beta2);
  const auto decay = number(s.weight_decay), shrink = number(1 - s.lr * s.weight_decay),
             epsilon = number(s.epsilon);
  const auto rate = number(s.lr / s.correction1), spread = number(1 / s.correction2);
  const bool coupled = s.weight_decay != 0 && !s.decoupled, decoupled = s.weight_decay != 0 && s.decoupled;
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    auto parameter = load_n(d, p + i, count), gradient = load_n(d, g + i, count);
    if (coupled) gradient = hn::MulAdd(decay, parameter, gradient);
    if (decoupled) parameter = hn::Mul(parameter, shrink);
    const auto first = hn::MulAdd(beta1, load_n(d, m + i, count), hn::Mul(rest1, gradient));
    const auto second =
        hn::MulAdd(beta2, load_n(d, v + i, count), hn::Mul(rest2, hn::Mul(gradient, gradient)));
    store_n(first, d, m_out + i, count);
    store_n(second, d, v_out + i, count);
    const auto bottom = hn::Add(hn::Sqrt(hn::Mul(second, spread)), epsilon);
    store_n(hn::Sub(parameter, hn::Div(hn::Mul(rate, first), bottom)), d, p_out + i, count);
  });
}

template <class W>
void sgd_block(const Step& s, int64_t n, const W* p, const W* g, const W* m, W* p_out, W* m_out) {
  const hn::ScalableTag<W> d;
  const auto rate = hn::Set(d, static_cast<W>(s.lr)), momentum = hn::Set(d, static_cast<W>(s.beta1));
  const auto decay = hn::Set(d, static_cast<W>(s.weight_decay));
  const bool moves = s.beta1 != 0, decays = s.weight_decay != 0;
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    const auto parameter = load_n(d, p + i, count);
    auto step = load_n(d, g + i, count);
    if (decays) step = hn::MulAdd(decay, parameter, step);
    if (moves) {
      const auto velocity = hn::MulAdd(momentum, load_n(d, m + i, count), step);
      store_n(velocity, d, m_out + i, count);
      step = s.nesterov ? hn::MulAdd(momentum, velocity, step) : velocity;
    }
    store_n(hn::NegMulAdd(rate, step, parameter), d, p_out + i, count);
  });
}

template <class W, class T>
void step_part(const Step& s, const ParameterTensor& t, int64_t begin, int64_t end) {
  HWY_ALIGN W wide_p[block_elements], wide_g[block_elements];
  constexpr bool narrow = !std::is_same_v<W, T>;
  for (int64_t at = begin; at < end; at += block_elements) {
    const int64_t n = std::min(block_elements, end - at);
    const W* p = widened(t.dtype, t.p, at, n, wide_p);
    const W* g = widened(t.gradient_dtype, t.g, at, n, wide_g);
    T* to = static_cast<T*>(t.p_out) + at;
    W* p_out = wide_p;
    if constexpr (!narrow) p_out = to;
    const auto state = [&](const void* x) { return x == nullptr ? nullptr : static_cast<const W*>(x) + at; };
    const auto result = [&](void* x) { return x == nullptr ? nullptr : static_cast<W*>(x) + at; };
    if (s.adam) {
      adam_block(s, n, p, g, state(t.m), state(t.v), p_out, result(t.m_out), result(t.v_out));
    } else {
      sgd_block(s, n, p, g, state(t.m), p_out, result(t.m_out));
    }
    if constexpr (narrow) {
      const hn::ScalableTag<W> d;
      steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
        store_n(load_n(d, wide_p + i, count), d, to + i, count);
      });
    }
  }
}

void step_range(const Step& s, std::span<const ParameterTensor> tensors, int64_t begin, int64_t end) {
  over_parts(tensors, begin, end, [&](const ParameterTensor& t, int64_t from, int64_t to) {
    switch (t.dtype) {
      case DType::float64:
        return step_part<double, double>(s, t, from, to);
      case DType::bfloat16:
        return step_part<float, bfloat16_t>(s, t, from, to);
      case DType::float16:
        return step_part<float, float16_t>(s, t, from, to);
      default:
        return step_part<float, float>(s, t, from, to);
    }
  });
}

// Squares are summed in double: no float32 gradient overflows, and none is lost.
template <class T>
double squares(const T* x, int64_t n) {
  const hn::ScalableTag<double> d;
  double total = 0;
  if constexpr (std::is_same_v<T, double>) {
    Sums<hn::ScalableTag<double>> sum(d);
    steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto v = load_n(d, x + i, count);
      sum.part[k] = hn::MulAdd(v, v, sum.part[k]);
    });
    total = sum.total(d);
  } else {
    const hn::Rebind<float, hn::ScalableTag<double>> half;
    Sums<hn::ScalableTag<double>> sum(d);
    steps(d, n, [&](int64_t i, auto count, int k) HWY_ATTR {
      const auto v = hn::PromoteTo(d, load_n(half, x + i, count));
      sum.part[k] = hn::MulAdd(v, v, sum.part[k]);
    });
    total = sum.total(d);
  }
  return total;
}

double squares_range(std::span<const NormTensor> tensors, int64_t begin, int64_t end) {
  double total = 0;
  over_parts(tensors, begin, end, [&](const NormTensor& t, int64_t from, int64_t to) {
    switch (t.dtype) {
      case DType::float64:
        total += squares(static_cast<const double*>(t.x) + from, to - from);
        break;
      case DType::bfloat16:
        total += squares(static_cast<const bfloat16_t*>(t.x) + from, to - from);
        break;
      case DType::float16:
        total += squares(static_cast<const float16_t*>(t.x) + from, to - from);
        break;
      default:
        total += squares(static_cast<const float*>(t.x) + from, to - from);
        break;
    }
  });
  return total;
}

template <class T>
void scale_part(const T* x, int64_t n, double factor, T* y) {
  const WideTag<T> d;
  const auto f = hn::Set(d, static_cast<Wide<T>>(factor));
  steps(d, n, [&](int64_t i, auto count, int) HWY_ATTR {
    store_n(hn::Mul(load_n(d, x + i, count), f), d, y + i, count);
  });
}

void scale_range(std::span<const NormTensor> tensors, double factor, int64_t begin, int64_t end) {
  over_parts(tensors, begin, end, [&](const NormTensor& t, int64_t from, int64_t to) {
    const auto run = [&]<class T>(T) {
      scale_part(static_cast<const T*>(t.x) + from, to - from, factor, static_cast<T*>(t.y) + from);
    };
    switch (t.dtype) {
      case DType::float64:
        return run(double());
      case DType::bfloat16:
        return run(bfloat16_t());
      case DType::float16:
        return run(float16_t());
      default:
        return run(float());
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::cpu {
namespace {

HWY_EXPORT(step_range);
HWY_EXPORT(squares_range);
HWY_EXPORT(scale_range);

// Elements of a range: small models are updated by one thread.
constexpr int64_t grain = 8192;

void run(const Step& step, Threads threads, std::span<const ParameterTensor> tensors) {
  parallel_for(threads, total_elements(tensors), grain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(step_range)(step, tensors, begin, end);
  });
}

double norm_of(Threads threads, std::span<const NormTensor> tensors) {
  // Sums of fixed parts, added in order: the same bits at any thread count.
  std::array<double, 64> sums{};
  const int64_t n = total_elements(tensors), parts = static_cast<int64_t>(sums.size());
  parallel_for(threads, parts, std::max<int64_t>(1, grain * parts / std::max<int64_t>(n, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   sums[static_cast<size_t>(i)] =
                       HWY_DYNAMIC_DISPATCH(squares_range)(tensors, n * i / parts, n * (i + 1) / parts);
               });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void write_norm(double value, DType dtype, void* norm) {
  if (dtype == DType::float64) {
    *static_cast<double*>(norm) = value;
  } else {
    *static_cast<float*>(norm) = static_cast<float>(value);
  }
}

}  // namespace

void sgd(const SgdRule& rule, Threads threads, ScalarOperand lr, std::span<const ParameterTensor> tensors) {
  run({.adam = false,
       .decoupled = false,
       .nesterov = rule.nesterov,
       .lr = lr.value(),
       .beta1 = rule.momentum,
       .beta2 = 0,
       .epsilon = 0,
       .weight_decay = rule.weight_decay,
       .correction1 = 1,
       .correction2 = 1},
      threads, tensors);
}

void adam(const AdamRule& rule, Threads threads, ScalarOperand lr, ScalarOperand step,
          std::span<const ParameterTensor> tensors) {
  run({.adam = true,
       .decoupled = rule.decoupled,
       .nesterov = false,
       .lr = lr.value(),
       .beta1 = rule.beta1,
       .beta2 = rule.beta2,
       .epsilon = rule.epsilon,
       .weight_decay = rule.weight_decay,
       .correction1 = 1 - std::pow(rule.beta1, step.value()),
       .correction2 = 1 - std::pow(rule.beta2, step.value())},
      threads, tensors);
}

void global_norm(Threads threads, std::span<const NormTensor> tensors, DType norm_dtype, void* norm) {
  write_norm(norm_of(threads, tensors), norm_dtype, norm);
}

void clip_by_global_norm(double max_norm, Threads threads, std::span<const NormTensor> tensors,
                         DType norm_dtype, void* norm) {
  const double value = norm_of(threads, tensors), room = max_norm / (value + 1e-6);
  const double factor = room > 1 ? 1 : room;  // NaN stays NaN
  parallel_for(threads, total_elements(tensors), grain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(scale_range)(tensors, factor, begin, end);
  });
  write_norm(value, norm_dtype, norm);
}

}  // namespace heddle::cpu
#endif
