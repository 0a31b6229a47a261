// Layout ops that cut and join: slice, concat, pad, dynamic_slice, dynamic_update_slice.
#include <algorithm>

#include "heddle/ops/layout.h"
#include "kernels/catalogue.h"
#include "kernels/layout.h"
#include "kernels/reference_math.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

Cost cost_move(const CostCall& call) { return streaming_cost(call); }
// Only the window moves.
Cost cost_result_twice(const CostCall& call) {
  const double bytes = elements_of(call.outputs[0]) * static_cast<double>(size_of(call.outputs[0].dtype));
  return {0, 2 * bytes};
}

bool is_negative(const Dim& d) { return d.is_number() && d.number() < 0; }

// ---- slice

Dim sliced_size(const Dim& begin, const Dim& end, int64_t step) {
  const Dim length = end - begin;
  if (length.is_number()) return (length.number() + step - 1) / step;
  const auto steps = Dim::divide(length, step);
  if (!steps) {
    refuse_shape("the length " + to_string(length) + " is not known to be a multiple of the step " +
                 std::to_string(step) + "; use numbers, or step 1");
  }
  return *steps;
}

std::vector<ValueType> infer_slice(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const Dims &begin = call.attributes.get<Dims>("begin"), &end = call.attributes.get<Dims>("end");
  const auto& step = call.attributes.get<Ints>("step");
  const int rank = x.dims.rank();
  if (begin.rank() != rank || end.rank() != rank || step.size() != static_cast<size_t>(rank)) {
    refuse_argument("begin, end and step need one entry for each of the " + std::to_string(rank) + " axes");
  }
  Dims dims;
  for (int i = 0; i < rank; ++i) {
    const int64_t by = step[static_cast<size_t>(i)];
    if (by < 1)
      refuse_argument("the step of axis " + std::to_string(i) + " is " + std::to_string(by) +
                      ", but must be positive");
    if (is_negative(end[i] - begin[i]) || is_negative(x.dims[i] - end[i])) {
      refuse_argument("axis " + std::to_string(i) + ": " + to_string(begin[i]) + " to " + to_string(end[i]) +
                      " is not inside its size " + to_string(x.dims[i]));
    }
    dims.push_back(sliced_size(begin[i], end[i], by));
  }
  return {{x.dtype, dims}};
}

// `x` between zeros, `before` and `after` of them along `axis`.
Value surround(Value x, int axis, const Dim& before, const Dim& after) {
  const auto rank = static_cast<size_t>(x.rank());
  if (before.is_number() && after.is_number()) {
    Ints low(rank, 0), high(rank, 0);
    low[static_cast<size_t>(axis)] = before.number();
    high[static_cast<size_t>(axis)] = after.number();
    return pad(x, low, high);
  }
  const auto zeros_of = [&](const Dim& size) {
    Dims dims = x.dims();
    dims[axis] = size;
    return zeros(x.graph(), dims, x.dtype());
  };
  return concat({zeros_of(before), x, zeros_of(after)}, axis);
}

std::vector<Value> gradient_slice(const GradientCall& call) {
  const Dims &begin = call.node.attributes.get<Dims>("begin"), &end = call.node.attributes.get<Dims>("end");
  const auto& step = call.node.attributes.get<Ints>("step");
  const Value x = call.inputs[0];
  Value g = call.output_gradients[0];
  for (int i = 0; i < x.rank(); ++i) {
    const int64_t by = step[static_cast<size_t>(i)];
    Dim after = x.dims()[i] - end[i];
    if (by >
        1) {  // spread the elements out: gap by gap along a new axis, then drop what is past the last element
      Dims flat = g.dims();
      flat[i] = flat[i] * by;
      Value spread = surround(unsqueeze(g, i + 1), i + 1, 0, by - 1);
      spread = reshape(spread, flat);
      g = slice(spread, i, 0, end[i] - begin[i]);
    }
    if (begin[i] != Dim(0) || after != Dim(0)) g = surround(g, i, begin[i], after);
  }
  return {g};
}

void reference_slice(const ReferenceCall& call) {
  const Shape begin = call.attributes.get<Dims>("begin").shape(),
              end = call.attributes.get<Dims>("end").shape();
  const auto& step = call.attributes.get<Ints>("step");
  Tensor view = call.inputs[0];
  for (int i = 0; i < begin.rank(); ++i) view = view.slice(i, begin[i], end[i], step[static_cast<size_t>(i)]);
  reference::copy_view(call.outputs[0], view);
}

// ---- concat and pad

