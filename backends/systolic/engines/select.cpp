// Elements chosen by their position (range_select) or by chance (dropout), and the check of a promise about
// elements.
#include <algorithm>
#include <cstring>

#include "core/philox.h"
#include "systolic/engines/whole_row.h"

namespace heddle::systolic {
namespace {

// An operand that is a number, or one element per partition.
struct PartitionScalar {
  float number = 0;
  bool is_tile = false;
  WholeRow tile;

  float at(const Context& c, int64_t p) const {
    float value = number;
    if (is_tile) tile.read(c, p, &value);
    return value;
  }
};

PartitionScalar partition_scalar(const Binder& binder, const Instruction& i, Role role, float number) {
  PartitionScalar s;
  s.number = number, s.is_tile = binder.has(i, role);
  if (s.is_tile) s.tile = whole_row(binder, i, binder.operand(i, role));
  return s;
}

// ---- range_select

bool holds(AluOp compare, float a, float b) {
  switch (compare) {
    case AluOp::equal:
      return a == b;
    case AluOp::not_equal:
      return a != b;
    case AluOp::greater:
      return a > b;
    case AluOp::greater_equal:
      return a >= b;
    case AluOp::less:
      return a < b;
    default:
      return a <= b;
  }
}

struct RangeSelect {
  int64_t partitions = 0;
  WholeRow out, in, reduced;
  PartitionScalar bound0, bound1;
  AluOp compare0{}, compare1{};
  float fill = 0, start = 0;
  bool reduces = false;
  Reduction reduction{};
};

Fault run_range_select(const void* arguments, const Context& context) {
  const RangeSelect& job = *static_cast<const RangeSelect*>(arguments);
  auto* const row = static_cast<float*>(static_cast<void*>(context.scratch));
  for (int64_t p = 0; p < job.partitions; ++p) {
    job.in.read(context, p, row);
    const float bound0 = job.bound0.at(context, p), bound1 = job.bound1.at(context, p);
    for (int64_t i = 0; i < job.in.elements; ++i) {
      const float position = job.start + static_cast<float>(i);
      if (!holds(job.compare0, position, bound0) || !holds(job.compare1, position, bound1)) row[i] = job.fill;
    }
    job.out.write(context, p, row);
    if (!job.reduces) continue;
    alignas(64) float partial[partial_count];
    std::fill_n(partial, partial_count, job.reduction.identity);
    job.reduction.row(partial, row, static_cast<size_t>(job.in.elements));
    const float total = job.reduction.finish(partial);
    job.reduced.write(context, p, &total);
  }
  return Fault::ok;
}

void bind_range_select(Binder& binder, const Instruction& i) {
  RangeSelect job;
  const HostOperand in = binder.operand(i, Role::in0);
  job.partitions = in.size[0];
  job.in = whole_row(binder, i, in), job.out = whole_row(binder, i, binder.operand(i, Role::out));
  job.bound0 = partition_scalar(binder, i, Role::scalar0, i.imm0);
  job.bound1 = partition_scalar(binder, i, Role::scalar1, i.imm1);
  job.compare0 = i.op0, job.compare1 = i.op1, job.fill = i.imm2, job.start = i.imm3;
  job.reduces = binder.has(i, Role::result);
  if (job.reduces) {
    job.reduced = whole_row(binder, i, binder.operand(i, Role::result));
    job.reduction = reduction(i.reduce);
  }
  binder.add(run_range_select, job);
}

// ---- dropout

struct Dropout {
  HostOperand shape;  // of the input: what the pattern indexes
  AffinePattern pattern;
  WholeRow out, in;
  PartitionScalar probability;
  Place state;
  int64_t state_stride = 0;
};

// pattern(p, indices of the i-th free element of `shape`)
int64_t pattern_at(const Dropout& job, int64_t p, int64_t i) {
  int64_t value = job.pattern.base + job.pattern.partition_step * p;
  for (int a = job.shape.rank - 1; a > 0; --a) {
    const auto axis = static_cast<size_t>(a);
    value += job.pattern.step[axis - 1] * (i % job.shape.size[axis]);
    i /= job.shape.size[axis];
  }
  return value;
}

Fault run_dropout(const void* arguments, const Context& context) {
  const Dropout& job = *static_cast<const Dropout*>(arguments);
  std::array<uint32_t, 4> state;
  for (size_t w = 0; w < 4; ++w)
    std::memcpy(&state[w], job.state.in(context) + static_cast<int64_t>(w) * job.state_stride, 4);
  const uint64_t key = state[0] | uint64_t{state[1]} << 32, counter = state[2] | uint64_t{state[3]} << 32;
  auto* const row = static_cast<float*>(static_cast<void*>(context.scratch));
  for (int64_t p = 0; p < job.shape.size[0]; ++p) {
    job.in.read(context, p, row);
    // A word below this drops its element: probability * 2^32 has 33 bits.
    const auto limit =
        static_cast<uint64_t>(static_cast<double>(job.probability.at(context, p)) * 4294967296.0);
    for (int64_t i = 0; i < job.in.elements; ++i) {
      const auto element = static_cast<uint64_t>(pattern_at(job, p, i));
      if (philox_block(counter + element / 4, key)[element % 4] < limit) row[i] = 0;
    }
    job.out.write(context, p, row);
  }
  return Fault::ok;
}

void bind_dropout(Binder& binder, const Instruction& i) {
  Dropout job;
  job.shape = binder.operand(i, Role::in0);
  job.pattern = binder.stream().patterns[i.extra];
  job.in = whole_row(binder, i, job.shape), job.out = whole_row(binder, i, binder.operand(i, Role::out));
  job.probability = partition_scalar(binder, i, Role::scalar0, i.imm0);
  const HostOperand state = binder.operand(i, Role::in1);
  job.state = state.place, job.state_stride = state.stride[static_cast<size_t>(state.rank - 1)];
  binder.add(run_dropout, job);
}

// ---- promises

struct OneZero {
  int64_t partitions = 0;
  WholeRow in;
};

Fault run_onezero(const void* arguments, const Context& context) {
  const OneZero& job = *static_cast<const OneZero*>(arguments);
  auto* const row = static_cast<float*>(static_cast<void*>(context.scratch));
  for (int64_t p = 0; p < job.partitions; ++p) {
    job.in.read(context, p, row);
    if (!std::all_of(row, row + job.in.elements, [](float v) { return v == 0.0f || v == 1.0f; }))
      return Fault::not_onezero;
  }
  return Fault::ok;
}

}  // namespace

void bind_select(Binder& binder, const Instruction& i) {
  if (i.opcode == Opcode::range_select) return bind_range_select(binder, i);
  bind_dropout(binder, i);
}

void bind_onezero(Binder& binder, const Instruction& i, Role role) {
  const HostOperand operand = binder.operand(i, role);
  binder.add(run_onezero, OneZero{operand.size[0], whole_row(binder, i, operand)});
}

}  // namespace heddle::systolic
