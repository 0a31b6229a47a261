// One function per instruction: the rules of its own operands. Shared rules are in builder_emit.cpp.
#include "heddle/systolic/builder.h"

#include <algorithm>
#include <array>

#include "systolic/isa/builder_impl.h"
#include "systolic/isa/operand_rules.h"
#include "systolic/isa/refusal.h"

namespace heddle::systolic {
namespace {

bool is_small_float(DType d) { return is_float(d) && d != DType::float32 && d != DType::float64; }
bool is_chip_integer(DType d) { return is_integer(d) && size_of(d) <= 4; }

bool is_reduction(AluOp op) {
  return op == AluOp::add || op == AluOp::multiply || op == AluOp::maximum || op == AluOp::minimum;
}

bool is_integer_operand(const Scalar& s) { return !s.is_tile() || is_chip_integer(s.tile().dtype); }

// Whether an instruction computes as 32-bit integers; rejects bitwise operators on floats.
void choose_arithmetic(Draft& draft, std::initializer_list<AluOp> ops, bool all_integers) {
  int bitwise = 0, used = 0;
  for (AluOp op : ops) {
    if (op == AluOp::bypass) continue;
    ++used;
    bitwise += is_bitwise(op);
  }
  if (bitwise > 0 && !all_integers) draft.reject("bitwise operators need integer operands");
  if (bitwise > 0 && bitwise < used && draft.instruction.engine != Engine::gpsimd)
    draft.reject("the vector engine does not mix bitwise and arithmetic operators in one instruction");
  draft.instruction.integer = all_integers && (bitwise > 0 || draft.instruction.engine == Engine::gpsimd);
}

// The modes of a product that the device has, and the part of the array it fits.
void matmul_mode(Draft& draft, const PeDescription& pe, const MatmulOptions& options, const Tile& psum,
                 const Tile& stationary, const Tile& moving) {
  draft.require(!options.microscaled,
                "does not multiply MXFP8 or MXFP4: their block scales are not modelled");
  draft.instruction.double_row = options.double_row;
  if (options.double_row) {
    draft.require(pe.passes_fp8 < 1, "has no double-row mode on this device");
    draft.require(size_of(stationary.dtype()) == 1 && size_of(moving.dtype()) == 1,
                  "takes two rows a partition of float8 operands only");
    draft.require(
        stationary.rank() >= 2 && stationary.size(0) == 2 && moving.rank() >= 2 && moving.size(0) == 2,
        "needs operands [K/2, 2, columns] for two rows a partition");
  }
  const auto part = [&](int size, int start, int64_t count, const char* name) {
    const std::string lanes = std::string(" ") + name;
    if (size != 128 && size != 64 && (size != 32 || pe.tile_min > 32))
      draft.reject("cannot use " + std::to_string(size) + lanes +
                   " of the array; it is cut into parts of 128, 64" + (pe.tile_min > 32 ? "" : ", 32"));
    if (start % size + count > size)
      draft.reject("uses" + lanes + " " + std::to_string(start) + " to " + std::to_string(start + count) +
                   ", which leave a part of " + std::to_string(size) + lanes);
    return static_cast<uint8_t>(size);
  };
  draft.instruction.array_rows =
      part(options.array_rows, stationary.view().partition_start, stationary.partitions(), "rows");
  draft.require(
      options.array_rows == 128 || stationary.view().partition_start == moving.view().partition_start,
      "on a part of the array needs both operands on the same partitions");
  draft.instruction.array_columns =
      part(options.array_columns, psum.view().partition_start, psum.partitions(), "columns");
}

}  // namespace

NeuronCore::NeuronCore(Description device) : impl_(std::make_unique<Impl>(std::move(device))) {}
NeuronCore::~NeuronCore() = default;
const Description& NeuronCore::device() const { return *impl_->device; }
const Stream& NeuronCore::stream() const { return impl_->stream; }
Stream NeuronCore::finish() && { return std::move(impl_->stream); }
void NeuronCore::pin_order(bool pinned) { impl_->pinned = pinned; }

void NeuronCore::scope(std::string name) {
  if (impl_->stream.scopes.back() != name) impl_->stream.scopes.push_back(std::move(name));
  impl_->scope = static_cast<uint32_t>(impl_->stream.scopes.size() - 1);
}

Hbm NeuronCore::hbm(std::string name, const Shape& shape, DType dtype, Where where) {
  return impl_->declare(std::move(name), shape, dtype, none, false, where);
}
Hbm NeuronCore::hbm_alias(std::string name, const Hbm& of, const Shape& shape, DType dtype, Where where) {
  return impl_->declare(std::move(name), shape, dtype, of.value(), false, where);
}
Hbm NeuronCore::hbm_scratch(std::string name, const Shape& shape, DType dtype, Where where) {
  return impl_->declare(std::move(name), shape, dtype, none, true, where);
}
TilePool NeuronCore::sbuf_pool(std::string name, int buffers, Where where) {
  return {*this, impl_->open_pool(std::move(name), Memory::sbuf, buffers, where)};
}
TilePool NeuronCore::psum_pool(std::string name, int buffers, Where where) {
  return {*this, impl_->open_pool(std::move(name), Memory::psum, buffers, where)};
}
int64_t NeuronCore::sbuf_free() const { return impl_->sbuf.largest_free(); }
int64_t NeuronCore::psum_free() const { return impl_->psum.largest_free(); }

// ---- tensor engine

void NeuronCore::nc_matmul(const Tile& psum, const Tile& stationary, const Tile& moving, Accumulate group,
                           const MatmulOptions& options, Where where) {
  Draft draft = impl_->begin(Opcode::matmul, Engine::pe, where);
  const PeDescription& pe = impl_->device->pe;
  draft.instruction.start = group.start, draft.instruction.stop = group.stop;
  draft.out(psum).in(stationary, Role::stationary).in(moving, Role::moving);
  matmul_mode(draft, pe, options, psum, stationary, moving);
  const int rows = options.double_row ? 2 : 1;
  const int64_t m = stationary.free_elements() / rows, n = moving.free_elements() / rows;
  draft.require(psum.memory() == Memory::psum, "writes to PSUM only");
  draft.require(stationary.memory() == Memory::sbuf && moving.memory() == Memory::sbuf,
                "reads from SBUF only");
  if (stationary.partitions() != moving.partitions())
    draft.reject("contracts " + std::to_string(stationary.partitions()) + " stationary rows with " +
                 std::to_string(moving.partitions()) + " moving rows");
  if (stationary.partitions() > pe.rows)
    draft.reject("contracts " + std::to_string(stationary.partitions()) + " rows; the array has " +
                 std::to_string(pe.rows));
  if (m > pe.columns)
    draft.reject("stationary has " + std::to_string(m) + " columns; at most " + std::to_string(pe.columns));
  if (n > pe.moving_max)
    draft.reject("moving has " + std::to_string(n) + " columns; at most " + std::to_string(pe.moving_max));
  if (psum.partitions() != m || psum.free_elements() != n)
    draft.reject("destination " + shape_text(psum.view()) + " must be [" + std::to_string(m) + ", " +
                 std::to_string(n) + "]");
  draft.require(psum.dtype() == DType::float32 || (pe.psum_bf16 && psum.dtype() == DType::bfloat16),
                "destination must be float32");
  const bool full = stationary.dtype() == DType::float32 && moving.dtype() == DType::float32;
  if (!full && !(is_small_float(stationary.dtype()) && is_small_float(moving.dtype())))
    draft.reject(std::string("operands must both be float32 or both be narrower floats, not ") +
                 dtype_name(stationary.dtype()) + " and " + dtype_name(moving.dtype()));
  const ByteRange bytes = byte_range(psum.view());
  const auto bank = static_cast<uint32_t>(impl_->device->psum.bank_bytes);
  if (pe.moving_max <= 512 && bytes.first / bank != (bytes.end - 1) / bank)
    draft.reject("destination crosses a PSUM bank of " + std::to_string(bank) + " bytes");
  draft.instruction.onezero_stationary = options.stationary_onezero;
  draft.instruction.onezero_moving = options.moving_onezero;
  impl_->commit(draft);
}

void NeuronCore::nc_transpose(const Tile& out, const Tile& in, Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::transpose, engine, where);
  draft.out(out).in(in, Role::in0);
  on_engine(draft, {Engine::pe, Engine::dve});
  if (out.partitions() != in.free_elements() || in.partitions() != out.free_elements())
    draft.reject("destination " + shape_text(out.view()) + " must be the transpose of " +
                 shape_text(in.view()));
  draft.require(out.dtype() == in.dtype(), "keeps the dtype");
  if (engine == Engine::pe) {
    draft.require(in.memory() == Memory::sbuf, "on the tensor engine reads SBUF");
    draft.require(out.memory() == Memory::psum, "on the tensor engine writes PSUM");
    draft.require(is_float(in.dtype()), "on the tensor engine needs floats");
    if (in.partitions() > impl_->device->pe.rows || in.free_elements() > impl_->device->pe.columns)
      draft.reject("of " + shape_text(in.view()) + " is larger than the array");
  } else if (in.partitions() > 32 || in.free_elements() > 32) {
    draft.reject("on the vector engine is at most 32x32, not " + shape_text(in.view()));
  }
  impl_->commit(draft);
}