std::vector<ValueType> infer_concat(const InferCall& call) {
  if (call.inputs.empty()) refuse_argument("needs at least one operand");
  ValueType result = operand(call, 0);
  const int axis = checked_axis(call.attributes, "axis", result.dims.rank());
  for (size_t i = 1; i < call.inputs.size(); ++i) {
    const ValueType& x = operand(call, i);
    const std::string name = "operand " + std::to_string(i);
    expect_same_dtype("operand 0", result, name.c_str(), x);
    Dims expected = result.dims;
    if (x.dims.rank() == expected.rank()) expected[axis] = x.dims[axis];
    if (x.dims != expected) {
      refuse_shape(name + " is " + to_string(x.dims) + ", but operand 0 is " +
                   to_string(call.inputs[0]->dims) + ": only the sizes of axis " + std::to_string(axis) +
                   " may differ");
    }
    result.dims[axis] = result.dims[axis] + x.dims[axis];
  }
  return {result};
}

std::vector<Value> gradient_concat(const GradientCall& call) {
  const int axis = static_cast<int>(call.node.attributes.get<int64_t>("axis"));
  std::vector<Value> gradients;
  Dim begin = 0;
  for (const Value& x : call.inputs) {
    const Dim end = begin + x.dims()[axis];
    gradients.push_back(slice(call.output_gradients[0], axis, begin, end));
    begin = end;
  }
  return gradients;
}

void reference_concat(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  const int axis = static_cast<int>(call.attributes.get<int64_t>("axis"));
  const reference::AxisView to(y.shape(), axis);
  int64_t begin = 0;
  for (const Tensor& x : call.inputs) {
    const reference::AxisView from(x.shape(), axis);
    for (int64_t o = 0; o < from.outer; ++o)
      reference::copy_element(y, to.at(o, begin, 0), x, from.at(o, 0, 0), from.length * from.inner);
    begin += from.length;
  }
}

std::vector<ValueType> infer_pad(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  const auto &before = call.attributes.get<Ints>("before"), &after = call.attributes.get<Ints>("after");
  if (before.size() != after.size() || before.size() != static_cast<size_t>(x.dims.rank())) {
    refuse_argument("before and after need one entry for each of the " + std::to_string(x.dims.rank()) +
                    " axes");
  }
  Dims dims;
  for (int i = 0; i < x.dims.rank(); ++i) {
    const int64_t low = before[static_cast<size_t>(i)], high = after[static_cast<size_t>(i)];
    if (low < 0 || high < 0) refuse_argument("before and after must not be negative; use slice to cut");
    dims.push_back(x.dims[i] + Dim(low) + Dim(high));
  }
  return {{x.dtype, dims}};
}

std::vector<Value> gradient_pad(const GradientCall& call) {
  const auto& before = call.node.attributes.get<Ints>("before");
  const Dims& dims = call.inputs[0].dims();
  Dims begin, end;
  for (int i = 0; i < dims.rank(); ++i) {
    begin.push_back(before[static_cast<size_t>(i)]);
    end.push_back(begin[i] + dims[i]);
  }
  return {slice(call.output_gradients[0], begin, end)};
}

void reference_pad(const ReferenceCall& call) {
  const Tensor& x = call.inputs[0];
  Tensor& y = call.outputs[0];
  reference::copy_view(y, Tensor::full(call.attributes.get<double>("value"), y.dtype(), y.shape()));
  const auto& before = call.attributes.get<Ints>("before");
  const auto stride = row_major_strides(y.shape());
  int64_t from = 0;
  reference::for_each_index(x.shape(), [&](std::span<const int64_t> index) {
    int64_t to = 0;
    for (size_t i = 0; i < index.size(); ++i) to += (index[i] + before[i]) * stride[i];
    reference::copy_element(y, to, x, from++);
  });
}

// ---- dynamic windows

void expect_start(const InferCall& call, size_t i, int rank) {
  const ValueType& start = operand(call, i);
  if (start.dtype != DType::int64)
    refuse_dtype(std::string("start is ") + dtype_name(start.dtype) + ", but must be int64; use convert");
  expect_dims("start", start, {rank});
}

void expect_window(const Dims& window, const Dims& dims) {
  if (window.rank() != dims.rank()) {
    refuse_shape("the window " + to_string(window) + " and x " + to_string(dims) + " differ in rank");
  }
  for (int i = 0; i < dims.rank(); ++i) {
    if (is_negative(dims[i] - window[i])) {
      refuse_shape("the window " + to_string(window) + " does not fit in x " + to_string(dims) + " (axis " +
                   std::to_string(i) + ")");
    }
  }
}

std::vector<ValueType> infer_dynamic_slice(const InferCall& call) {
  const ValueType& x = operand(call, 0);
  expect_start(call, 1, x.dims.rank());
  const Dims& size = call.attributes.get<Dims>("size");
  expect_window(size, x.dims);
  return {{x.dtype, size}};
}

std::vector<ValueType> infer_dynamic_update_slice(const InferCall& call) {
  const ValueType &x = operand(call, 0), &update = operand(call, 1);
  expect_same_dtype("x", x, "update", update);
  expect_start(call, 2, x.dims.rank());
  expect_window(update.dims, x.dims);
  return {x};
}

std::vector<Value> gradient_dynamic_slice(const GradientCall& call) {
  const Value x = call.inputs[0];
  return {
      dynamic_update_slice(zeros(call.graph, x.dims(), x.dtype()), call.output_gradients[0], call.inputs[1]),
      {}};
}

