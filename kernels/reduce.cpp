#include "kernels/reduce.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "heddle/ops/convert.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/reduce.h"
#include "kernels/catalogue.h"
#include "kernels/dim_value.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

// ---- reduce

std::vector<ValueType> infer_reduce(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const auto& kind = call.attributes.get<std::string>("kind");
  const auto& axes = call.attributes.get<Ints>("axes");
  if (kind != "sum" && kind != "mean" && kind != "max" && kind != "min" && kind != "prod") {
    refuse_argument("kind is '" + kind + "', but must be sum, mean, max, min or prod");
  }
  if (normalise_axes(axes, x.dims.rank()) != axes) refuse_argument("axes must be sorted and not negative");
  if (kind == "mean") expect_float("x", x);
  if (x.dtype == DType::boolean) refuse_dtype("x is bool; convert it to a number first");
  return {{x.dtype, reduced_dims(x.dims, axes, call.attributes.get<bool>("keepdims"))}};
}

// Calls f(output index, input index) for every element in row-major order of x.
void for_each_reduced(const ReferenceCall& call, const std::function<void(size_t, size_t)>& f) {
  const Shape& shape = call.inputs[0].shape();
  const auto& axes = call.attributes.get<Ints>("axes");
  std::array<int64_t, max_rank> stride{};  // of the result, 0 along reduced axes
  int64_t size = 1;
  for (int i = shape.rank(); i-- > 0;) {
    if (std::find(axes.begin(), axes.end(), i) != axes.end()) continue;
    stride[static_cast<size_t>(i)] = size;
    size *= shape[i];
  }
  size_t flat = 0;
  reference::for_each_index(shape, [&](std::span<const int64_t> index) {
    int64_t to = 0;
    for (size_t i = 0; i < index.size(); ++i) to += index[i] * stride[i];
    f(static_cast<size_t>(to), flat++);
  });
}

double lower(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b); }
double higher(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b); }

void reduce_reals(const ReferenceCall& call, const std::string& kind) {
  const std::vector<double> x = reference::reals(call.inputs[0]);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double start = kind == "prod" ? 1 : kind == "max" ? -infinity : kind == "min" ? infinity : 0;
  std::vector<double> y(static_cast<size_t>(call.outputs[0].elements()), start);
  for_each_reduced(call, [&](size_t to, size_t from) {
    const double v = x[from];
    y[to] = kind == "prod"  ? y[to] * v
            : kind == "max" ? higher(y[to], v)
            : kind == "min" ? lower(y[to], v)
                            : y[to] + v;
  });
  if (kind == "mean") {
    const double n = static_cast<double>(x.size()) / static_cast<double>(y.size());
    for (double& v : y) v /= n;
  }
  reference::store(call.outputs[0], y);
}

template <class I>
void reduce_integers(const ReferenceCall& call, const std::string& kind, I lowest, I highest) {
  const std::vector<int64_t> x = reference::integers(call.inputs[0]);
  const I start = kind == "prod" ? 1 : kind == "max" ? lowest : kind == "min" ? highest : 0;
  std::vector<I> y(static_cast<size_t>(call.outputs[0].elements()), start);
  for_each_reduced(call, [&](size_t to, size_t from) {
    const I v = static_cast<I>(x[from]);
    const auto a = static_cast<uint64_t>(y[to]), b = static_cast<uint64_t>(v);  // sums and products wrap
    y[to] = kind == "prod"  ? static_cast<I>(a * b)
            : kind == "max" ? std::max(y[to], v)
            : kind == "min" ? std::min(y[to], v)
                            : static_cast<I>(a + b);
  });
  reference::store(call.outputs[0], Ints(y.begin(), y.end()));
}

void reference_reduce(const ReferenceCall& call) {
  const auto& kind = call.attributes.get<std::string>("kind");
  visit_dtype(call.inputs[0].dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, uint64_t>) {
      reduce_integers<uint64_t>(call, kind, 0, std::numeric_limits<uint64_t>::max());
    } else if constexpr (std::is_integral_v<T>) {
      reduce_integers<int64_t>(call, kind, std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
    } else {
      reduce_reals(call, kind);
    }
  });
}

