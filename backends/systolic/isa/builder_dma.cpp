// The DMA instructions of the kernel builder.
#include "heddle/systolic/builder.h"
#include "systolic/isa/builder_impl.h"

namespace heddle::systolic {
namespace {

// "[128, 512] float32"
std::string region_text(const Hbm& hbm) {
  std::string text("[");
  for (int i = 0; i < hbm.rank(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(hbm.size(i));
  }
  return text + "] " + dtype_name(hbm.dtype());
}

Engine trigger_of(const Draft& draft, const DmaOptions& options, Engine preset) {
  if (options.trigger == Engine::pe) return preset;
  draft.require(options.trigger <= Engine::sp, "trigger must be act, dve, gpsimd or sp");
  return options.trigger;
}

void accumulation(Draft& draft, const DmaOptions& options) {
  draft.require(options.accumulate == AluOp::bypass || options.accumulate == AluOp::add,
                "accumulates by add only");
  draft.instruction.op0 = options.accumulate;
}

// [P, free...] of a tile against a region with the same sizes; a lone partition may be left out of the
// region, and dimensions of size 1 do not count.
void match(const Draft& draft, const Tile& tile, const Hbm& hbm) {
  if (tile.partitions() == hbm.size(0)) {
    bool same = true;
    int a = 1;
    for (int f = 0; f < tile.rank(); ++f) {
      if (tile.size(f) == 1) continue;
      while (a < hbm.rank() && hbm.size(a) == 1) ++a;
      same = same && a < hbm.rank() && hbm.size(a) == tile.size(f);
      ++a;
    }
    while (a < hbm.rank() && hbm.size(a) == 1) ++a;
    if (same && a >= hbm.rank()) return;
    // Equal element counts match when both sides are cut alike in row-major order.
    if (hbm.elements() == tile.partitions() * tile.free_elements()) return;
  }
  draft.reject("tile " + shape_text(tile.view()) + " and region " + region_text(hbm) +
               " differ; a region is [partitions, free...]");
}

void writable(const Draft& draft, const Hbm& hbm) {
  for (int i = 0; i < hbm.rank(); ++i)
    if (hbm.region().stride[static_cast<size_t>(i)] == 0 && hbm.size(i) > 1)
      draft.reject("the destination repeats elements (stride 0)");
}

}  // namespace

void NeuronCore::dma_load(const Tile& out, const Hbm& in, DmaOptions options, Where where) {
  Draft draft = impl_->begin(Opcode::dma_load, Engine::sp, where);
  draft.instruction.engine = trigger_of(draft, options, impl_->device->dma.load_trigger);
  accumulation(draft, options);
  draft.region(in).out(out);
  match(draft, out, in);
  impl_->commit(draft);
}

void NeuronCore::dma_load_transposed(const Tile& out, const Hbm& in, DmaOptions options, Where where) {
  Draft draft = impl_->begin(Opcode::dma_load, Engine::sp, where);
  draft.instruction.engine = trigger_of(draft, options, impl_->device->dma.load_trigger);
  draft.instruction.transposed = true;
  draft.require(options.accumulate == AluOp::bypass, "transposes without accumulating");
  draft.require(in.rank() == 2 && out.rank() == 1, "transposes two dimensions");
  draft.require(size_of(in.dtype()) == 2 || size_of(in.dtype()) == 4,
                "transposes two- and four-byte elements");
  draft.require(in.dtype() == out.dtype(), "does not cast while transposing");
  if (in.size(1) != out.partitions() || in.size(0) != out.free_elements())
    draft.reject("tile " + shape_text(out.view()) + " is not the transpose of region " + region_text(in));
  draft.region(in).out(out);
  impl_->commit(draft);
}

void NeuronCore::dma_store(const Hbm& out, const Tile& in, DmaOptions options, Where where) {
  Draft draft = impl_->begin(Opcode::dma_store, Engine::sp, where);
  draft.instruction.engine = trigger_of(draft, options, impl_->device->dma.store_trigger);
  accumulation(draft, options);
  draft.region(out).in(in, Role::in0);
  match(draft, in, out);
  writable(draft, out);
  impl_->commit(draft);
}

void NeuronCore::dma_copy(const Tile& out, const Tile& in, DmaOptions options, Where where) {
  Draft draft = impl_->begin(Opcode::dma_copy, Engine::sp, where);
  draft.instruction.engine = trigger_of(draft, options, impl_->device->dma.load_trigger);
  accumulation(draft, options);
  draft.out(out).in(in, Role::in0);
  // Partitions may change: [1, 128*n] to [128, n] and back is what this is for.
  if (out.partitions() * out.free_elements() != in.partitions() * in.free_elements())
    draft.reject("operands " + shape_text(out.view()) + " and " + shape_text(in.view()) +
                 " differ in elements");
  impl_->commit(draft);
}

void NeuronCore::dma_copy(const Hbm& out, const Hbm& in, DmaOptions options, Where where) {
  Draft draft = impl_->begin(Opcode::dma_hbm, Engine::sp, where);
  draft.instruction.engine = trigger_of(draft, options, impl_->device->dma.load_trigger);
  accumulation(draft, options);
  draft.region(in).region(out);
  if (out.elements() != in.elements())
    draft.reject("regions " + region_text(out) + " and " + region_text(in) + " differ in elements");
  writable(draft, out);
  impl_->commit(draft);
}

void NeuronCore::dma_gather(const Tile& out, const Hbm& table, const Tile& index, Bounds bounds,
                            Where where) {
  Draft draft = impl_->begin(Opcode::dma_gather, Engine::gpsimd, where);
  draft.instruction.skip = bounds == Bounds::skip;
  draft.region(table).out(out).in(index, Role::index);
  draft.require(index.dtype() == DType::int32, "needs int32 indices");
  draft.require(index.partitions() == out.partitions() && index.free_elements() == 1,
                "needs one index per partition");
  draft.require(table.elements() / table.size(0) == out.free_elements(),
                "rows of the table and the tile differ in size");
  draft.require(table.index() == nullptr, "takes no dynamic offset");
  impl_->commit(draft);
}

void NeuronCore::dma_scatter(const Hbm& table, const Tile& index, const Tile& in, Scatter mode, Bounds bounds,
                             Where where) {
  Draft draft = impl_->begin(Opcode::dma_scatter, Engine::gpsimd, where);
  draft.instruction.skip = bounds == Bounds::skip;
  draft.instruction.op0 = mode == Scatter::add ? AluOp::add : AluOp::bypass;
  draft.region(table).in(in, Role::in0).in(index, Role::index);
  draft.require(index.dtype() == DType::int32, "needs int32 indices");
  draft.require(index.partitions() == in.partitions() && index.free_elements() == 1,
                "needs one index per partition");
  draft.require(table.elements() / table.size(0) == in.free_elements(),
                "rows of the table and the tile differ in size");
  draft.require(table.index() == nullptr, "takes no dynamic offset");
  writable(draft, table);
  impl_->commit(draft);
}

}  // namespace heddle::systolic
