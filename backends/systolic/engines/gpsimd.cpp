// The GpSimd engine: patterns of indices, random bits, reductions across partitions, programs of the kernel's
// author.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "systolic/engines/binder.h"

namespace heddle::systolic {
namespace {

// ---- pattern(p, i...) over the free dimensions of an operand, one innermost row at a time
// -------------------------------

struct PatternWalk {
  AffinePattern pattern;
  int rank = 0;  // partition and free dimensions
  std::array<int64_t, axes_max> size{};
  std::array<int64_t, axes_max> step{};  // of the pattern, per dimension

  int64_t row() const { return size[static_cast<size_t>(rank - 1)]; }
  int64_t row_step() const { return step[static_cast<size_t>(rank - 1)]; }
};

PatternWalk walk_of(const HostOperand& operand, const AffinePattern& pattern) {
  PatternWalk w;
  w.pattern = pattern;
  w.rank = operand.rank;
  w.size = operand.size;
  w.step[0] = pattern.partition_step;
  for (int a = 1; a < operand.rank; ++a)
    w.step[static_cast<size_t>(a)] = pattern.step[static_cast<size_t>(a - 1)];
  return w;
}

// Calls f(value of the pattern at the row's start, indices of the outer dimensions).
template <class F>
void for_each_pattern_row(const PatternWalk& w, const F& f) {
  std::array<int64_t, axes_max> index{};
  for (;;) {
    int64_t value = w.pattern.base;
    for (int a = 0; a < w.rank - 1; ++a)
      value += index[static_cast<size_t>(a)] * w.step[static_cast<size_t>(a)];
    f(value, index);
    int a = w.rank - 2;
    for (; a >= 0; --a) {
      if (++index[static_cast<size_t>(a)] < w.size[static_cast<size_t>(a)]) break;
      index[static_cast<size_t>(a)] = 0;
    }
    if (a < 0) return;
  }
}

std::byte* row_at(std::byte* begin, const HostOperand& o, const std::array<int64_t, axes_max>& index) {
  for (int a = 0; a < o.rank - 1; ++a)
    begin += index[static_cast<size_t>(a)] * o.stride[static_cast<size_t>(a)];
  return begin;
}
int64_t row_stride(const HostOperand& o) { return o.stride[static_cast<size_t>(o.rank - 1)]; }
bool row_dense(const HostOperand& o) { return row_stride(o) == static_cast<int64_t>(size_of(o.dtype)); }

struct Pattern {
  PatternWalk walk;
  HostOperand out, in;
  AluOp compare = AluOp::bypass;
  float fill = 0;
  RowLoader load = nullptr;
  RowStorer store = nullptr;
};

Fault run_iota(const void* arguments, const Context& context) {
  const Pattern& job = *static_cast<const Pattern*>(arguments);
  std::byte* const out = job.out.place.in(context);
  auto* registers = static_cast<int32_t*>(static_cast<void*>(context.scratch));
  for_each_pattern_row(job.walk, [&](int64_t value, const auto& index) {
    std::byte* row = row_at(out, job.out, index);
    for (int64_t done = 0; done < job.walk.row(); done += static_cast<int64_t>(row_max)) {
      const int64_t n = std::min(job.walk.row() - done, static_cast<int64_t>(row_max));
      for (int64_t i = 0; i < n; ++i)
        registers[i] = static_cast<int32_t>(value + (done + i) * job.walk.row_step());
      job.store(row + done * row_stride(job.out), row_stride(job.out), registers, static_cast<size_t>(n));
    }
  });
  return Fault::ok;
}

// Where v + s*i (compare) 0 holds for i in [0, n): [first, end), or everywhere else when `inverted`.
struct Span {
  int64_t first, end;
  bool inverted = false;
};

int64_t floor_divide(int64_t a, int64_t b) { return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0); }

Span where(AluOp compare, int64_t v, int64_t s, int64_t n) {
  if (compare == AluOp::equal || compare == AluOp::not_equal) {
    Span span{0, 0, compare == AluOp::not_equal};
    if (s == 0) {
      span.end = v == 0 ? n : 0;
    } else if (-v % s == 0 && -v / s >= 0 && -v / s < n) {
      span.first = -v / s, span.end = span.first + 1;
    }
    return span;
  }
  // The others as v + s*i >= 0: > is >= of one less, < and <= are their negations.
  if (compare == AluOp::greater) v -= 1;
  if (compare == AluOp::less) v = -v - 1, s = -s;
  if (compare == AluOp::less_equal) v = -v, s = -s;
  if (s == 0) return {0, v >= 0 ? n : 0};
  if (s > 0) return {std::clamp(-floor_divide(v, s), int64_t{0}, n), n};  // i >= ceil(-v/s)
  return {0, std::clamp(floor_divide(v, -s) + 1, int64_t{0}, n)};         // i <= floor(v/-s)
}

Fault run_affine_select(const void* arguments, const Context& context) {
  const Pattern& job = *static_cast<const Pattern*>(arguments);
  std::byte* const out = job.out.place.in(context);
  std::byte* const in = job.in.place.in(context);
  auto* registers = static_cast<float*>(static_cast<void*>(context.scratch));
  const bool plain = job.load == nullptr && job.store == nullptr;
  for_each_pattern_row(job.walk, [&](int64_t value, const auto& index) {
    std::byte* to = row_at(out, job.out, index);
    const std::byte* from = row_at(in, job.in, index);
    const int64_t n = job.walk.row();
    const Span kept = where(job.compare, value, job.walk.row_step(), n);
    const auto segment = [&](int64_t first, int64_t end, bool keep) {
      if (plain) {
        auto* row = static_cast<float*>(static_cast<void*>(to));
        if (!keep)
          std::fill(row + first, row + end, job.fill);
        else if (to != from && end > first)
          std::memcpy(row + first, from + first * 4, static_cast<size_t>(end - first) * sizeof(float));
        return;
      }
      for (int64_t at = first; at < end; at += static_cast<int64_t>(row_max)) {
        const auto count = static_cast<size_t>(std::min(end - at, static_cast<int64_t>(row_max)));
        if (keep)
          job.load(registers, from + at * row_stride(job.in), row_stride(job.in), count);
        else
          std::fill_n(registers, count, job.fill);
        job.store(to + at * row_stride(job.out), row_stride(job.out), registers, count);
      }
    };
    segment(0, kept.first, kept.inverted);
    segment(kept.first, kept.end, !kept.inverted);
    segment(kept.end, n, kept.inverted);
  });
  return Fault::ok;
}

// ---- Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3")
// ----------------------------------------

std::array<uint32_t, 4> philox(uint64_t counter, uint32_t key0, uint32_t key1) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
  }
  return c;
}