// Sums: of |x|. Products: |y|. Extremes are chosen, not computed.
void magnitude_reduce(const ReferenceCall& call) {
  const auto& kind = call.attributes.get<std::string>("kind");
  std::vector<double> y(static_cast<size_t>(call.outputs[0].elements()), kind == "prod" ? 1 : 0);
  if (kind != "max" && kind != "min") {
    const std::vector<double> x = reference::reals(call.inputs[0]);
    for_each_reduced(call, [&](size_t to, size_t from) {
      y[to] = kind == "prod" ? y[to] * std::fabs(x[from]) : y[to] + std::fabs(x[from]);
    });
    if (kind == "mean")
      for (double& v : y) v *= static_cast<double>(y.size()) / static_cast<double>(x.size());
  }
  reference::store(call.outputs[0], y);
}

double reduced_length(const CostCall& call) {
  const double n = elements_of(call.outputs[0]);
  return n > 0 ? elements_of(*call.inputs[0]) / n : 1;
}
Cost cost_reduce(const CostCall& call) { return streaming_cost(call, elements_of(*call.inputs[0])); }

// Gradients of narrow floats are computed in float32 and rounded once.
DType gradient_dtype(DType d) { return d == DType::float64 ? d : DType::float32; }

std::vector<Value> gradient_reduce(const GradientCall& call) {
  const auto& kind = call.node.attributes.get<std::string>("kind");
  const auto& axes = call.node.attributes.get<Ints>("axes");
  const Value x = call.inputs[0];
  const DType wide = gradient_dtype(x.dtype());
  // The output and its gradient with size 1 at the reduced axes, so that they broadcast against x.
  const Dims kept = reduced_dims(x.dims(), axes, true);
  const auto restored = [&](Value v) { return v.dims() == kept ? v : reshape(v, kept); };
  const Value g = restored(call.output_gradients[0]);
  if (kind == "sum") return {broadcast(g, x.dims())};
  if (kind == "mean") {
    Dim n = 1;
    for (const int64_t axis : axes) n = n * x.dims()[static_cast<int>(axis)];
    const Value wide_g = convert(g, wide);
    const Value share = n.is_number() ? div(wide_g, static_cast<double>(n.number()))
                                      : div(wide_g, convert(dim_value(call.graph, n), wide));
    return {broadcast(convert(share, x.dtype()), x.dims())};
  }
  const Value y = restored(call.outputs[0]);
  if (kind == "prod") {
    // The product of the others: y / x, and where one factor is 0 the product without it.
    const Value is_zero = equal(x, 0);
    const Value zeros_in_group = sum(convert(is_zero, wide), axes, true);
    const Value others = prod(select(is_zero, 1, x), axes, true);
    const Value at_zero = select(logical_and(is_zero, equal(zeros_in_group, 1)), others, 0.0);
    return {mul(g, select(equal(zeros_in_group, 0), div(y, x), at_zero))};
  }
  const Value chosen = equal(x, y);
  const Value count = sum(convert(chosen, wide), axes, true);
  const Value share = convert(div(convert(g, wide), count), x.dtype());
  return {select(chosen, share, 0.0)};
}

// ---- argmax

std::vector<ValueType> infer_argmax(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const int axis = checked_axis(call.attributes, "axis", x.dims.rank());
  const auto& kind = call.attributes.get<std::string>("kind");
  if (kind != "max" && kind != "min") refuse_argument("kind is '" + kind + "', but must be max or min");
  if (x.dims[axis] == Dim(0))
    refuse_shape("axis " + std::to_string(axis) + " of " + to_string(x.dims) + " is empty");
  return {{DType::int64, reduced_dims(x.dims, Ints{axis}, call.attributes.get<bool>("keepdims"))}};
}

// Whether a comes before b in the order that looks for the largest. NaN comes before every number.
template <class T>
bool larger(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && !std::isnan(b);
  }
  return a > b;
}
template <class T>
bool smaller(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && !std::isnan(b);
  }
  return a < b;
}

