// Rotary position embedding: positions along partitions, heads and their vectors along rows, so that a row of
// the tables serves every head: y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin.
#include <algorithm>
#include <string>

#include "systolic/kernels/geometry.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {
namespace {

constexpr int64_t row_elements = 4096;  // of x in SBUF at once, with two float32 work tiles of half of it

// x [B,H,S,D] or [B,S,H,D] as the kernel walks it.
struct Layout {
  int64_t batch, heads, positions, size;
  int64_t head_step, position_step;  // elements

  Layout(const Shape& x, bool positions_first)
      : batch(x[0]),
        heads(x[positions_first ? 2 : 1]),
        positions(x[positions_first ? 1 : 2]),
        size(x[3]),
        head_step(positions_first ? size : positions * size),
        position_step(positions_first ? heads * size : size) {}
  Hbm part(const Hbm& flat, int64_t b, const Piece& p, const Piece& h) const {
    return flat.box(b * heads * positions * size + p.begin * position_step + h.begin * head_step,
                    {p.count, h.count, size}, {position_step, head_step, 1});
  }
};

void emit(const NodeContext& c) {
  NeuronCore& nc = c.nc;
  const Layout layout(c.inputs[0].shape, c.attributes.get<std::string>("layout") == "bshd");
  const bool inverse = c.attributes.get<bool>("inverse"), interleaved = c.attributes.get<bool>("interleaved");
  const int half = static_cast<int>(layout.size / 2), size = static_cast<int>(layout.size);
  TilePool in = nc.sbuf_pool("x", 2), out = nc.sbuf_pool("y", 2), tables = nc.sbuf_pool("tables", 4),
           work = nc.sbuf_pool("work", 4);
  const auto side = [&](const Tile& t, int which) {
    return interleaved ? t.slice(-1, which, half, 2) : t.slice(-1, which * half, half);
  };
  for (const Piece& p : pieces(layout.positions, 128)) {
    const int rows = static_cast<int>(p.count);
    const Tile cos = tables.tile(rows, {half}, DType::float32),
               sin = tables.tile(rows, {half}, DType::float32);
    nc.dma_load(cos, c.inputs[1].hbm.reshape({layout.positions, half}).rows(p.begin, p.count));
    nc.dma_load(sin, c.inputs[2].hbm.reshape({layout.positions, half}).rows(p.begin, p.count));
    for (int64_t b = 0; b < layout.batch; ++b)
      for (const Piece& h : pieces(layout.heads, std::max<int64_t>(1, row_elements / layout.size))) {
        const int heads = static_cast<int>(h.count);
        const Tile x = in.tile(rows, {heads, size}, c.inputs[0].dtype),
                   y = out.tile(rows, {heads, size}, c.outputs[0].dtype);
        nc.dma_load(x, layout.part(c.inputs[0].hbm, b, p, h));
        const Tile all_cos = cos.repeat(0, heads), all_sin = sin.repeat(0, heads);
        for (const int which : {0, 1}) {
          const Tile straight = work.tile(rows, {heads, half}, DType::float32),
                     crossed = work.tile(rows, {heads, half}, DType::float32);
          nc.tensor_tensor(straight, side(x, which), AluOp::multiply, all_cos);
          nc.tensor_tensor(crossed, side(x, 1 - which), AluOp::multiply, all_sin);
          const bool minus = (which == 0) != inverse;
          nc.tensor_tensor(side(y, which), straight, minus ? AluOp::subtract : AluOp::add, crossed);
        }
        nc.dma_store(layout.part(c.outputs[0].hbm, b, p, h), y);
      }
  }
}

backend::Offer offer(const backend::NodeRef& node) {
  if (node.input(0).dim(3) > row_elements)
    return backend::no("vectors of more than " + std::to_string(row_elements) +
                       " elements do not fit in SBUF");
  return floats_only(node);
}

constexpr Lowering lowerings[] = {{"rope", offer, emit}};

}  // namespace

std::span<const Lowering> rope_lowerings() { return lowerings; }

}  // namespace heddle::systolic