// ---- scalar engine

void NeuronCore::activation(const Tile& out, Function f, const Tile& in, const Scalar& scale,
                            const Scalar& bias, float alpha, Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::activation, engine, where);
  on_engine(draft, {Engine::act, Engine::gpsimd});
  if (engine == Engine::act && only_on_gpsimd(f))
    draft.reject(std::string(function_name(f)) + " is in no table of the scalar engine; use GpSimd");
  draft.instruction.function = f;
  draft.instruction.imm2 = alpha;
  draft.out(out).in(in, Role::in0);
  draft.scalar(scale, Role::scalar0, &Instruction::imm0).scalar(bias, Role::scalar1, &Instruction::imm1);
  same_shape(draft, out, in);
  impl_->commit(draft);
}

void NeuronCore::activation_reduce(const Tile& out, const Tile& sum, Function f, const Tile& in,
                                   const Scalar& scale, const Scalar& bias, Where where) {
  Draft draft = impl_->begin(Opcode::activation_reduce, Engine::act, where);
  if (only_on_gpsimd(f)) draft.reject(std::string(function_name(f)) + " is in no table of the scalar engine");
  draft.instruction.function = f;
  draft.instruction.reduce = AluOp::add;
  draft.out(out).out(sum, Role::result).in(in, Role::in0);
  draft.scalar(scale, Role::scalar0, &Instruction::imm0).scalar(bias, Role::scalar1, &Instruction::imm1);
  same_shape(draft, out, in);
  column(draft, sum, in, 1);
  draft.require(sum.dtype() == DType::float32, "sums into float32");
  impl_->commit(draft);
}

