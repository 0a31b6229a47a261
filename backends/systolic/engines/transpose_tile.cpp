// nc_transpose, on the tensor engine and on the vector engine.
#include <cstring>

#include "systolic/engines/binder.h"
#include "systolic/engines/move.h"

namespace heddle::systolic {
namespace {

struct TileTranspose {
  Move move;
  bool spreads = false;  // a product with an identity: NaN and Inf times 0 are NaN, all along a result row
  HostMatrix out;
  int64_t rows = 0, columns = 0;  // of the input
  RowLoader load = nullptr;
  RowStorer store = nullptr;
};

// NaN and infinities of an input column become a row of NaN, row by row of the result.
void spread(const TileTranspose& job, const Context& context) {
  auto* row = static_cast<float*>(static_cast<void*>(context.scratch));
  std::byte* at = job.out.place.in(context);
  for (int64_t c = 0; c < job.columns; ++c, at += job.out.row_stride) {
    each_run(job.out, at, row, [&](std::byte* run, float* floats) {
      job.load(floats, run, job.out.step, static_cast<size_t>(job.out.count));
    });
    uint32_t found = 0;
    for (int64_t r = 0; r < job.rows; ++r) {
      uint32_t bits;
      std::memcpy(&bits, row + r, sizeof bits);
      found |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (found == 0) continue;
    int special = 0, where = 0;
    for (int64_t r = 0; r < job.rows; ++r)
      if (!(row[r] - row[r] == 0.0f)) ++special, where = static_cast<int>(r);
    const float lone = row[where];
    for (int64_t r = 0; r < job.rows; ++r) row[r] = __builtin_nanf("");
    if (special == 1)
      row[where] = lone;  // its own product is with 1, and every other product of the sum is 0
    each_run(job.out, at, row, [&](std::byte* run, float* floats) {
      job.store(run, job.out.step, floats, static_cast<size_t>(job.out.count));
    });
  }
}

Fault run_tile_transpose(const void* arguments, const Context& context) {
  const TileTranspose& job = *static_cast<const TileTranspose*>(arguments);
  const Fault fault = run_move(job.move, context, 0, 0);
  if (job.spreads) spread(job, context);
  return fault;
}

// What transposes are almost always: of dense rows, of finite numbers.
struct PlainTranspose {
  Place to, from;
  int64_t to_stride = 0, from_stride = 0;
  int32_t rows = 0, columns = 0;  // of the input
  DType dtype{};
  const TileTranspose* spreading = nullptr;
};

Fault run_plain_transpose(const void* arguments, const Context& context) {
  const PlainTranspose& job = *static_cast<const PlainTranspose*>(arguments);
  const std::byte* from = job.from.in(context);
  transpose_block(job.to.in(context), job.to_stride, from, job.from_stride, job.rows, job.columns,
                  size_of(job.dtype));
  if (job.spreading != nullptr && has_special(from, job.from_stride, job.rows, job.columns, job.dtype))
    spread(*job.spreading, context);
  return Fault::ok;
}

}  // namespace

void bind_transpose(Binder& binder, const Instruction& i) {
  const HostOperand out = binder.operand(i, Role::out), in = binder.operand(i, Role::in0);
  // The input as [free, partition]: its free dimensions become rows. A free box of several dimensions is
  // merged first.
  HostMatrix flat;
  HostOperand turned;
  turned.place = in.place, turned.dtype = in.dtype;
  Nest walk;
  if (!make_matrix(in, flat, walk)) binder.reject(i, "its operand's free dimensions cannot be walked");
  turned.rank = walk.rank + 1;
  if (turned.rank > axes_max - 1) binder.reject(i, "its operand has too many free dimensions");
  for (int d = 0; d < walk.rank; ++d) {
    turned.size[static_cast<size_t>(walk.rank - 1 - d)] = walk.size[static_cast<size_t>(d)];
    turned.stride[static_cast<size_t>(walk.rank - 1 - d)] = walk.stride[0][static_cast<size_t>(d)];
  }
  turned.size[static_cast<size_t>(walk.rank)] = in.size[0];
  turned.stride[static_cast<size_t>(walk.rank)] = in.stride[0];
  const auto move = make_move(out, turned, false);
  if (!move) binder.reject(i, "the free dimensions of its operands do not nest; reshape them alike");
  TileTranspose job;
  job.move = *move;
  job.rows = in.size[0], job.columns = in.elements() / in.size[0];
  job.spreads = i.engine == Engine::pe && !binder.stream().device->pe.transpose_exact;
  if (job.spreads) {
    Nest nest;
    make_matrix(out, job.out, nest);
    if (job.out.walk != nullptr) job.out.walk = binder.keep(nest);
    const bool dense = job.out.step == static_cast<int64_t>(size_of(out.dtype)) || job.out.count == 1;
    job.load = row_loader(out.dtype, dense, Arithmetic::float32);
    job.store = row_storer(out.dtype, dense, Arithmetic::float32);
  }
  const auto width = static_cast<int64_t>(size_of(in.dtype));
  const bool dense = walk.rank == 1 && (walk.stride[0][0] == width || walk.row() == 1) && out.rank == 2 &&
                     (out.stride[1] == width || out.size[1] == 1);
  if (!dense || (job.spreads && in.dtype != DType::float32 && in.dtype != DType::bfloat16))
    return binder.add(run_tile_transpose, job);
  binder.add(
      run_plain_transpose,
      PlainTranspose{out.place, in.place, out.stride[0], in.stride[0], static_cast<int32_t>(job.rows),
                     static_cast<int32_t>(job.columns), in.dtype, job.spreads ? binder.keep(job) : nullptr});
}

}  // namespace heddle::systolic
