#include "heddle/systolic/tile.h"

#include <string>
#include <vector>

#include "heddle/error.h"
#include "systolic/isa/refusal.h"

namespace heddle::systolic {
namespace {

// Tiles and regions are both boxes of sizes and strides; T is the integer type of each.
template <class T>
struct Axes {
  std::vector<T> size, stride;
};

template <class Box, class T = typename decltype(Box::size)::value_type>
Axes<T> axes_of(const Box& box) {
  return {{box.size.begin(), box.size.begin() + box.rank},
          {box.stride.begin(), box.stride.begin() + box.rank}};
}

template <class Box, class T>
void set_axes(Box& box, const Axes<T>& axes, Where where, const char* what) {
  if (axes.size.size() > box.size.size())
    refuse(where, what, "has at most " + std::to_string(box.size.size()) + " dimensions");
  box.rank = static_cast<uint8_t>(axes.size.size());
  box.size.fill(0), box.stride.fill(0);
  for (size_t i = 0; i < axes.size.size(); ++i) box.size[i] = axes.size[i], box.stride[i] = axes.stride[i];
}

template <class Box>
size_t axis_of(const Box& box, int axis, Where where, const char* what) {
  const int rank = box.rank;
  if (axis < -rank || axis >= rank)
    refuse(where, what, "has no axis " + std::to_string(axis) + "; its rank is " + std::to_string(rank));
  return static_cast<size_t>(axis < 0 ? axis + rank : axis);
}

template <class Box>
void slice_box(Box& box, int axis, int64_t begin, int64_t count, int64_t step, Where where,
               const char* what) {
  const size_t a = axis_of(box, axis, where, what);
  const int64_t size = box.size[a];
  if (begin < 0 || count < 1 || step < 1 || begin + (count - 1) * step >= size)
    refuse(where, what,
           "slice of " + std::to_string(count) + " from " + std::to_string(begin) + " step " +
               std::to_string(step) + " does not fit in axis " + std::to_string(a) + " of size " +
               std::to_string(size));
  using T = typename decltype(Box::size)::value_type;
  box.offset = static_cast<decltype(box.offset)>(box.offset + begin * box.stride[a]);
  box.size[a] = static_cast<T>(count);
  box.stride[a] = static_cast<T>(box.stride[a] * step);
}

template <class Box>
void drop_axis(Box& box, size_t axis, Where where, const char* what) {
  auto axes = axes_of(box);
  axes.size.erase(axes.size.begin() + static_cast<std::ptrdiff_t>(axis));
  axes.stride.erase(axes.stride.begin() + static_cast<std::ptrdiff_t>(axis));
  set_axes(box, axes, where, what);
}

template <class Box>
void repeat_box(Box& box, int axis, int64_t count, Where where, const char* what) {
  auto axes = axes_of(box);
  const int rank = box.rank;
  const int a = axis < 0 ? axis + rank + 1 : axis;
  if (a < 0 || a > rank || count < 1) refuse(where, what, "cannot repeat at axis " + std::to_string(axis));
  using T = typename decltype(Box::size)::value_type;
  axes.size.insert(axes.size.begin() + a, static_cast<T>(count));
  axes.stride.insert(axes.stride.begin() + a, T{0});
  set_axes(box, axes, where, what);
}

template <class Box>
void permute_box(Box& box, std::initializer_list<int> order, Where where, const char* what) {
  const auto old = axes_of(box);
  auto axes = old;
  std::vector<bool> seen(old.size.size(), false);
  if (order.size() != old.size.size()) refuse(where, what, "permute needs every axis once");
  size_t i = 0;
  for (int from : order) {
    const size_t a = axis_of(box, from, where, what);
    if (seen[a]) refuse(where, what, "permute needs every axis once");
    seen[a] = true;
    axes.size[i] = old.size[a], axes.stride[i] = old.stride[a], ++i;
  }
  set_axes(box, axes, where, what);
}

// Walks old and new sizes together, innermost first: a group of old axes that steps evenly can be cut anew.
template <class Box, class Size>
void reshape_box(Box& box, std::span<const Size> sizes, Where where, const char* what) {
  using T = typename decltype(Box::size)::value_type;
  Axes<T> old;
  for (size_t i = 0; i < box.rank; ++i)
    if (box.size[i] != 1) old.size.push_back(box.size[i]), old.stride.push_back(box.stride[i]);
  int64_t elements = 1, wanted = 1;
  for (T s : old.size) elements *= s;
  for (Size s : sizes) wanted *= s;
  if (elements != wanted)
    refuse(where, what,
           "of " + std::to_string(elements) + " elements cannot be reshaped to " + std::to_string(wanted));
  Axes<T> made;
  made.size.assign(sizes.begin(), sizes.end());
  made.stride.assign(sizes.size(), T{1});
  size_t o = old.size.size();
  int64_t left = 1,
          stride = 1;  // elements left of the even run that ends at the current place, and its stride
  for (size_t n = sizes.size(); n-- > 0;) {
    if (sizes[n] == 1) continue;
    int64_t need = sizes[n];
    if (left == 1) {
      --o, left = old.size[o], stride = old.stride[o];
    }
    while (left % need != 0 || left < need) {
      // The new axis spans further out: the next old axis must continue the same even steps.
      if (o == 0 || old.stride[o - 1] != stride * left)
        refuse(where, what, "cannot be reshaped without moving elements");
      --o, left *= old.size[o];
    }
    made.stride[n] = static_cast<T>(stride);
    left /= need, stride *= need;
  }
  set_axes(box, made, where, what);
}

}  // namespace

int Tile::size(int axis) const { return view_.size[axis_of(view_, axis, Where::current(), "tile")]; }

Tile Tile::rows(int begin, int count, Where where) const {
  if (begin < 0 || count < 1 || begin + count > view_.partitions)
    refuse(where, "tile",
           "rows " + std::to_string(begin) + " to " + std::to_string(begin + count) + " lie outside its " +
               std::to_string(view_.partitions) + " partitions");
  Tile t = *this;
  t.view_.partition_start = static_cast<uint8_t>(view_.partition_start + begin);
  t.view_.partitions = static_cast<uint8_t>(count);
  return t;
}

Tile Tile::slice(int axis, int begin, int count, int step, Where where) const {
  Tile t = *this;
  slice_box(t.view_, axis, begin, count, step, where, "tile");
  return t;
}

Tile Tile::at(int axis, int index, Where where) const {
  Tile t = slice(axis, index, 1, 1, where);
  if (view_.rank > 1) drop_axis(t.view_, axis_of(view_, axis, where, "tile"), where, "tile");
  return t;
}

Tile Tile::reshape(std::span<const int> sizes, Where where) const {
  Tile t = *this;
  reshape_box(t.view_, sizes, where, "tile");
  return t;
}
Tile Tile::reshape(std::initializer_list<int> sizes, Where where) const {
  return reshape(std::span<const int>(sizes.begin(), sizes.size()), where);
}

Tile Tile::permute(std::initializer_list<int> order, Where where) const {
  Tile t = *this;
  permute_box(t.view_, order, where, "tile");
  return t;
}

Tile Tile::repeat(int axis, int count, Where where) const {
  Tile t = *this;
  repeat_box(t.view_, axis, count, where, "tile");
  return t;
}

Tile Tile::bitcast(DType dtype, Where where) const {
  if (size_of(dtype) != size_of(view_.dtype))
    refuse(where, "tile",
           std::string("of ") + dtype_name(view_.dtype) + " cannot be read as " + dtype_name(dtype) +
               ", which has another width");
  Tile t = *this;
  t.view_.dtype = dtype;
  return t;
}

Hbm::Hbm(uint32_t value, DType dtype, const Shape& shape, Where where) {
  if (shape.rank() < 1 || shape.rank() > region_rank_max)
    refuse(where, "hbm", "value must have rank 1 to 5, not " + to_string(shape));
  if (shape.elements() == 0) refuse(where, "hbm", "value " + to_string(shape) + " is empty");
  region_.value = value, region_.dtype = dtype, region_.rank = static_cast<uint8_t>(shape.rank());
  const auto strides = row_major_strides(shape);
  for (int i = 0; i < shape.rank(); ++i)
    region_.size[static_cast<size_t>(i)] = shape[i],
    region_.stride[static_cast<size_t>(i)] = strides[static_cast<size_t>(i)];
}

int64_t Hbm::size(int axis) const { return region_.size[axis_of(region_, axis, Where::current(), "region")]; }

Hbm Hbm::slice(int axis, int64_t begin, int64_t count, int64_t step, Where where) const {
  Hbm h = *this;
  slice_box(h.region_, axis, begin, count, step, where, "region");
  return h;
}

Hbm Hbm::at(int axis, int64_t index, Where where) const {
  Hbm h = slice(axis, index, 1, 1, where);
  if (region_.rank > 1) drop_axis(h.region_, axis_of(region_, axis, where, "region"), where, "region");
  return h;
}

Hbm Hbm::reshape(std::span<const int64_t> sizes, Where where) const {
  Hbm h = *this;
  reshape_box(h.region_, sizes, where, "region");
  return h;
}
Hbm Hbm::reshape(std::initializer_list<int64_t> sizes, Where where) const {
  return reshape(std::span<const int64_t>(sizes.begin(), sizes.size()), where);
}

Hbm Hbm::permute(std::initializer_list<int> order, Where where) const {
  Hbm h = *this;
  permute_box(h.region_, order, where, "region");
  return h;
}

Hbm Hbm::repeat(int axis, int64_t count, Where where) const {
  Hbm h = *this;
  repeat_box(h.region_, axis, count, where, "region");
  return h;
}

Hbm Hbm::box(int64_t offset, std::initializer_list<int64_t> sizes, std::initializer_list<int64_t> strides,
             Where where) const {
  if (sizes.size() != strides.size() || sizes.size() < 1 ||
      sizes.size() > static_cast<size_t>(region_rank_max))
    refuse(where, "region", "a box has one stride per size and one to five of them");
  const int64_t extent = region_.elements();
  int64_t last = offset;
  Hbm h = *this;
  h.region_.offset = region_.offset + offset;
  h.region_.rank = static_cast<uint8_t>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t size = sizes.begin()[i], stride = strides.begin()[i];
    if (size < 1 || stride < 0)
      refuse(where, "region", "a box needs sizes of one or more and no negative stride");
    last += (size - 1) * stride;
    h.region_.size[i] = size, h.region_.stride[i] = stride;
  }
  if (offset < 0 || last >= extent)
    refuse(where, "region",
           "the box reaches element " + std::to_string(last) + " of " + std::to_string(extent));
  return h;
}

Hbm Hbm::dynamic(int axis, const Tile& index, int64_t max, Where where) const {
  if (index.partitions() != 1 || index.free_elements() != 1 || index.dtype() != DType::int32 ||
      index.memory() != Memory::sbuf)
    refuse(where, "region", "a dynamic offset must be one int32 in SBUF");
  Hbm h = *this;
  h.region_.dynamic = true;
  h.region_.dynamic_stride = region_.stride[axis_of(region_, axis, where, "region")];
  h.region_.dynamic_max = max < 0 ? 0 : max;
  h.index_ = index.view();
  h.index_.role = Role::index;
  return h;
}

}  // namespace heddle::systolic