// ---- vector engine

void NeuronCore::tensor_tensor(const Tile& out, const Tile& a, AluOp op, const Tile& b, Engine engine,
                               Where where) {
  Draft draft = impl_->begin(Opcode::tensor_tensor, engine, where);
  on_engine(draft, {Engine::dve, Engine::gpsimd});
  draft.instruction.op0 = op;
  draft.require(op != AluOp::bypass, "needs an operator; tensor_copy copies");
  choose_arithmetic(draft, {op}, is_chip_integer(a.dtype()) && is_chip_integer(b.dtype()));
  draft.out(out).in(a, Role::in0).in(b, Role::in1);
  same_shape(draft, out, a), same_shape(draft, out, b);
  impl_->commit(draft);
}

void NeuronCore::tensor_scalar(const Tile& out, const Tile& in, const AluStep& first, const AluStep& second,
                               Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::tensor_scalar, engine, where);
  on_engine(draft, {Engine::dve, Engine::gpsimd});
  Instruction& i = draft.instruction;
  i.op0 = first.op, i.op1 = second.op, i.reverse0 = first.reversed, i.reverse1 = second.reversed;
  choose_arithmetic(draft, {first.op, second.op},
                    is_chip_integer(in.dtype()) && is_integer_operand(first.operand) &&
                        (second.op == AluOp::bypass || is_integer_operand(second.operand)));
  draft.out(out).in(in, Role::in0).scalar(first.operand, Role::scalar0, &Instruction::imm0);
  if (second.op != AluOp::bypass) draft.scalar(second.operand, Role::scalar1, &Instruction::imm1);
  same_shape(draft, out, in);
  impl_->commit(draft);
}