std::vector<Value> gradient_dynamic_update_slice(const GradientCall& call) {
  const Value g = call.output_gradients[0], update = call.inputs[1], start = call.inputs[2];
  return {dynamic_update_slice(g, zeros(call.graph, update.dims(), update.dtype()), start),
          dynamic_slice(g, start, update.dims()),
          {}};
}

// Where element `index` of the window lies in x, with the start clamped.
class Window {
 public:
  Window(const Tensor& start, const Shape& x, const Shape& window) : stride_(row_major_strides(x)) {
    const std::vector<int64_t> at = reference::integers(start);
    for (size_t i = 0; i < at.size(); ++i) {
      const int axis = static_cast<int>(i);
      offset_ += std::clamp<int64_t>(at[i], 0, x[axis] - window[axis]) * stride_[i];
    }
  }
  int64_t operator()(std::span<const int64_t> index) const {
    int64_t flat = offset_;
    for (size_t i = 0; i < index.size(); ++i) flat += index[i] * stride_[i];
    return flat;
  }

 private:
  std::array<int64_t, max_rank> stride_;
  int64_t offset_ = 0;
};

void reference_dynamic_slice(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  const Window window(call.inputs[1], call.inputs[0].shape(), y.shape());
  int64_t to = 0;
  reference::for_each_index(y.shape(), [&](std::span<const int64_t> index) {
    reference::copy_element(y, to++, call.inputs[0], window(index));
  });
}

void reference_dynamic_update_slice(const ReferenceCall& call) {
  Tensor& y = call.outputs[0];
  const Tensor& update = call.inputs[1];
  reference::copy_view(y, call.inputs[0]);
  const Window window(call.inputs[2], y.shape(), update.shape());
  int64_t from = 0;
  reference::for_each_index(update.shape(), [&](std::span<const int64_t> index) {
    reference::copy_element(y, window(index), update, from++);
  });
}

}  // namespace

const OpSchema& slice_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "slice",
      .family = "layout",
      .summary = "y = x[begin:end:step] along every axis",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "size ceil((end - begin) / step) along every axis"}},
      .attributes = {{"begin", "dims", nullptr, "first index, one per axis"},
                     {"end", "dims", nullptr, "one past the last, at most the size"},
                     {"step", "ints", nullptr, "positive, one per axis"}},
      .infer = infer_slice,
      .cost = cost_result_twice,
      .gradient = gradient_slice,
      .reference = reference_slice,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& concat_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "concat",
      .family = "layout",
      .summary = "y = x0, x1, ... one after the other along axis",
      .inputs = {{"x", "one or more of one dtype; only the sizes of the axis may differ",
                  OperandDoc::Arity::variadic}},
      .outputs = {{"y", "the sizes of the axis added up"}},
      .attributes = {{"axis", "int", nullptr, "not negative"}},
      .infer = infer_concat,
      .cost = cost_move,
      .gradient = gradient_concat,
      .reference = reference_concat,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& pad_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "pad",
      .family = "layout",
      .summary = "y = x with before[i] and after[i] elements of value around axis i",
      .inputs = {{"x", "any dtype"}},
      .outputs = {{"y", "size before + size + after along every axis"}},
      .attributes = {{"before", "ints", nullptr, "one per axis, not negative"},
                     {"after", "ints", nullptr, "one per axis, not negative"},
                     {"value", "float", "0", "converted to the dtype of x"}},
      .infer = infer_pad,
      .cost = cost_move,
      .gradient = gradient_pad,
      .reference = reference_pad,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& dynamic_slice_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "dynamic_slice",
      .family = "layout",
      .summary = "y = the window of x at start, start clamped to [0, dims - size]",
      .inputs = {{"x", "any dtype"}, {"start", "int64 [rank of x]"}},
      .outputs = {{"y", "of the given sizes"}},
      .attributes = {{"size", "dims", nullptr, "of the window"}},
      .infer = infer_dynamic_slice,
      .cost = cost_result_twice,
      .gradient = gradient_dynamic_slice,
      .reference = reference_dynamic_slice,
      .accuracy = {.exact = true},
  };
  return *op;
}

const OpSchema& dynamic_update_slice_op() {
  static const OpSchema* const op = new OpSchema{
      .name = "dynamic_update_slice",
      .family = "layout",
      .summary =
          "y = x with the window at start replaced by update, start clamped to [0, dims - size of update]",
      .inputs = {{"x", "any dtype"},
                 {"update", "the dtype of x, no axis larger than that of x"},
                 {"start", "int64 [rank of x]"}},
      .outputs = {{"y", "like x"}},
      .attributes = {},
      .infer = infer_dynamic_update_slice,
      .cost = cost_move,
      .gradient = gradient_dynamic_update_slice,
      .reference = reference_dynamic_update_slice,
      .accuracy = {.exact = true},
  };
  return *op;
}

}  // namespace heddle