Fault run_random(const void* arguments, const Context& context) {
  const Pattern& job = *static_cast<const Pattern*>(arguments);
  std::byte* const out = job.out.place.in(context);
  std::array<uint32_t, 4> state;
  const std::byte* from = job.in.place.in(context);
  for (size_t i = 0; i < 4; ++i)
    std::memcpy(&state[i], from + static_cast<int64_t>(i) * row_stride(job.in), 4);
  const uint64_t counter = state[2] | uint64_t{state[3]} << 32;
  for_each_pattern_row(job.walk, [&](int64_t value, const auto& index) {
    std::byte* to = row_at(out, job.out, index);
    std::array<uint32_t, 4> words{};
    uint64_t block = std::numeric_limits<uint64_t>::max();
    for (int64_t i = 0; i < job.walk.row(); ++i, to += row_stride(job.out), value += job.walk.row_step()) {
      const auto element = static_cast<uint64_t>(value);
      if (element / 4 != block) block = element / 4, words = philox(counter + block, state[0], state[1]);
      std::memcpy(to, &words[element % 4], 4);
    }
  });
  return Fault::ok;
}

// ---- across partitions
// ---------------------------------------------------------------------------------------------------

struct PartitionReduce {
  Map first, rest;  // out = in[0]; out = out (op) in[p], the input shifted by p rows
  int64_t partitions = 0, stride = 0;
};

