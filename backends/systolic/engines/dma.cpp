// DMA: moves between HBM and SBUF, by fixed strides, by an offset in a tile, or row by row by indices.
#include <algorithm>
#include <cstring>

#include "systolic/engines/binder.h"
#include "systolic/engines/move.h"

namespace heddle::systolic {
namespace {

int32_t index_at(const std::byte* from) {
  int32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// ---- an offset that is known when it runs
// ---------------------------------------------------------------------------

struct DynamicMove {
  Move move;
  Place index;
  int64_t stride = 0, max = 0;  // bytes per index; the index is clamped to [0, max]
  bool shifts_source = false;
};

Fault run_dynamic(const void* arguments, const Context& context) {
  const DynamicMove& job = *static_cast<const DynamicMove*>(arguments);
  const int64_t index =
      std::clamp(static_cast<int64_t>(index_at(job.index.in(context))), int64_t{0}, job.max);
  const int64_t shift = index * job.stride;
  return run_move(job.move, context, job.shifts_source ? 0 : shift, job.shifts_source ? shift : 0);
}

// ---- rows by indices
// -------------------------------------------------------------------------------------------------

struct Indirect {
  Move row;  // of partition 0 and table row 0
  Place index;
  int64_t index_stride = 0, tile_stride = 0, table_stride = 0;
  int64_t partitions = 0, table_rows = 0;
  bool gather = false, skip = false;
};

Fault run_indirect(const void* arguments, const Context& context) {
  const Indirect& job = *static_cast<const Indirect*>(arguments);
  const std::byte* at = job.index.in(context);
  for (int64_t p = 0; p < job.partitions; ++p, at += job.index_stride) {
    const int64_t index = index_at(at);
    if (index < 0 || index >= job.table_rows) {
      if (job.skip) continue;
      return Fault::index_range;
    }
    const int64_t tile = p * job.tile_stride, table = index * job.table_stride;
    run_move(job.row, context, job.gather ? tile : table, job.gather ? table : tile);
  }
  return Fault::ok;
}

HostOperand without_partitions(const HostOperand& operand) {
  HostOperand o = operand;
  o.size[0] = 1;
  return o;
}

Move checked_move(const Binder& binder, const Instruction& i, const HostOperand& to,
                  const HostOperand& from) {
  const auto move = make_move(to, from, i.op0 == AluOp::add);
  if (!move) binder.reject(i, "the dimensions of its two sides do not nest; reshape them alike");
  return *move;
}

void bind_indirect(Binder& binder, const Instruction& i) {
  const HostOperand table = binder.operand(binder.stream().regions[i.region]);
  Indirect job;
  job.gather = i.opcode == Opcode::dma_gather;
  job.skip = i.skip;
  const HostOperand tile = binder.operand(i, job.gather ? Role::out : Role::in0);
  const HostOperand index = binder.operand(i, Role::index);
  const HostOperand one_tile = without_partitions(tile), one_table = without_partitions(table);
  job.row = checked_move(binder, i, job.gather ? one_tile : one_table, job.gather ? one_table : one_tile);
  job.index = index.place, job.index_stride = index.stride[0];
  job.tile_stride = tile.stride[0], job.table_stride = table.stride[0];
  job.partitions = tile.size[0], job.table_rows = table.size[0];
  binder.add(run_indirect, job);
}

// The region with its two dimensions exchanged.
HostOperand exchanged(const HostOperand& operand) {
  HostOperand o = operand;
  std::swap(o.size[0], o.size[1]);
  std::swap(o.stride[0], o.stride[1]);
  return o;
}

}  // namespace

void bind_dma(Binder& binder, const Instruction& i) {
  const Stream& stream = binder.stream();
  if (i.opcode == Opcode::dma_gather || i.opcode == Opcode::dma_scatter) return bind_indirect(binder, i);
  HostOperand to, from;
  switch (i.opcode) {
    case Opcode::dma_load:
      to = binder.operand(i, Role::out), from = binder.operand(stream.regions[i.region]);
      if (i.transposed) from = exchanged(from);
      break;
    case Opcode::dma_store:
      to = binder.operand(stream.regions[i.region]), from = binder.operand(i, Role::in0);
      break;
    case Opcode::dma_copy:
      to = binder.operand(i, Role::out), from = binder.operand(i, Role::in0);
      break;
    default:
      to = binder.operand(stream.regions[i.region_out]), from = binder.operand(stream.regions[i.region]);
  }
  const Move move = checked_move(binder, i, to, from);
  const Region* region = i.region == none ? nullptr : &stream.regions[i.region];
  if (region == nullptr || !region->dynamic) return bind_move(binder, move);
  DynamicMove job;
  job.move = move;
  job.index = binder.operand(i, Role::index).place;
  job.stride = region->dynamic_stride * static_cast<int64_t>(size_of(region->dtype));
  job.max = region->dynamic_max;
  job.shifts_source = i.opcode == Opcode::dma_load;
  binder.add(run_dynamic, job);
}

}  // namespace heddle::systolic
