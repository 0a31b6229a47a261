// The functions of heddle/ops/layout.h.
#include <algorithm>
#include <array>
#include <numeric>

#include "heddle/ops/layout.h"
#include "kernels/layout.h"
#include "kernels/shape_rules.h"

namespace heddle {
namespace {

using Ints = std::vector<int64_t>;

Value add_one(const OpSchema& op, std::initializer_list<Value> inputs, const Attributes& attributes) {
  return inputs.begin()->graph().add(op, {inputs.begin(), inputs.size()}, attributes)[0];
}

// A position along an axis of `size`: numbers below 0 count from the end.
Dim position(const Dim& at, const Dim& size) { return at.is_number() && at.number() < 0 ? size + at : at; }

}  // namespace

Value reshape(Value x, const NewSizes& wanted) {
  std::vector<Dim> sizes = wanted.sizes();
  const auto open = std::find(sizes.begin(), sizes.end(), Dim(-1));
  if (std::count(sizes.begin(), sizes.end(), Dim(-1)) > 1) {
    refuse_argument("reshape of " + x.name() + ": at most one size may be -1");
  }
  if (open != sizes.end()) {
    Dim others = 1;
    for (auto at = sizes.begin(); at != sizes.end(); ++at)
      if (at != open) others = others * *at;
    const Dim elements = x.dims().elements();
    const auto fits = others == Dim(0) ? std::nullopt : Dim::divide(elements, others);
    if (!fits) {
      refuse_shape("reshape of " + x.name() + ": no size for -1 makes " + to_string(elements) +
                   " elements out of " + to_string(others) + " for each");
    }
    *open = *fits;
  }
  const Dims dims(std::move(sizes));
  return dims == x.dims() ? x : add_one(reshape_op(), {x}, {{"shape", dims}});
}

Value squeeze(Value x, int64_t axis) {
  const int at = normalise_axis(axis, x.rank());
  if (x.dims()[at] != Dim(1)) {
    refuse_shape("squeeze of " + x.name() + ": axis " + std::to_string(axis) + " of " + to_string(x.dims()) +
                 " is not 1");
  }
  return reshape(x, without_axis(x.dims(), at));
}

Value unsqueeze(Value x, int64_t axis) {
  Dims dims = x.dims();
  dims.insert(normalise_axis(axis, x.rank() + 1), 1);
  return reshape(x, dims);
}

Value transpose(Value x, const Ints& order) {
  Ints positive = order;
  for (int64_t& axis : positive) axis = normalise_axis(axis, x.rank());
  if (std::is_sorted(positive.begin(), positive.end()) && static_cast<int>(order.size()) == x.rank() &&
      std::adjacent_find(positive.begin(), positive.end()) == positive.end()) {
    return x;
  }
  return add_one(transpose_op(), {x}, {{"order", positive}});
}

Value transpose(Value x) {
  if (x.rank() < 2)
    refuse_shape("transpose of " + x.name() + ": " + to_string(x.dims()) + " has no last two axes");
  Ints order(static_cast<size_t>(x.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return transpose(x, order);
}

Value broadcast(Value x, const Dims& dims) {
  return dims == x.dims() ? x : add_one(broadcast_op(), {x}, {{"shape", dims}});
}

Value slice(Value x, const Dims& begin, const Dims& end, const Ints& step) {
  const Ints by = step.empty() ? Ints(static_cast<size_t>(x.rank()), 1) : step;
  return add_one(slice_op(), {x}, {{"begin", begin}, {"end", end}, {"step", by}});
}

Value slice(Value x, int64_t axis, const Dim& begin, const Dim& end, int64_t step) {
  const int at = normalise_axis(axis, x.rank());
  const Dim size = x.dims()[at];
  Dims first(std::vector<Dim>(static_cast<size_t>(x.rank()), Dim(0))), last = x.dims();
  first[at] = position(begin, size);
  last[at] = position(end, size);
  // As in Python, `end` stops at the size and `begin` at the end.
  if (last[at].is_number() && size.is_number())
    last[at] = std::clamp<int64_t>(last[at].number(), 0, size.number());
  if (first[at].is_number() && last[at].is_number())
    first[at] = std::clamp<int64_t>(first[at].number(), 0, last[at].number());
  Ints by(static_cast<size_t>(x.rank()), 1);
  by[static_cast<size_t>(at)] = step;
  if (step == 1 && first[at] == Dim(0) && last[at] == size) return x;
  return slice(x, first, last, by);
}

std::vector<Value> split(Value x, int64_t parts, int64_t axis) {
  const int at = normalise_axis(axis, x.rank());
  constexpr int64_t most_parts = 65536;  // each is a node of the graph
  const auto size = parts > 0 && parts <= most_parts ? Dim::divide(x.dims()[at], parts) : std::nullopt;
  if (!size) {
    refuse_shape("split of " + x.name() + ": axis " + std::to_string(axis) + " of " + to_string(x.dims()) +
                 " has no " + std::to_string(parts) + " equal parts");
  }
  std::vector<Value> values;
  Dim begin = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const Dim end = begin + *size;
    values.push_back(slice(x, at, begin, end));
    begin = end;
  }
  return values;
}

std::vector<Value> split(Value x, const Ints& sizes, int64_t axis) {
  const int at = normalise_axis(axis, x.rank());
  bool fits = true;
  int64_t total = 0;
  for (const int64_t n : sizes) fits = fits && n >= 0 && !__builtin_add_overflow(total, n, &total);
  if (!fits || x.dims()[at] != Dim(total)) {
    refuse_shape("split of " + x.name() + ": the sizes " + to_string(AttributeValue(sizes)) +
                 " do not add up to axis " + std::to_string(axis) + " of " + to_string(x.dims()));
  }
  std::vector<Value> values;
  int64_t begin = 0;
  for (const int64_t n : sizes) {
    values.push_back(slice(x, at, begin, begin + n));
    begin += n;
  }
  return values;
}

Value concat(const std::vector<Value>& x, int64_t axis) {
  if (x.empty()) refuse_argument("concat: got no values");
  return x[0].graph().add(concat_op(), x, {{"axis", int64_t{normalise_axis(axis, x[0].rank())}}})[0];
}

Value pad(Value x, const Ints& before, const Ints& after, double value) {
  return add_one(pad_op(), {x}, {{"before", before}, {"after", after}, {"value", value}});
}

Value dynamic_slice(Value x, Value start, const Dims& size) {
  return add_one(dynamic_slice_op(), {x, start}, {{"size", size}});
}
Value dynamic_update_slice(Value x, Value update, Value start) {
  return add_one(dynamic_update_slice_op(), {x, update, start}, {});
}

Value iota(Graph graph, const Dims& dims, int64_t axis, DType dtype) {
  return graph.add(
      iota_op(), {},
      {{"shape", dims}, {"axis", int64_t{normalise_axis(axis, dims.rank())}}, {"dtype", dtype}})[0];
}

Value full(Graph graph, double value, const Dims& dims, DType dtype) {
  return broadcast(graph.scalar(value, dtype), dims);
}

Value contiguous(Value x) { return add_one(contiguous_op(), {x}, {}); }

}  // namespace heddle