Fault run_partition_reduce(const void* arguments, const Context& context) {
  const PartitionReduce& job = *static_cast<const PartitionReduce*>(arguments);
  Fault fault = run_map(&job.first, context);
  Map rest = job.rest;
  for (int64_t p = 1; p < job.partitions; ++p) {
    rest.place[1].offset += job.stride;
    fault = std::max(fault, run_map(&rest, context));
  }
  return fault;
}

void bind_partition_reduce(Binder& binder, const Instruction& i) {
  PartitionReduce job;
  HostOperand in = binder.operand(i, Role::in0);
  job.partitions = in.size[0], job.stride = in.stride[0];
  in.size[0] = 1;
  const HostOperand out = binder.operand(i, Role::out);
  if (out.dtype != DType::float32) binder.reject(i, "writes float32");
  const auto make = [&](AluOp op) {
    MapBuilder map(out, Arithmetic::float32);
    const Register x = map.read(in);
    map.read_out();
    map.binary(register_out, op, op == AluOp::bypass ? x : register_out, x);
    const auto made = map.finish();
    if (!made) binder.reject(i, "the free dimensions of its operands do not nest; reshape them alike");
    return *made;
  };
  job.first = make(AluOp::bypass), job.rest = make(i.reduce);
  binder.add(run_partition_reduce, job);
}

// ---- programs
// --------------------------------------------------------------------------------------------------------------

struct ProgramCall {
  const GpSimdProgram* program = nullptr;
  std::vector<HostOperand> out, in;
};

ProgramOperand view_of(const HostOperand& o, const Context& context) {
  return {o.place.in(context), o.stride[0], static_cast<int>(o.size[0]), o.elements() / o.size[0], o.dtype};
}

Fault run_program(const void* arguments, const Context& context) {
  const ProgramCall& call = *static_cast<const ProgramCall*>(arguments);
  std::array<ProgramOperand, 12> out, in;
  for (size_t i = 0; i < call.out.size(); ++i) out[i] = view_of(call.out[i], context);
  for (size_t i = 0; i < call.in.size(); ++i) in[i] = view_of(call.in[i], context);
  call.program->body({out.data(), call.out.size()}, {in.data(), call.in.size()});
  return Fault::ok;
}

}  // namespace

void bind_gpsimd(Binder& binder, const Instruction& i) {
  const Stream& stream = binder.stream();
  if (i.opcode == Opcode::partition_reduce) return bind_partition_reduce(binder, i);
  if (i.opcode == Opcode::gpsimd_program) {
    ProgramCall call;
    call.program = &stream.programs[i.extra];
    for (const View& v : stream.views_of(i))
      (is_written(v.role) ? call.out : call.in).push_back(binder.operand(v));
    return binder.add(run_program, std::move(call));
  }
  Pattern job;
  job.out = binder.operand(i, Role::out);
  job.walk = walk_of(job.out, stream.patterns[i.extra]);
  if (i.opcode == Opcode::iota) {
    job.store = row_storer(job.out.dtype, row_dense(job.out), Arithmetic::int32);
    return binder.add(run_iota, job);
  }
  job.in = binder.operand(i, Role::in0);
  if (i.opcode == Opcode::random_bits) return binder.add(run_random, job);
  job.compare = i.op0, job.fill = i.imm2;
  if (job.in.dtype != DType::float32 || job.out.dtype != DType::float32 || !row_dense(job.in) ||
      !row_dense(job.out)) {
    job.load = row_loader(job.in.dtype, row_dense(job.in), Arithmetic::float32);
    job.store = row_storer(job.out.dtype, row_dense(job.out), Arithmetic::float32);
  }
  binder.add(run_affine_select, job);
}

}  // namespace heddle::systolic
