// Data movement: DMA from HBM to HBM, with strides. A two-dimensional transpose goes through the tensor
// engine.
#include <algorithm>

#include "systolic/kernels/rows.h"
#include "systolic/kernels/transpose_tiles.h"

namespace heddle::systolic {
namespace {

constexpr int most_axes = 5;  // of a DMA

using Ints = std::vector<int64_t>;

Hbm shaped(const Operand& o) {
  const auto dims = o.shape.dims();
  return dims.empty() ? o.hbm : o.hbm.reshape(std::span<const int64_t>(dims));
}

void copy(NeuronCore& nc, const Hbm& out, const Hbm& in) { nc.dma_copy(out, in); }

void emit_copy(const NodeContext& c) { copy(c.nc, c.outputs[0].hbm, c.inputs[0].hbm); }

// The permutation with neighbours that stay together merged and axes of size one left out.
struct Permutation {
  Ints size;   // of the operand
  Ints order;  // axis i of the result is axis order[i] of the operand
};
Permutation merged(std::span<const int64_t> dims, std::span<const int64_t> order) {
  Ints kept;
  for (const int64_t axis : order)
    if (dims[static_cast<size_t>(axis)] != 1) kept.push_back(axis);
  // Runs of consecutive operand axes become one.
  std::vector<std::pair<int64_t, int64_t>> runs;  // first axis, size
  int64_t last = -2;
  for (const int64_t axis : kept) {
    bool follows = !runs.empty() && axis > last;
    for (int64_t between = last + 1; follows && between < axis; ++between)
      follows = dims[static_cast<size_t>(between)] == 1;
    if (follows)
      runs.back().second *= dims[static_cast<size_t>(axis)];
    else
      runs.emplace_back(axis, dims[static_cast<size_t>(axis)]);
    last = axis;
  }
  std::vector<size_t> by_axis(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) by_axis[i] = i;
  std::sort(by_axis.begin(), by_axis.end(),
            [&](size_t a, size_t b) { return runs[a].first < runs[b].first; });
  Permutation p;
  p.order.resize(runs.size());
  for (size_t rank = 0; rank < by_axis.size(); ++rank) {
    p.size.push_back(runs[by_axis[rank]].second);
    p.order[by_axis[rank]] = static_cast<int64_t>(rank);
  }
  return p;
}

void emit_transpose(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const Permutation p = merged(c.inputs[0].shape.dims(), c.attributes.get<Ints>("order"));
  const size_t axes = p.size.size();
  if (axes <= 1) return emit_copy(c);
  // The last axis of the result is contiguous in the operand: rows move whole.
  const bool rows_stay = p.order.back() == static_cast<int64_t>(axes) - 1;
  const bool engine_dtype = c.inputs[0].dtype == DType::float32 || c.inputs[0].dtype == DType::bfloat16;
  if (axes == 2 && !rows_stay && engine_dtype) {
    const int64_t rows = p.size[0], columns = p.size[1];
    MatrixLoader loader(nc, "turned", c.inputs[0].dtype, 2);
    const MatrixOperand in{c.inputs[0].hbm, 0, 1, columns};
    for (const Piece& k : pieces(columns, 128))
      for (const Piece& j : pieces(rows, 512))
        nc.dma_store(c.outputs[0].hbm.box(k.begin * rows + j.begin, {k.count, j.count}, {rows, 1}),
                     loader.load(in, k, j));
    return;
  }
  Hbm in = c.inputs[0].hbm.reshape(std::span<const int64_t>(p.size));
  Ints result_size;
  for (const int64_t axis : p.order) result_size.push_back(p.size[static_cast<size_t>(axis)]);
  // permute() takes a fixed list; build it by rank.
  const auto o = [&](size_t i) { return static_cast<int>(p.order[i]); };
  switch (axes) {
    case 2:
      in = in.permute({o(0), o(1)});
      break;
    case 3:
      in = in.permute({o(0), o(1), o(2)});
      break;
    case 4:
      in = in.permute({o(0), o(1), o(2), o(3)});
      break;
    default:
      in = in.permute({o(0), o(1), o(2), o(3), o(4)});
      break;
  }
  copy(nc, c.outputs[0].hbm.reshape(std::span<const int64_t>(result_size)), in);
}

void emit_broadcast(const NodeContext& c) {
  const Shape shapes[] = {c.inputs[0].shape};
  const IterationSpace space = iteration_space(c.outputs[0].shape, shapes);
  const auto& size = space.size;
  const auto& stride = space.stride[0];
  Hbm in;
  switch (size.size()) {
    case 1:
      in = c.inputs[0].hbm.box(0, {size[0]}, {stride[0]});
      break;
    case 2:
      in = c.inputs[0].hbm.box(0, {size[0], size[1]}, {stride[0], stride[1]});
      break;
    case 3:
      in = c.inputs[0].hbm.box(0, {size[0], size[1], size[2]}, {stride[0], stride[1], stride[2]});
      break;
    case 4:
      in = c.inputs[0].hbm.box(0, {size[0], size[1], size[2], size[3]},
                               {stride[0], stride[1], stride[2], stride[3]});
      break;
    default:
      in = c.inputs[0].hbm.box(0, {size[0], size[1], size[2], size[3], size[4]},
                               {stride[0], stride[1], stride[2], stride[3], stride[4]});
      break;
  }
  copy(c.nc, c.outputs[0].hbm.reshape(std::span<const int64_t>(size)), in);
}

void emit_slice(const NodeContext& c) {
  const Dims begin = c.attributes.get<Dims>("begin");
  const auto& step = c.attributes.get<Ints>("step");
  Hbm in = shaped(c.inputs[0]);
  for (int axis = 0; axis < c.outputs[0].shape.rank(); ++axis)
    in = in.slice(axis, begin[axis].number(), c.outputs[0].shape[axis], step[static_cast<size_t>(axis)]);
  copy(c.nc, shaped(c.outputs[0]), in);
}

void emit_concat(const NodeContext& c) {
  const int axis = static_cast<int>(c.attributes.get<int64_t>("axis"));
  int64_t at = 0;
  for (const Operand& o : c.inputs) {
    copy(c.nc, shaped(c.outputs[0]).slice(axis, at, o.shape[axis]), shaped(o));
    at += o.shape[axis];
  }
}

// `value` in every element.
void fill(NeuronCore& nc, const Operand& out, double value) {
  TilePool pool = nc.sbuf_pool("fill", 1);
  const int64_t n = out.elements();
  const int64_t columns = std::clamp<int64_t>(n / 128, 1, 2048);
  const Tile tile = pool.tile(static_cast<int>(std::min<int64_t>(128, n / columns)),
                              {static_cast<int>(columns)}, out.dtype);
  nc.memset(tile, static_cast<float>(value));
  const int64_t whole = tile.partitions() * columns;
  int64_t at = 0;
  for (; at + whole <= n; at += whole)
    nc.dma_store(out.hbm.box(at, {tile.partitions(), columns}, {columns, 1}), tile);
  for (; at < n; at += std::min(columns, n - at)) {
    const int64_t count = std::min(columns, n - at);
    nc.dma_store(out.hbm.box(at, {1, count}, {count, 1}), tile.rows(0, 1).cols(0, static_cast<int>(count)));
  }
}

void emit_pad(const NodeContext& c) {
  fill(c.nc, c.outputs[0], c.attributes.get<double>("value"));
  const auto& before = c.attributes.get<Ints>("before");
  Hbm out = shaped(c.outputs[0]);
  for (int axis = 0; axis < c.inputs[0].shape.rank(); ++axis)
    out = out.slice(axis, before[static_cast<size_t>(axis)], c.inputs[0].shape[axis]);
  copy(c.nc, out, shaped(c.inputs[0]));
}

backend::Offer movable(const backend::NodeRef& node) {
  for (uint32_t i = 0; i < node.inputs(); ++i) {
    const backend::ValueRef v = node.input(i);
    if (v.dtype() == HD_DTYPE_FLOAT64 || v.dtype() == HD_DTYPE_INT64 || v.dtype() == HD_DTYPE_UINT64)
      return backend::no(v.text() + ": the NeuronCore has no 64-bit elements");
  }
  return backend::yes();
}
backend::Offer few_axes(const backend::NodeRef& node) {
  const backend::Offer o = movable(node);
  if (!o.accepted) return o;
  for (uint32_t i = 0; i < node.inputs(); ++i)
    if (node.input(i).rank() > most_axes) return backend::no("a DMA has at most five axes");
  return node.output(0).rank() > most_axes ? backend::no("a DMA has at most five axes") : backend::yes();
}
backend::Offer offer_pad(const backend::NodeRef& node) {
  const backend::Offer o = few_axes(node);
  if (!o.accepted) return o;
  const uint32_t d = node.input(0).dtype();
  return d == HD_DTYPE_FLOAT32 || d == HD_DTYPE_BFLOAT16 ? backend::yes()
                                                         : backend::no("pads float32 and bfloat16 only");
}

constexpr Lowering lowerings[] = {{"reshape", movable, emit_copy},
                                  {"contiguous", movable, emit_copy},
                                  {"transpose", few_axes, emit_transpose},
                                  {"broadcast", few_axes, emit_broadcast},
                                  {"slice", few_axes, emit_slice},
                                  {"concat", few_axes, emit_concat},
                                  {"pad", offer_pad, emit_pad}};

}  // namespace

std::span<const Lowering> layout_lowerings() { return lowerings; }

}  // namespace heddle::systolic
