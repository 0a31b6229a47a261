#include "kernels/sort.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "heddle/ops/gather.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "heddle/ops/sort.h"
#include "kernels/catalogue.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

std::vector<ValueType> infer_sort(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  checked_axis(call.attributes, "axis", x.dims.rank());
  return {x, {DType::int64, x.dims}};
}

std::vector<ValueType> infer_topk(const InferCall& call) {
  ValueType y = operand(call, 0);
  const int axis = checked_axis(call.attributes, "axis", y.dims.rank());
  const int64_t k = call.attributes.get<int64_t>("k");
  const Dim& size = y.dims[axis];
  if (k < 0 || (size.is_number() && k > size.number())) {
    refuse_argument("k is " + std::to_string(k) + ", but axis " + std::to_string(axis) + " has " +
                    to_string(size) + " elements");
  }
  y.dims[axis] = k;
  return {y, {DType::int64, y.dims}};
}

// n log2 n comparisons (the usual count; assumption).
Cost cost_sort(const CostCall& call) {
  const double n = static_cast<double>(
      call.inputs[0]->dims[static_cast<int>(call.attributes.get<int64_t>("axis"))].number());
  return streaming_cost(call, elements_of(*call.inputs[0]) * std::log2(std::max(n, 2.0)));
}
Cost cost_topk(const CostCall& call) {
  const auto k = static_cast<double>(call.attributes.get<int64_t>("k"));
  return streaming_cost(call, elements_of(*call.inputs[0]) * std::log2(std::max(k, 2.0)));
}

// Element (o, i, n) of the gradient goes to where element indices(o, i, n) of the axis was: a scatter over
// all elements in a row, with the axis moved to the end.
std::vector<Value> gradient_sort(const GradientCall& call) {
  if (!call.output_gradients[0]) return {Value()};
  const Value x = call.inputs[0];
  const int axis = static_cast<int>(call.node.attributes.get<int64_t>("axis")), rank = x.rank();
  Ints to_last(static_cast<size_t>(rank));
  std::iota(to_last.begin(), to_last.end(), 0);
  std::rotate(to_last.begin() + axis, to_last.begin() + axis + 1, to_last.end());
  Ints back(to_last.size());
  for (size_t i = 0; i < back.size(); ++i) back[static_cast<size_t>(to_last[i])] = static_cast<int64_t>(i);

  Dims moved;
  for (const int64_t a : to_last) moved.push_back(x.dims()[static_cast<int>(a)]);
  const Value g = transpose(call.output_gradients[0], to_last), indices = transpose(call.outputs[1], to_last);
  // Position of the first element of each line.
  const Value positions = reshape(iota(call.graph, {moved.elements()}, 0, DType::int64), moved);
  const Value line = slice(positions, rank - 1, 0, 1);
  const Value flat = reshape(add(indices, line), {indices.dims().elements()});
  const Value sums =
      scatter_add(zeros(call.graph, {moved.elements()}, g.dtype()), flat, reshape(g, {g.dims().elements()}));
  return {transpose(reshape(sums, moved), back)};
}

// Order of the elements of each line. NaN counts as larger than every number.
template <class T>
bool before(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a);
  }
  return a < b;
}

template <class T>
void sort_lines(const std::vector<T>& keys, const ReferenceCall& call, int64_t keep, bool descending) {
  const Tensor& x = call.inputs[0];
  const int axis = static_cast<int>(call.attributes.get<int64_t>("axis"));
  const reference::AxisView from(x.shape(), axis), to(call.outputs[0].shape(), axis);
  Ints order(static_cast<size_t>(from.length)), indices(static_cast<size_t>(call.outputs[1].elements()));
  for (int64_t o = 0; o < from.outer; ++o) {
    for (int64_t n = 0; n < from.inner; ++n) {
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        const T &ka = keys[static_cast<size_t>(from.at(o, a, n))],
                &kb = keys[static_cast<size_t>(from.at(o, b, n))];
        if constexpr (std::is_floating_point_v<T>) {
          if (std::isnan(ka) && std::isnan(kb)) return false;
        }
        return descending ? before(kb, ka) : before(ka, kb);
      });
      for (int64_t i = 0; i < keep; ++i) {
        const int64_t taken = order[static_cast<size_t>(i)];
        reference::copy_element(call.outputs[0], to.at(o, i, n), x, from.at(o, taken, n));
        indices[static_cast<size_t>(to.at(o, i, n))] = taken;
      }
    }
  }
  reference::store(call.outputs[1], indices);
}

void sort_any(const ReferenceCall& call, int64_t keep, bool descending) {
  const Tensor& x = call.inputs[0];
  if (is_float(x.dtype())) return sort_lines(reference::reals(x), call, keep, descending);
  const Ints keys = reference::integers(x);
  if (x.dtype() == DType::uint64)
    return sort_lines(std::vector<uint64_t>(keys.begin(), keys.end()), call, keep, descending);
  sort_lines(keys, call, keep, descending);
}

void reference_sort(const ReferenceCall& call) {
  const int axis = static_cast<int>(call.attributes.get<int64_t>("axis"));
  sort_any(call, call.inputs[0].shape()[axis], call.attributes.get<bool>("descending"));
}
void reference_topk(const ReferenceCall& call) {
  sort_any(call, call.attributes.get<int64_t>("k"), call.attributes.get<bool>("largest"));
}

}  // namespace

Sorted sort(Value x, int64_t axis, bool descending) {
  const auto y =
      x.graph().add(sort_op(), std::array{x},
                    {{"axis", int64_t{normalise_axis(axis, x.rank())}}, {"descending", descending}});
  return {y[0], y[1]};
}

Sorted topk(Value x, int64_t k, int64_t axis, bool largest) {
  const auto y =
      x.graph().add(topk_op(), std::array{x},
                    {{"axis", int64_t{normalise_axis(axis, x.rank())}}, {"k", k}, {"largest", largest}});
  return {y[0], y[1]};
}

const OpSchema& sort_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "sort",
      .family = "sort",
      .summary = "values = x sorted along axis; equal elements keep their order",
      .inputs = {{"x", "any dtype; NaN counts as larger than every number"}},
      .outputs = {{"values", "like x"}, {"indices", "int64: where each value was along the axis"}},
      .attributes = {{"axis", "int", nullptr, "not negative"},
                     {"descending", "bool", "false", "largest first"}},
      .infer = infer_sort,
      .cost = cost_sort,
      .gradient = gradient_sort,
      .reference = reference_sort,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& topk_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "topk",
      .family = "sort",
      .summary =
          "values = the k largest (or smallest) elements of x along axis, sorted; of equal ones the first",
      .inputs = {{"x", "any dtype; NaN counts as larger than every number"}},
      .outputs = {{"values", "like x with k elements along the axis"},
                  {"indices", "int64: where each value was along the axis"}},
      .attributes = {{"axis", "int", nullptr, "not negative"},
                     {"k", "int", nullptr, "at most the size of the axis"},
                     {"largest", "bool", "true", "false: the smallest"}},
      .infer = infer_topk,
      .cost = cost_topk,
      .gradient = gradient_sort,
      .reference = reference_topk,
      .accuracy = {.exact = true},
  };
  return *op;
}

OpList sort_ops() {
  static const OpSchema* const ops[] = {&sort_op(), &topk_op()};
  return ops;
}

}  // namespace heddle
