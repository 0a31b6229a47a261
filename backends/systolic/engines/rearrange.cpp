// Elements that move to where indices say: windows at run-time offsets, rows within 32 partitions, gathers
// and scatters within 16.
#include <cstring>
#include <vector>

#include "systolic/engines/binder.h"
#include "systolic/engines/move.h"

namespace heddle::systolic {
namespace {

// ---- a window whose place is known when it runs

struct Window {
  Move move;
  Place index;
  int64_t stride = 0, max = 0;  // bytes per index; the largest index
  bool shifts_source = false;
};

Fault run_window(const void* arguments, const Context& context) {
  const Window& job = *static_cast<const Window*>(arguments);
  int32_t index;
  std::memcpy(&index, job.index.in(context), sizeof index);
  if (index < 0 || index > job.max) return Fault::index_range;
  const int64_t shift = index * job.stride;
  return run_move(job.move, context, job.shifts_source ? 0 : shift, job.shifts_source ? shift : 0);
}

void bind_window(Binder& binder, const Instruction& i) {
  HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0);
  Window job;
  job.shifts_source = i.opcode == Opcode::tensor_copy_dynamic_src;
  const size_t axis = i.extra + 1;
  HostOperand& whole = job.shifts_source ? in : out;
  const HostOperand& part = job.shifts_source ? out : in;
  job.max = whole.size[axis] - part.size[axis];
  job.stride = whole.stride[axis];
  whole.size[axis] = part.size[axis];
  const auto move = make_move(out, in, false);
  if (!move) binder.reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  job.move = *move;
  job.index = binder.operand(i, Role::index).place;
  binder.add(run_window, job);
}

// ---- rows within groups of 32 partitions

struct ShuffleJob {
  Move row;                                   // of partition 0
  std::vector<std::array<int64_t, 2>> shift;  // bytes: to, from
};

Fault run_shuffle(const void* arguments, const Context& context) {
  const ShuffleJob& job = *static_cast<const ShuffleJob*>(arguments);
  for (const auto& [to, from] : job.shift) run_move(job.row, context, to, from);
  return Fault::ok;
}

void bind_shuffle(Binder& binder, const Instruction& i) {
  HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0);
  const int64_t partitions = out.size[0];
  const View &to = *binder.stream().view_of(i, Role::out), &from = *binder.stream().view_of(i, Role::in0);
  if (to.tile == from.tile) binder.reject(i, "cannot shuffle a tile in place");
  out.size[0] = in.size[0] = 1;
  const auto move = make_move(out, in, false);
  if (!move) binder.reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  ShuffleJob job;
  job.row = *move;
  const Shuffle& shuffle = binder.stream().shuffles[i.extra];
  for (int64_t p = 0; p < partitions; ++p) {
    const uint8_t source = shuffle.source[static_cast<size_t>(p % 32)];
    if (source != Shuffle::keep)
      job.shift.push_back({p * out.stride[0], (p / 32 * 32 + source) * in.stride[0]});
  }
  binder.add(run_shuffle, std::move(job));
}

// ---- gathers and scatters within groups of 16 partitions; rows are dense

struct Indexed {
  Place out, in, index;
  int64_t out_stride = 0, in_stride = 0, index_stride = 0;
  int64_t partitions = 0, count = 0, table = 0;  // indices in use; entries of the table
  size_t bytes = 0;                              // per index
  bool gathers = false;
};

Fault run_indexed(const void* arguments, const Context& context) {
  const Indexed& job = *static_cast<const Indexed*>(arguments);
  std::byte *const out = job.out.in(context), *const in = job.in.in(context);
  const std::byte* const indices = job.index.in(context);
  for (int64_t group = 0; group < job.partitions; group += 16)
    for (int64_t k = 0; k < job.count; ++k) {
      uint16_t index;
      std::memcpy(&index, indices + (group + k % 16) * job.index_stride + k / 16 * 2, sizeof index);
      if (index >= job.table) return Fault::index_range;
      const auto at = static_cast<int64_t>(job.bytes);
      for (int64_t p = group; p < group + 16; ++p)
        std::memcpy(out + p * job.out_stride + (job.gathers ? k : index) * at,
                    in + p * job.in_stride + (job.gathers ? index : k) * at, job.bytes);
    }
  return Fault::ok;
}

void bind_indexed(Binder& binder, const Instruction& i) {
  const HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0),
                    index = binder.operand(i, Role::index);
  Indexed job;
  job.gathers = i.opcode == Opcode::local_gather;
  job.out = out.place, job.in = in.place, job.index = index.place;
  job.out_stride = out.stride[0], job.in_stride = in.stride[0], job.index_stride = index.stride[0];
  job.partitions = out.size[0];
  job.bytes = i.extra * size_of(out.dtype);
  const HostOperand &moved = job.gathers ? out : in, &table = job.gathers ? in : out;
  job.count = moved.elements() / moved.size[0] / i.extra;
  job.table = table.elements() / table.size[0] / i.extra;
  if (binder.stream().view_of(i, Role::out)->tile == binder.stream().view_of(i, Role::in0)->tile)
    binder.reject(i, "cannot work in place");
  binder.add(run_indexed, job);
}

}  // namespace

void bind_rearrange(Binder& binder, const Instruction& i) {
  if (i.opcode == Opcode::stream_shuffle) return bind_shuffle(binder, i);
  if (i.opcode == Opcode::local_gather || i.opcode == Opcode::local_scatter) return bind_indexed(binder, i);
  bind_window(binder, i);
}

}  // namespace heddle::systolic
