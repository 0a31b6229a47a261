// Where elements are: every function here moves values unchanged. Axes count from the end when negative. Each
// throws heddle::Error (shape_mismatch, invalid_argument) naming the op and the operands.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "heddle/graph.h"

namespace heddle {

// Sizes for reshape: numbers, names, and at most one -1, which becomes what fits.
class NewSizes {
 public:
  NewSizes(std::initializer_list<Dim> sizes) : sizes_(sizes) {}
  NewSizes(std::vector<Dim> sizes) : sizes_(std::move(sizes)) {}                       // NOLINT
  NewSizes(const std::vector<int64_t>& sizes) : sizes_(sizes.begin(), sizes.end()) {}  // NOLINT
  NewSizes(const Dims& dims) : sizes_(dims.begin(), dims.end()) {}                     // NOLINT
  const std::vector<Dim>& sizes() const { return sizes_; }

 private:
  std::vector<Dim> sizes_;
};
// The same elements in row-major order: reshape(x, {"batch", -1}).
Value reshape(Value x, const NewSizes& sizes);
Value squeeze(Value x, int64_t axis);    // drops an axis of size 1
Value unsqueeze(Value x, int64_t axis);  // a new axis of size 1 at `axis` of the result

// Axis i of the result is axis order[i] of x.
Value transpose(Value x, const std::vector<int64_t>& order);
// The last two axes exchanged.
Value transpose(Value x);

// Stretches axes of size 1 and adds leading ones (NumPy's rules).
Value broadcast(Value x, const Dims& dims);

// Elements begin, begin + step, ... below end of one axis. Numbers count from the end when negative, and
// `end` stops at the size.
Value slice(Value x, int64_t axis, const Dim& begin, const Dim& end, int64_t step = 1);
// All axes at once: 0 <= begin <= end <= size; step 1 when left out.
Value slice(Value x, const Dims& begin, const Dims& end, const std::vector<int64_t>& step = {});
// Equal parts of one axis; its size must be divisible.
std::vector<Value> split(Value x, int64_t parts, int64_t axis);
// Parts of the given sizes, which add up to the axis.
std::vector<Value> split(Value x, const std::vector<int64_t>& sizes, int64_t axis);

// One after the other along `axis`; the other sizes agree.
Value concat(const std::vector<Value>& x, int64_t axis);

// `before[i]` and `after[i]` elements of `value` around axis i.
Value pad(Value x, const std::vector<int64_t>& before, const std::vector<int64_t>& after, double value = 0);

// The window of `size` at `start` (int64 [rank], known when the graph runs), moved to fit: start is clamped
// to [0, dims - size], as in XLA.
Value dynamic_slice(Value x, Value start, const Dims& size);
// x with the window at `start` replaced by `update`; the same clamp.
Value dynamic_update_slice(Value x, Value update, Value start);

// y[..., i, ...] = i along `axis`.
Value iota(Graph graph, const Dims& dims, int64_t axis = 0, DType dtype = i64);
// Every element is `value`.
Value full(Graph graph, double value, const Dims& dims, DType dtype = f32);
inline Value zeros(Graph graph, const Dims& dims, DType dtype = f32) { return full(graph, 0, dims, dtype); }

// A dense copy: what a device needs where a view would not do.
Value contiguous(Value x);

}  // namespace heddle