template <class T>
Ints argmax_of(const std::vector<T>& x, const Shape& shape, int axis, bool largest) {
  const reference::AxisView view(shape, axis);
  Ints y;
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t n = 0; n < view.inner; ++n) {
      int64_t best = 0;
      for (int64_t i = 1; i < view.length; ++i) {
        const T &candidate = x[static_cast<size_t>(view.at(o, i, n))],
                &held = x[static_cast<size_t>(view.at(o, best, n))];
        if (largest ? larger(candidate, held) : smaller(candidate, held)) best = i;
      }
      y.push_back(best);
    }
  }
  return y;
}

void reference_argmax(const ReferenceCall& call) {
  const Tensor& x = call.inputs[0];
  const int axis = static_cast<int>(call.attributes.get<int64_t>("axis"));
  const bool largest = call.attributes.get<std::string>("kind") == "max";
  Ints y;
  if (is_float(x.dtype())) {
    y = argmax_of(reference::reals(x), x.shape(), axis, largest);
  } else if (x.dtype() == DType::uint64) {
    const Ints bits = reference::integers(x);
    y = argmax_of(std::vector<uint64_t>(bits.begin(), bits.end()), x.shape(), axis, largest);
  } else {
    y = argmax_of(reference::integers(x), x.shape(), axis, largest);
  }
  reference::store(call.outputs[0], y);
}

// ---- cumsum

std::vector<ValueType> infer_cumsum(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  checked_axis(call.attributes, "axis", x.dims.rank());
  if (x.dtype == DType::boolean) refuse_dtype("x is bool; convert it to a number first");
  return {x};
}

template <class T>
std::vector<T> cumulative(const std::vector<T>& x, const Shape& shape, const Attributes& attributes) {
  const reference::AxisView view(shape, static_cast<int>(attributes.get<int64_t>("axis")));
  const bool exclusive = attributes.get<bool>("exclusive"), reverse = attributes.get<bool>("reverse");
  std::vector<T> y(x.size());
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t n = 0; n < view.inner; ++n) {
      T running = 0;
      for (int64_t k = 0; k < view.length; ++k) {
        const auto at = static_cast<size_t>(view.at(o, reverse ? view.length - 1 - k : k, n));
        if (exclusive) y[at] = running;
        running += x[at];
        if (!exclusive) y[at] = running;
      }
    }
  }
  return y;
}

void reference_cumsum(const ReferenceCall& call) {
  const Tensor& x = call.inputs[0];
  if (is_float(x.dtype())) {
    reference::store(call.outputs[0], cumulative(reference::reals(x), x.shape(), call.attributes));
  } else {  // unsigned, where sums wrap
    const Ints bits = reference::integers(x);
    const auto y = cumulative(std::vector<uint64_t>(bits.begin(), bits.end()), x.shape(), call.attributes);
    reference::store(call.outputs[0], Ints(y.begin(), y.end()));
  }
}

void magnitude_cumsum(const ReferenceCall& call) {
  std::vector<double> x = reference::reals(call.inputs[0]);
  for (double& v : x) v = std::fabs(v);
  reference::store(call.outputs[0], cumulative(x, call.inputs[0].shape(), call.attributes));
}

double cumsum_length(const CostCall& call) {
  return static_cast<double>(
      call.inputs[0]->dims[static_cast<int>(call.attributes.get<int64_t>("axis"))].number());
}

std::vector<Value> gradient_cumsum(const GradientCall& call) {
  Attributes attributes = call.node.attributes;
  attributes.set("reverse", !attributes.get<bool>("reverse"));
  return Graph(call.graph).add(cumsum_op(), call.output_gradients, attributes);
}

// ---- builders

Value reduce(Value x, const char* kind, const Ints& axes, bool keepdims) {
  if (!x) refuse_argument(std::string(kind) + ": got no value");
  return x.graph().add(
      reduce_op(), std::array{x},
      {{"kind", std::string(kind)}, {"axes", normalise_axes(axes, x.rank())}, {"keepdims", keepdims}}, "")[0];
}