void NeuronCore::scalar_tensor_tensor(const Tile& out, const Tile& data, const AluStep& first, AluOp op,
                                      const Tile& b, bool swapped, Where where) {
  Draft draft = impl_->begin(Opcode::scalar_tensor_tensor, Engine::dve, where);
  Instruction& i = draft.instruction;
  i.op0 = first.op, i.op1 = op, i.reverse0 = first.reversed, i.reverse1 = swapped;
  choose_arithmetic(
      draft, {first.op, op},
      is_chip_integer(data.dtype()) && is_chip_integer(b.dtype()) && is_integer_operand(first.operand));
  draft.out(out)
      .in(data, Role::in0)
      .in(b, Role::in1)
      .scalar(first.operand, Role::scalar0, &Instruction::imm0);
  same_shape(draft, out, data), same_shape(draft, out, b);
  impl_->commit(draft);
}

void NeuronCore::tensor_scalar_reduce(const Tile& out, const Tile& reduced, const Tile& in,
                                      const AluStep& first, AluOp op, Where where) {
  Draft draft = impl_->begin(Opcode::tensor_scalar_reduce, Engine::dve, where);
  Instruction& i = draft.instruction;
  i.op0 = first.op, i.reverse0 = first.reversed, i.reduce = op;
  draft.require(is_reduction(op), "reduces by add, multiply, maximum or minimum");
  draft.require(!is_bitwise(first.op), "takes no bitwise operator");
  draft.out(out)
      .out(reduced, Role::result)
      .in(in, Role::in0)
      .scalar(first.operand, Role::scalar0, &Instruction::imm0);
  same_shape(draft, out, in);
  column(draft, reduced, in, 1);
  impl_->commit(draft);
}

void NeuronCore::tensor_reduce(const Tile& out, AluOp op, const Tile& in, int axes, Engine engine,
                               Where where) {
  Draft draft = impl_->begin(Opcode::tensor_reduce, engine, where);
  on_engine(draft, {Engine::dve, Engine::gpsimd});
  draft.instruction.reduce = op;
  draft.require(is_reduction(op), "reduces by add, multiply, maximum or minimum");
  if (axes < 0 || axes > in.rank())
    draft.reject("reduces " + std::to_string(axes) + " axes of " + shape_text(in.view()));
  int64_t kept = 1;
  for (int a = 0; axes != 0 && a < in.rank() - axes; ++a) kept *= in.size(a);
  draft.out(out).in(in, Role::in0);
  column(draft, out, in, static_cast<int>(kept));
  impl_->commit(draft);
}

void NeuronCore::tensor_tensor_scan(const Tile& out, const Tile& a, const Tile& b, const Scalar& initial,
                                    AluOp op0, AluOp op1, Where where) {
  Draft draft = impl_->begin(Opcode::tensor_tensor_scan, Engine::dve, where);
  draft.instruction.op0 = op0, draft.instruction.op1 = op1;
  draft.require(!is_bitwise(op0) && !is_bitwise(op1), "takes no bitwise operator");
  draft.out(out).in(a, Role::in0).in(b, Role::in1).scalar(initial, Role::scalar0, &Instruction::imm0);
  same_shape(draft, out, a), same_shape(draft, out, b);
  impl_->commit(draft);
}

