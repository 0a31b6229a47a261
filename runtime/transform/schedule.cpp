#include <cmath>
#include <numbers>

#include "heddle/error.h"
#include "heddle/optimizer.h"
#include "kernels/formula.h"

namespace heddle::schedule {
namespace {

using kernels::Scalar;
using kernels::Scalars;

void expect_span(const char* name, int64_t warmup, int64_t total) {
  if (warmup < 0 || total <= warmup) {
    throw Error(ErrorCode::invalid_argument, std::string("schedule::") + name + ": warmup " +
                                                 std::to_string(warmup) + " must not be negative and total " +
                                                 std::to_string(total) + " must be above it");
  }
}

// Rises to `peak` during `warmup`; `fall` makes the rate from the share of the way from warmup to total, in
// [0, 1].
template <class Fall>
Schedule warmed_up(double peak, int64_t warmup, int64_t total, Fall fall) {
  return [=](Value step) {
    return kernels::formula({step}, step.dtype(), [&](const Scalars& in) {
      const auto start = static_cast<double>(warmup), way = static_cast<double>(total - warmup);
      const Scalar after = fall(min(max((in[0] - start) * (1 / way), 0.0), 1.0));
      return warmup == 0 ? after : select(in[0] < start, in[0] * (peak / start), after);
    });
  };
}

}  // namespace

Schedule constant(double rate) {
  return [=](Value step) { return step.graph().scalar(rate, step.dtype()); };
}

Schedule warmup_cosine(double peak, int64_t warmup, int64_t total, double last) {
  expect_span("warmup_cosine", warmup, total);
  return warmed_up(peak, warmup, total, [=](Scalar share) {
    return (cos(share * std::numbers::pi) + 1.0) * ((peak - last) / 2) + last;
  });
}

Schedule warmup_linear(double peak, int64_t warmup, int64_t total, double last) {
  expect_span("warmup_linear", warmup, total);
  return warmed_up(peak, warmup, total, [=](Scalar share) { return share * (last - peak) + peak; });
}

Schedule step_decay(double rate, double factor, int64_t every) {
  if (every < 1 || !(factor > 0)) {
    throw Error(ErrorCode::invalid_argument, "schedule::step_decay: every " + std::to_string(every) +
                                                 " must be at least 1 and factor " + std::to_string(factor) +
                                                 " above 0");
  }
  return [=](Value step) {
    return kernels::formula({step}, step.dtype(), [&](const Scalars& in) {
      // From the middle of the step, so that a rounded quotient stays on its side of the boundary.
      const Scalar drops = floor((in[0] - 0.5) * (1 / static_cast<double>(every)));
      return exp(drops * std::log(factor)) * rate;
    });
  };
}

}  // namespace heddle::schedule

namespace heddle {

Value LearningRate::at(Value step) const {
  if (!schedule_)
    throw Error(ErrorCode::invalid_argument,
                "the learning rate is an empty schedule; give a number or a function of the step");
  return schedule_(step);
}

}  // namespace heddle