Ints all_axes(Value x) {
  Ints axes(static_cast<size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Value add_argmax(Value x, const char* kind, int64_t axis, bool keepdims) {
  return x.graph().add(argmax_op(), std::array{x},
                       {{"axis", int64_t{normalise_axis(axis, x.rank())}},
                        {"keepdims", keepdims},
                        {"kind", std::string(kind)}})[0];
}

}  // namespace

Value sum(Value x) { return reduce(x, "sum", all_axes(x), false); }
Value mean(Value x) { return reduce(x, "mean", all_axes(x), false); }
Value prod(Value x) { return reduce(x, "prod", all_axes(x), false); }
Value max(Value x) { return reduce(x, "max", all_axes(x), false); }
Value min(Value x) { return reduce(x, "min", all_axes(x), false); }
Value sum(Value x, const Ints& axes, bool keepdims) { return reduce(x, "sum", axes, keepdims); }
Value mean(Value x, const Ints& axes, bool keepdims) { return reduce(x, "mean", axes, keepdims); }
Value prod(Value x, const Ints& axes, bool keepdims) { return reduce(x, "prod", axes, keepdims); }
Value max(Value x, const Ints& axes, bool keepdims) { return reduce(x, "max", axes, keepdims); }
Value min(Value x, const Ints& axes, bool keepdims) { return reduce(x, "min", axes, keepdims); }
Value argmax(Value x, int64_t axis, bool keepdims) { return add_argmax(x, "max", axis, keepdims); }
Value argmin(Value x, int64_t axis, bool keepdims) { return add_argmax(x, "min", axis, keepdims); }
Value cumsum(Value x, int64_t axis, bool exclusive, bool reverse) {
  return x.graph().add(
      cumsum_op(), std::array{x},
      {{"axis", int64_t{normalise_axis(axis, x.rank())}}, {"exclusive", exclusive}, {"reverse", reverse}})[0];
}

// ---- schemas

const OpSchema& reduce_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "reduce",
      .family = "reduce",
      .summary = "y = sum, mean, max, min or product of x along axes",
      .inputs = {{"x", "numbers; mean: floats"}},
      .outputs =
          {{"y",
            "like x without the axes, or with size 1 there. Empty: sum 0, prod 1, max -inf, min +inf "
            "(integers: the limits), mean NaN. max and min are NaN when any element is; their gradient "
            "is shared evenly by equal elements"}},
      .attributes = {{"kind", "string", nullptr, "sum, mean, max, min or prod"},
                     {"axes", "ints", nullptr, "sorted, not negative"},
                     {"keepdims", "bool", "false", "leave size 1 at the axes"}},
      .infer = infer_reduce,
      .cost = cost_reduce,
      .gradient = gradient_reduce,
      .reference = reference_reduce,
      .accuracy = {.c = 2, .depth = reduced_length, .magnitude = magnitude_reduce},
  };
  return *op;
}

const OpSchema& argmax_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "argmax",
      .family = "reduce",
      .summary =
          "y = index of the largest (kind min: smallest) element of x along axis; the first of equal ones",
      .inputs = {{"x", "any dtype; NaN counts as beyond every number"}},
      .outputs = {{"y", "int64, like x without the axis, or with size 1 there"}},
      .attributes = {{"axis", "int", nullptr, "not negative"},
                     {"keepdims", "bool", "false", "leave size 1 at the axis"},
                     {"kind", "string", "max", "max or min"}},
      .infer = infer_argmax,
      .cost = cost_reduce,
      .no_gradient = "the result is an index",
      .reference = reference_argmax,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& cumsum_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "cumsum",
      .family = "reduce",
      .summary = "y[i] = x[0] + ... + x[i] along axis",
      .inputs = {{"x", "numbers; integers wrap"}},
      .outputs = {{"y", "like x"}},
      .attributes = {{"axis", "int", nullptr, "not negative"},
                     {"exclusive", "bool", "false", "leave out x[i]"},
                     {"reverse", "bool", "false", "sum from the other end"}},
      .infer = infer_cumsum,
      .cost = cost_reduce,
      .gradient = gradient_cumsum,
      .reference = reference_cumsum,
      .accuracy = {.c = 2, .depth = cumsum_length, .magnitude = magnitude_cumsum},
  };
  return *op;
}

OpList reduce_ops() {
  static const OpSchema* const ops[] = {&reduce_op(), &argmax_op(), &cumsum_op()};
  return ops;
}

}  // namespace heddle