void NeuronCore::tensor_copy(const Tile& out, const Tile& in, Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::tensor_copy, engine, where);
  on_engine(draft, {Engine::act, Engine::dve, Engine::gpsimd});
  draft.instruction.integer = is_chip_integer(in.dtype()) && is_chip_integer(out.dtype());
  draft.out(out).in(in, Role::in0);
  same_shape(draft, out, in);
  impl_->commit(draft);
}

void NeuronCore::tensor_copy_predicated(const Tile& out, const Tile& in, const Tile& predicate, Where where) {
  Draft draft = impl_->begin(Opcode::tensor_copy_predicated, Engine::dve, where);
  draft.instruction.integer = is_chip_integer(in.dtype()) && is_chip_integer(out.dtype());
  draft.out(out).in(in, Role::in0).in(predicate, Role::in1);
  same_shape(draft, out, in), same_shape(draft, out, predicate);
  impl_->commit(draft);
}

void NeuronCore::select(const Tile& out, const Tile& predicate, const Tile& on_true, const Tile& on_false,
                        Where where) {
  Draft draft = impl_->begin(Opcode::select, Engine::dve, where);
  draft.instruction.integer =
      is_chip_integer(on_true.dtype()) && is_chip_integer(on_false.dtype()) && is_chip_integer(out.dtype());
  draft.out(out).in(on_true, Role::in0).in(predicate, Role::in1).in(on_false, Role::in2);
  same_shape(draft, out, on_true), same_shape(draft, out, predicate), same_shape(draft, out, on_false);
  impl_->commit(draft);
}

void NeuronCore::select(const Tile& out, const Tile& predicate, const Tile& on_true, float on_false,
                        Where where) {
  Draft draft = impl_->begin(Opcode::select, Engine::dve, where);
  draft.instruction.imm2 = on_false;
  draft.out(out).in(on_true, Role::in0).in(predicate, Role::in1);
  same_shape(draft, out, on_true), same_shape(draft, out, predicate);
  impl_->commit(draft);
}

void NeuronCore::reciprocal(const Tile& out, const Tile& in, Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::reciprocal, engine, where);
  on_engine(draft, {Engine::dve, Engine::gpsimd});
  draft.out(out).in(in, Role::in0);
  same_shape(draft, out, in);
  impl_->commit(draft);
}

void NeuronCore::bn_stats(const Tile& out, const Tile& in, Where where) {
  Draft draft = impl_->begin(Opcode::bn_stats, Engine::dve, where);
  draft.out(out).in(in, Role::in0);
  column(draft, out, in, 6);
  draft.require(in.free_elements() <= 512, "takes at most 512 elements a row");
  draft.require(out.dtype() == DType::float32, "writes float32");
  impl_->commit(draft);
}

void NeuronCore::bn_aggr(const Tile& out, const Tile& in, Where where) {
  Draft draft = impl_->begin(Opcode::bn_aggr, Engine::dve, where);
  draft.out(out).in(in, Role::in0);
  column(draft, out, in, 2);
  draft.require(in.free_elements() % 3 == 0, "reads triples (count, mean, count*variance)");
  draft.require(out.dtype() == DType::float32 && in.dtype() == DType::float32, "reads and writes float32");
  impl_->commit(draft);
}

void NeuronCore::memset(const Tile& out, float value, Engine engine, Where where) {
  Draft draft = impl_->begin(Opcode::memset, engine, where);
  on_engine(draft, {Engine::dve, Engine::gpsimd});
  draft.instruction.imm2 = value;
  draft.out(out);
  impl_->commit(draft);
}

