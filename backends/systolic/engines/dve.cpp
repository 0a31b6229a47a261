// The vector engine: functions of two operands, reductions and scans along a row, statistics.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "systolic/engines/binder.h"
#include "systolic/engines/move.h"
#include "systolic/engines/whole_row.h"

namespace heddle::systolic {
namespace {

Arithmetic arithmetic_of(const Binder& binder, const Instruction& i) {
  if (!i.integer) return Arithmetic::float32;
  for (const View& v : binder.stream().views_of(i))
    if (!is_written(v.role) && v.dtype == DType::uint32) return Arithmetic::uint32;
  return Arithmetic::int32;
}

// ---- reductions over the innermost free dimensions
// ------------------------------------------------------------------

struct Reduce {
  Nest outer;  // operand 0: out, 1: in, at the first element of what is reduced
  Nest inner;  // operand 0: in
  Place out, in;
  RowLoader load = nullptr;
  RowStorer store = nullptr;
  Reduction reduction{};
};

Fault run_reduce(const void* arguments, const Context& context) {
  const Reduce& r = *static_cast<const Reduce*>(arguments);
  std::array<std::byte*, nest_operands_max> begin{};
  begin[0] = r.out.in(context), begin[1] = r.in.in(context);
  auto* staging = static_cast<float*>(static_cast<void*>(context.scratch));
  const int64_t length = r.inner.row(), stride = r.inner.stride[0][0];
  const bool plain = r.inner.rank == 1 && r.load == nullptr;
  for_each_row(r.outer, begin, [&](const auto& row) {
    std::byte* out = row[0];
    std::byte* in = row[1];
    for (int64_t i = 0; i < r.outer.row(); ++i, out += r.outer.stride[0][0], in += r.outer.stride[1][0]) {
      if (plain) {
        const float total = r.reduction.whole(static_cast<const float*>(static_cast<const void*>(in)),
                                              static_cast<size_t>(length));
        r.store(out, 0, &total, 1);
        continue;
      }
      alignas(64) float partial[partial_count];
      std::fill_n(partial, partial_count, r.reduction.identity);
      std::array<std::byte*, nest_operands_max> from{};
      from[0] = in;
      for_each_row(r.inner, from, [&](const auto& at) {
        for (int64_t done = 0; done < length; done += static_cast<int64_t>(row_max)) {
          const auto n = static_cast<size_t>(std::min(length - done, static_cast<int64_t>(row_max)));
          const std::byte* chunk = at[0] + done * stride;
          const float* values = static_cast<const float*>(static_cast<const void*>(chunk));
          if (r.load != nullptr) r.load(staging, chunk, stride, n), values = staging;
          r.reduction.row(partial, values, n);
        }
      });
      const float total = r.reduction.finish(partial);
      r.store(out, 0, &total, 1);
    }
  });
  return Fault::ok;
}

void bind_reduce(Binder& binder, const Instruction& i) {
  const HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0);
  Reduce r;
  r.out = out.place, r.in = in.place;
  // The free dimensions that stay are those whose product is the elements of out; a trailing 1 belongs to
  // either side.
  const int64_t kept = out.elements() / out.size[0];
  HostOperand outer = in, inner = in;
  int64_t product = 1;
  int cut = 1;
  while (cut < in.rank && product < kept) product *= in.size[static_cast<size_t>(cut++)];
  outer.rank = cut;
  inner.rank = in.rank - cut + 1;
  inner.size[0] = 1, inner.stride[0] = 0;
  for (int a = cut; a < in.rank; ++a) {
    inner.size[static_cast<size_t>(a - cut + 1)] = in.size[static_cast<size_t>(a)];
    inner.stride[static_cast<size_t>(a - cut + 1)] = in.stride[static_cast<size_t>(a)];
  }
  const std::array<HostOperand, 2> both = {out, outer};
  const std::array<bool, 2> no = {false, false};
  if (!make_nest(both, no, false, r.outer) || !make_nest({&inner, 1}, {no.data(), 1}, false, r.inner))
    binder.reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  const bool dense = r.inner.stride[0][0] == static_cast<int64_t>(size_of(in.dtype)) || r.inner.row() == 1;
  if (!dense || in.dtype != DType::float32) r.load = row_loader(in.dtype, dense, Arithmetic::float32);
  r.store = row_storer(out.dtype, true, Arithmetic::float32);
  r.reduction = reduction(i.reduce);
  binder.add(run_reduce, r);
}

// ---- instructions that see a whole row at once: each row is brought into float registers
// ------------------------------

struct RowJob {
  Opcode opcode{};
  int64_t partitions = 0;
  WholeRow out, in0, in1, scalar;
  bool has_scalar = false;
  float immediate = 0;
  RowKernel op0 = nullptr, op1 = nullptr;
};

void scan_row(const RowJob& job, const float* a, const float* b, float state, float* out) {
  for (int64_t i = 0; i < job.in0.elements; ++i) {
    float t;
    job.op0(&t, &state, a + i, nullptr, 1);
    job.op1(&state, &t, b + i, nullptr, 1);
    out[i] = state;
  }
}

// (count, mean, count*variance) of every second element from `first`.
void half_stats(const float* x, int64_t n, int64_t first, float* out) {
  float count = 0, sum = 0;
  for (int64_t i = first; i < n; i += 2) count += 1, sum += x[i];
  const float mean = count > 0 ? sum / count : 0.0f;
  float square = 0;
  for (int64_t i = first; i < n; i += 2) square += (x[i] - mean) * (x[i] - mean);
  out[0] = count, out[1] = mean, out[2] = square;
}

// Chan's formula joins the triples pairwise, in order.
void aggregate(const float* triple, int64_t n, float* out) {
  float count = 0, mean = 0, square = 0;
  for (int64_t i = 0; i < n; i += 3) {
    if (triple[i] == 0) continue;
    const float joint = count + triple[i], delta = triple[i + 1] - mean;
    mean += delta * (triple[i] / joint);
    square += triple[i + 2] + delta * delta * (count * triple[i] / joint);
    count = joint;
  }
  out[0] = mean, out[1] = count > 0 ? square / count : 0.0f;
}

void largest8(const float* x, int64_t n, float* out) {
  std::fill_n(out, 8, -INFINITY);
  for (int64_t i = 0; i < n; ++i) {
    if (!(x[i] > out[7])) continue;
    int at = 7;
    for (; at > 0 && x[i] > out[at - 1]; --at) out[at] = out[at - 1];
    out[at] = x[i];
  }
}

void positions8(const float* x, int64_t n, const float* values, float* out) {
  for (int v = 0; v < 8; ++v) {
    int64_t skip = 0;  // equal values before this one take the earlier positions
    for (int u = 0; u < v; ++u) skip += values[u] == values[v];
    int64_t i = 0;
    for (; i < n; ++i)
      if (x[i] == values[v] && skip-- == 0) break;
    out[v] = static_cast<float>(i);
  }
}

Fault run_row_job(const void* arguments, const Context& context) {
  const RowJob& job = *static_cast<const RowJob*>(arguments);
  auto* const a = static_cast<float*>(static_cast<void*>(context.scratch));
  float* const b = a + whole_row_max;
  float* const out = b + whole_row_max;
  for (int64_t p = 0; p < job.partitions; ++p) {
    job.in0.read(context, p, a);
    switch (job.opcode) {
      case Opcode::tensor_tensor_scan: {
        job.in1.read(context, p, b);
        float initial = job.immediate;
        if (job.has_scalar) job.scalar.read(context, p, &initial);
        scan_row(job, a, b, initial, out);
        break;
      }
      case Opcode::bn_stats:
        half_stats(a, job.in0.elements, 0, out), half_stats(a, job.in0.elements, 1, out + 3);
        break;
      case Opcode::bn_aggr:
        aggregate(a, job.in0.elements, out);
        break;
      case Opcode::max8:
        largest8(a, job.in0.elements, out);
        break;
      default:
        job.in1.read(context, p, b);
        positions8(a, job.in0.elements, b, out);
    }
    job.out.write(context, p, out);
  }
  return Fault::ok;
}

void bind_row_job(Binder& binder, const Instruction& i) {
  RowJob job;
  job.opcode = i.opcode;
  const HostOperand in0 = binder.operand(i, Role::in0);
  job.partitions = in0.size[0];
  job.out = whole_row(binder, i, binder.operand(i, Role::out));
  job.in0 = whole_row(binder, i, in0);
  if (binder.has(i, Role::in1)) job.in1 = whole_row(binder, i, binder.operand(i, Role::in1));
  job.immediate = i.imm0;
  if (binder.has(i, Role::scalar0)) {
    job.has_scalar = true;
    job.scalar = whole_row(binder, i, binder.operand(i, Role::scalar0));
  }
  if (i.opcode == Opcode::tensor_tensor_scan) {
    job.op0 = binary_kernel(i.op0, Form::vector_vector, Arithmetic::float32);
    job.op1 = binary_kernel(i.op1, Form::vector_vector, Arithmetic::float32);
  }
  binder.add(run_row_job, job);
}

// ---- element-wise instructions
// -----------------------------------------------------------------------------------------

// x (op) operand, or operand (op) x.
void step(MapBuilder& map, Register out, AluOp op, Register x, Register operand, bool reverse) {
  if (op == AluOp::bypass)
    map.binary(out, op, x, x);
  else
    map.binary(out, op, reverse ? operand : x, reverse ? x : operand);
}

Register scalar_operand(MapBuilder& map, const Binder& binder, const Instruction& i, Role role,
                        float immediate) {
  return binder.has(i, role) ? map.read_scalar(binder.operand(i, role)) : map.number(immediate);
}

void bind_map(Binder& binder, const Instruction& i) {
  const Arithmetic arithmetic = arithmetic_of(binder, i);
  MapBuilder map(binder.operand(i, Role::out), arithmetic);
  const auto read = [&](Role role) { return map.read(binder.operand(i, role)); };
  switch (i.opcode) {
    case Opcode::tensor_tensor: {
      const Register a = read(Role::in0), b = read(Role::in1);
      map.binary(register_out, i.op0, a, b);
      break;
    }
    case Opcode::tensor_scalar: {
      const Register x = read(Role::in0);
      const bool two = i.op1 != AluOp::bypass;
      const Register first = two ? register_temp0 : register_out;
      step(map, first, i.op0, x, scalar_operand(map, binder, i, Role::scalar0, i.imm0), i.reverse0);
      if (two)
        step(map, register_out, i.op1, register_temp0, scalar_operand(map, binder, i, Role::scalar1, i.imm1),
             i.reverse1);
      break;
    }
    case Opcode::scalar_tensor_tensor: {
      const Register x = read(Role::in0), b = read(Role::in1);
      step(map, register_temp0, i.op0, x, scalar_operand(map, binder, i, Role::scalar0, i.imm0), i.reverse0);
      step(map, register_out, i.op1, register_temp0, b, i.reverse1);
      break;
    }
    case Opcode::tensor_scalar_reduce: {
      const Register x = read(Role::in0);
      step(map, register_out, i.op0, x, scalar_operand(map, binder, i, Role::scalar0, i.imm0), i.reverse0);
      map.reduce(i.reduce, binder.operand(i, Role::result));
      break;
    }
    case Opcode::tensor_copy: {
      const Register x = read(Role::in0);
      map.binary(register_out, AluOp::bypass, x, x);
      break;
    }
    case Opcode::tensor_copy_predicated: {
      map.read_out();
      const Register x = read(Role::in0),
                     predicate = map.read(binder.operand(i, Role::in1), Arithmetic::float32);
      map.select(register_out, x, predicate, register_out);
      break;
    }
    case Opcode::select: {
      const Register x = read(Role::in0),
                     predicate = map.read(binder.operand(i, Role::in1), Arithmetic::float32);
      map.select(register_out, x, predicate, binder.has(i, Role::in2) ? read(Role::in2) : map.number(i.imm2));
      break;
    }
    case Opcode::reciprocal: {
      const Register x = read(Role::in0);
      map.unary(register_out, Function::reciprocal, false, x, x);
      break;
    }
    default: {  // memset
      const Register value = map.number(i.imm2);
      map.binary(register_out, AluOp::bypass, value, register_out);
    }
  }
  binder.add_map(i, map);
}

}  // namespace

void bind_vector(Binder& binder, const Instruction& i) {
  switch (i.opcode) {
    case Opcode::tensor_reduce:
      return bind_reduce(binder, i);
    case Opcode::tensor_tensor_scan:
    case Opcode::bn_stats:
    case Opcode::bn_aggr:
    case Opcode::max8:
    case Opcode::find_index8:
      return bind_row_job(binder, i);
    case Opcode::tensor_copy: {
      const HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0);
      if (out.dtype == in.dtype)
        if (const auto move = make_move(out, in, false)) return bind_move(binder, *move);
      return bind_map(binder, i);
    }
    default:
      return bind_map(binder, i);
  }
}

}  // namespace heddle::systolic