void NeuronCore::max8(const Tile& out, const Tile& in, Where where) {
  Draft draft = impl_->begin(Opcode::max8, Engine::dve, where);
  draft.out(out).in(in, Role::in0);
  column(draft, out, in, 8);
  draft.require(in.free_elements() >= 8, "needs at least eight elements a row");
  impl_->commit(draft);
}

void NeuronCore::find_index8(const Tile& out, const Tile& in, const Tile& values, Where where) {
  Draft draft = impl_->begin(Opcode::find_index8, Engine::dve, where);
  draft.out(out).in(in, Role::in0).in(values, Role::in1);
  column(draft, out, in, 8), column(draft, values, in, 8);
  draft.require(out.dtype() == DType::uint32, "writes uint32");
  impl_->commit(draft);
}

// ---- GpSimd

void NeuronCore::iota(const Tile& out, const AffinePattern& pattern, Where where) {
  Draft draft = impl_->begin(Opcode::iota, Engine::gpsimd, where);
  draft.instruction.extra = impl_->add_pattern(pattern);
  draft.out(out);
  impl_->commit(draft);
}

void NeuronCore::affine_select(const Tile& out, const Tile& in, const AffinePattern& pattern, AluOp compare,
                               float fill, Where where) {
  Draft draft = impl_->begin(Opcode::affine_select, Engine::gpsimd, where);
  draft.instruction.extra = impl_->add_pattern(pattern);
  draft.instruction.op0 = compare, draft.instruction.imm2 = fill;
  draft.require(is_comparison(compare), "needs a comparison");
  draft.out(out).in(in, Role::in0);
  same_shape(draft, out, in);
  bool alike = in.rank() == out.rank();
  for (int a = 0; alike && a < in.rank(); ++a) alike = in.size(a) == out.size(a);
  draft.require(alike, "needs operands with the same free dimensions, which the pattern indexes");
  impl_->commit(draft);
}

void NeuronCore::partition_reduce(const Tile& out, AluOp op, const Tile& in, Where where) {
  Draft draft = impl_->begin(Opcode::partition_reduce, Engine::gpsimd, where);
  draft.instruction.reduce = op;
  draft.require(is_reduction(op), "reduces by add, multiply, maximum or minimum");
  draft.out(out).in(in, Role::in0);
  if (out.partitions() != 1 || out.free_elements() != in.free_elements())
    draft.reject("destination " + shape_text(out.view()) + " must be one row of " +
                 std::to_string(in.free_elements()));
  impl_->commit(draft);
}

void NeuronCore::random_bits(const Tile& out, const Tile& state, const AffinePattern& pattern, Engine engine,
                             Where where) {
  Draft draft = impl_->begin(Opcode::random_bits, engine, where);
  on_engine(draft, {Engine::gpsimd, Engine::dve});
  draft.instruction.extra = impl_->add_pattern(pattern);
  draft.out(out).in(state, Role::in0);
  draft.require(out.dtype() == DType::uint32 && state.dtype() == DType::uint32, "reads and writes uint32");
  draft.require(state.partitions() == 1 && state.free_elements() == 4, "needs a state [1, 4]");
  impl_->commit(draft);
}

void NeuronCore::gpsimd_program(
    std::string name, std::span<const Tile> out, std::span<const Tile> in, double cycles,
    std::function<void(std::span<const ProgramOperand>, std::span<const ProgramOperand>)> body, Where where) {
  Draft draft = impl_->begin(Opcode::gpsimd_program, Engine::gpsimd, where);
  draft.require(!out.empty(), "needs a destination");
  draft.require(cycles >= 0, "needs a cost");
  for (const Tile& t : out) dense(draft, t), draft.out(t);
  for (const Tile& t : in) dense(draft, t), draft.in(t, Role::in0);
  draft.instruction.extra = static_cast<uint32_t>(impl_->stream.programs.size());
  impl_->commit(draft);
  impl_->stream.programs.push_back({std::move(name), cycles, std::move(body)});
}

}  // namespace heddle::systolic
