// Scalar programs on the engines: functions on ACT, arithmetic on DVE (two scalar operators at the price of
// one), what has no table on GpSimd. One tile at a time, whole programs per tile, pools rotating so that
// loads, work and stores of neighbouring tiles overlap.
#include "systolic/kernels/pointwise.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>

#include "ir/abi_codec.h"
#include "systolic/kernels/geometry.h"
#include "systolic/kernels/rows.h"

namespace heddle::systolic {
namespace {

// Steps as the engines have them.
std::optional<AluOp> alu_of(ScalarOp op) {
  switch (op) {
    case ScalarOp::add:
      return AluOp::add;
    case ScalarOp::sub:
      return AluOp::subtract;
    case ScalarOp::mul:
      return AluOp::multiply;
    case ScalarOp::div:
      return AluOp::divide;
    case ScalarOp::min:
      return AluOp::minimum;
    case ScalarOp::max:
      return AluOp::maximum;
    case ScalarOp::pow:
      return AluOp::power;
    case ScalarOp::mod:
      return AluOp::mod;
    case ScalarOp::equal:
      return AluOp::equal;
    case ScalarOp::not_equal:
      return AluOp::not_equal;
    case ScalarOp::less:
      return AluOp::less;
    case ScalarOp::less_equal:
      return AluOp::less_equal;
    case ScalarOp::greater:
      return AluOp::greater;
    case ScalarOp::greater_equal:
      return AluOp::greater_equal;
    case ScalarOp::logical_and:
      return AluOp::logical_and;
    case ScalarOp::logical_or:
      return AluOp::logical_or;
    case ScalarOp::logical_xor:
      return AluOp::logical_xor;
    default:
      return std::nullopt;
  }
}

struct FunctionChoice {
  Function function;
  Engine engine;
};

// Tables of ACT trap outside their range; functions whose arguments may leave it run on GpSimd, which does
// not.
std::optional<FunctionChoice> function_of(ScalarOp op) {
  switch (op) {
    case ScalarOp::abs:
      return FunctionChoice{Function::abs, Engine::act};
    case ScalarOp::sign:
      return FunctionChoice{Function::sign, Engine::act};
    case ScalarOp::exp:
      return FunctionChoice{Function::exp, Engine::act};
    case ScalarOp::tanh:
      return FunctionChoice{Function::tanh, Engine::act};
    case ScalarOp::erf:
      return FunctionChoice{Function::erf, Engine::act};
    case ScalarOp::square:
      return FunctionChoice{Function::square, Engine::act};
    case ScalarOp::sigmoid:
      return FunctionChoice{Function::sigmoid, Engine::act};
    case ScalarOp::relu:
      return FunctionChoice{Function::relu, Engine::act};
    case ScalarOp::gelu_erf:
      return FunctionChoice{Function::gelu, Engine::act};
    case ScalarOp::gelu_tanh:
      return FunctionChoice{Function::gelu_tanh, Engine::act};
    case ScalarOp::silu:
      return FunctionChoice{Function::silu, Engine::act};
    case ScalarOp::softplus:
      return FunctionChoice{Function::softplus, Engine::act};
    case ScalarOp::gelu_erf_grad:
      return FunctionChoice{Function::gelu_dx, Engine::act};
    case ScalarOp::gelu_tanh_grad:
      return FunctionChoice{Function::gelu_tanh_dx, Engine::act};
    case ScalarOp::silu_grad:
      return FunctionChoice{Function::silu_dx, Engine::act};
    case ScalarOp::log:
      return FunctionChoice{Function::log, Engine::gpsimd};
    case ScalarOp::sqrt:
      return FunctionChoice{Function::sqrt, Engine::gpsimd};
    case ScalarOp::rsqrt:
      return FunctionChoice{Function::rsqrt, Engine::gpsimd};
    case ScalarOp::sin:
      return FunctionChoice{Function::sin, Engine::gpsimd};
    case ScalarOp::cos:
      return FunctionChoice{Function::cos, Engine::gpsimd};
    case ScalarOp::floor:
      return FunctionChoice{Function::floor, Engine::gpsimd};
    case ScalarOp::ceil:
      return FunctionChoice{Function::ceil, Engine::gpsimd};
    case ScalarOp::round:
      return FunctionChoice{Function::round, Engine::gpsimd};
    case ScalarOp::is_nan:
      return FunctionChoice{Function::is_nan, Engine::gpsimd};
    default:
      return std::nullopt;
  }
}

bool is_native_float(DType d) { return d == DType::float32 || d == DType::bfloat16; }

}  // namespace

backend::Offer offer_program(const ScalarProgram& program) {
  const auto io = [](DType d) { return is_native_float(d) || d == DType::boolean || d == DType::int32; };
  for (const DType d : program.inputs)
    if (!io(d))
      return backend::no(std::string("operands of ") + dtype_name(d) +
                         " have no tile; the engines take float32, bfloat16, int32 and bool");
  for (const uint32_t r : program.outputs) {
    if (!io(program.dtype(r)))
      return backend::no(std::string("results of ") + dtype_name(program.dtype(r)) + " have no tile");
    if (r >= program.inputs.size() && program.steps[r - program.inputs.size()].op == ScalarOp::constant)
      return backend::no("a result that is a constant");
  }
  for (const ScalarStep& step : program.steps) {
    const std::string name = scalar_op_info(step.op).name;
    if (step.op == ScalarOp::constant) continue;
    const DType in = program.dtype(step.operand[0]);
    if (step.op == ScalarOp::cast) {
      if (!io(in) || !io(step.dtype))
        return backend::no("casts " + std::string(dtype_name(in)) + " to " + dtype_name(step.dtype));
      continue;
    }
    if (step.op == ScalarOp::select || step.op == ScalarOp::logical_not) {
      if (step.dtype == DType::int32) return backend::no(name + " of int32");
      continue;
    }
    const bool arithmetic = step.op == ScalarOp::add || step.op == ScalarOp::sub ||
                            step.op == ScalarOp::mul || step.op == ScalarOp::min || step.op == ScalarOp::max;
    const bool comparison = step.dtype == DType::boolean && alu_of(step.op);
    if (in == DType::int32 && !arithmetic && !comparison) return backend::no("step " + name + " of int32");
    if (!alu_of(step.op) && !function_of(step.op) && step.op != ScalarOp::neg &&
        step.op != ScalarOp::reciprocal)
      return backend::no("step " + name + " has no engine");
  }
  return backend::yes();
}

ProgramEmitter::ProgramEmitter(NeuronCore& nc, const ScalarProgram& program, std::string name)
    : nc_(nc), program_(program), last_use_(program.registers(), -1), slot_(program.registers(), -1) {
  for (size_t s = 0; s < program.steps.size(); ++s)
    for (int i = 0; i < scalar_op_info(program.steps[s].op).operands; ++i)
      last_use_[program.steps[s].operand[i]] = static_cast<int>(s);
  const int end = static_cast<int>(program.steps.size());
  for (const uint32_t r : program.outputs) last_use_[r] = end;
  // Linear scan: a register takes a pool that nobody uses any more.
  std::vector<int> free_at;
  for (size_t s = 0; s < program.steps.size(); ++s) {
    if (program.steps[s].op == ScalarOp::constant) continue;
    const uint32_t r = static_cast<uint32_t>(program.inputs.size() + s);
    int slot = -1;
    for (size_t k = 0; k < free_at.size() && slot < 0; ++k)
      if (free_at[k] < static_cast<int>(s)) slot = static_cast<int>(k);
    if (slot < 0) {
      slot = static_cast<int>(free_at.size());
      free_at.push_back(0);
    }
    free_at[static_cast<size_t>(slot)] = std::max(last_use_[r], static_cast<int>(s));
    slot_[r] = slot;
  }
  slots_ = static_cast<int>(free_at.size());
  for (int k = 0; k < slots_; ++k) pools_.push_back(nc.sbuf_pool(name + ".r" + std::to_string(k), 2));
}

DType ProgramEmitter::tile_dtype(uint32_t r, std::span<const DType> output_dtypes) const {
  const DType dtype = program_.dtype(r);
  if (dtype == DType::int32) return DType::int32;
  const bool is_cast =
      r >= program_.inputs.size() && program_.steps[r - program_.inputs.size()].op == ScalarOp::cast;
  // A register that only leaves is written in the output's own dtype.
  bool read_again = false;
  for (const ScalarStep& s : program_.steps)
    for (int i = 0; i < scalar_op_info(s.op).operands; ++i) read_again |= s.operand[i] == r;
  if (!read_again || is_cast) {
    for (size_t o = 0; o < program_.outputs.size(); ++o)
      if (program_.outputs[o] == r) return output_dtypes[o];
    if (is_cast && dtype == DType::bfloat16) return DType::bfloat16;
  }
  return DType::float32;
}

std::vector<Tile> ProgramEmitter::emit(std::span<const ProgramInput> inputs, int partitions, int columns,
                                       std::span<const DType> output_dtypes) {
  std::vector<ProgramInput> reg(program_.registers());
  std::copy(inputs.begin(), inputs.end(), reg.begin());
  const auto number = [&](uint32_t r) -> std::optional<double> {
    if (r < program_.inputs.size()) return std::nullopt;
    const ScalarStep& s = program_.steps[r - program_.inputs.size()];
    if (s.op != ScalarOp::constant) return std::nullopt;
    return is_integer(s.dtype) ? static_cast<double>(s.integer) : s.value;
  };
  // A scalar operand of an instruction, when the register is one number or one per partition.
  const auto scalar = [&](uint32_t r) -> std::optional<Scalar> {
    if (const auto n = number(r)) return Scalar(*n);
    if (reg[r].per_partition && reg[r].tile.dtype() == DType::float32) return Scalar(reg[r].tile);
    return std::nullopt;
  };
  // A full tile: constants and per-partition values are spread.
  const auto full = [&](uint32_t r, int width) -> Tile {
    if (const auto n = number(r))
      throw Error(ErrorCode::internal,
                  "pointwise lowering: constant " + std::to_string(*n) + " used as a tile");
    return reg[r].per_partition && width > 1 ? reg[r].tile.repeat(1, width).at(0, 0) : reg[r].tile;
  };
  const uint32_t first = static_cast<uint32_t>(program_.inputs.size());
  for (uint32_t s = 0; s < program_.steps.size(); ++s) {
    const ScalarStep& step = program_.steps[s];
    const uint32_t r = first + s;
    if (step.op == ScalarOp::constant) continue;
    bool narrow = true;  // every operand one number per partition: so is the result
    for (int i = 0; i < scalar_op_info(step.op).operands; ++i)
      narrow &= number(step.operand[i]).has_value() || reg[step.operand[i]].per_partition;
    const int width = narrow ? 1 : columns;
    Tile out = pools_[static_cast<size_t>(slot_[r])].tile(partitions, {width}, tile_dtype(r, output_dtypes));
    reg[r] = {out, narrow};
    emit_step(step, out, scalar, [&](uint32_t operand) { return full(operand, width); });
  }
  std::vector<Tile> outputs;
  for (const uint32_t r : program_.outputs) {
    Tile t = reg[r].tile;
    if (reg[r].per_partition && columns > 1) t = t.repeat(1, columns).at(0, 0);
    outputs.push_back(t);
  }
  return outputs;
}

void ProgramEmitter::emit_step(const ScalarStep& step, const Tile& out, const ScalarOf& scalar,
                               const TileOf& tile) {
  const uint32_t a = step.operand[0], b = step.operand[1];
  const bool integer = program_.dtype(a) == DType::int32;
  const Engine alu_engine = integer ? Engine::gpsimd : Engine::dve;
  if (const auto op = alu_of(step.op)) {
    const auto left = scalar(a), right = scalar(b);
    if (left && right) {  // both per partition, or one of them a number
      if (left->is_tile())
        nc_.tensor_scalar(out, tile(a), {*op, *right}, {}, alu_engine);
      else if (right->is_tile())
        nc_.tensor_scalar(out, tile(b), reversed(*op, *left), {}, alu_engine);
      else
        throw Error(ErrorCode::internal,
                    "pointwise lowering: a step of two constants should have been folded");
    } else if (right) {
      nc_.tensor_scalar(out, tile(a), {*op, *right}, {}, alu_engine);
    } else if (left) {
      nc_.tensor_scalar(out, tile(b), reversed(*op, *left), {}, alu_engine);
    } else {
      nc_.tensor_tensor(out, tile(a), *op, tile(b), alu_engine);
    }
    return;
  }
  if (const auto f = function_of(step.op)) {
    nc_.activation(out, f->function, tile(a), 1.0, 0.0, 0.0f, f->engine);
    return;
  }
  switch (step.op) {
    case ScalarOp::neg:
      nc_.tensor_scalar(out, tile(a), {AluOp::multiply, -1.0});
      break;
    case ScalarOp::reciprocal:
      nc_.reciprocal(out, tile(a));
      break;
    case ScalarOp::logical_not:
      nc_.tensor_scalar(out, tile(a), {AluOp::equal, 0.0});
      break;
    case ScalarOp::cast:
      if (step.dtype == DType::boolean)
        nc_.tensor_scalar(out, tile(a), {AluOp::not_equal, 0.0});
      else
        nc_.tensor_copy(out, tile(a));
      break;
    case ScalarOp::select:
      emit_select(step, out, scalar, tile);
      break;
    default:
      throw Error(ErrorCode::internal, std::string("pointwise lowering: step ") +
                                           scalar_op_info(step.op).name + " was offered but has no engine");
  }
}

void ProgramEmitter::emit_select(const ScalarStep& step, const Tile& out, const ScalarOf& scalar,
                                 const TileOf& tile) {
  const auto on_true = scalar(step.operand[1]), on_false = scalar(step.operand[2]);
  const Tile predicate = tile(step.operand[0]);
  if (!(on_true && !on_true->is_tile())) {
    if (on_false && !on_false->is_tile())
      nc_.select(out, predicate, tile(step.operand[1]), static_cast<float>(on_false->number()));
    else
      nc_.select(out, predicate, tile(step.operand[1]), tile(step.operand[2]));
    return;
  }
  // A number where true: the predicate is turned round by copying over the other branch.
  if (on_false && !on_false->is_tile())
    nc_.memset(out, static_cast<float>(on_false->number()));
  else
    nc_.tensor_copy(out, tile(step.operand[2]));
  if (!constant_tile_pool_) constant_tile_pool_.emplace(nc_.sbuf_pool("constant", 2));
  const Tile number = constant_tile_pool_->tile(out.partitions(), {1}, out.dtype());
  nc_.memset(number, static_cast<float>(on_true->number()));
  const int width = static_cast<int>(out.free_elements());
  nc_.tensor_copy_predicated(out, width > 1 ? number.repeat(1, width).at(0, 0) : number, predicate);
}

namespace {

// Bytes of SBUF per partition that a program's tiles may take: all but a share for what else is resident.
constexpr int64_t budget_divisor = 2;
constexpr int64_t run_elements = 1024;  // of a partition, when rows are shorter

void emit_pointwise(const NodeContext& c) {
  const ScalarProgram& program = *c.attributes.get<ScalarProgramPtr>("body");
  const Shape& common = c.outputs[0].shape;
  std::vector<Shape> shapes;
  for (const Operand& o : c.inputs) shapes.push_back(o.shape);
  std::vector<DType> output_dtypes;
  for (const Operand& o : c.outputs) {
    shapes.push_back(o.shape);
    output_dtypes.push_back(o.dtype);
  }
  IterationSpace space = iteration_space(common, shapes);
  NeuronCore& nc = c.nc;
  ProgramEmitter emitter(nc, program, "pointwise");
  const size_t n_in = c.inputs.size();
  // A tile of every operand and register, two buffers each, in float32.
  const int64_t tiles = 2 * (static_cast<int64_t>(n_in) + emitter.slots()) * 4;
  int64_t width = std::min<int64_t>(2048, nc.sbuf_free() / budget_divisor / tiles);
  if (width < 1)
    throw Error(ErrorCode::out_of_memory,
                std::string(c.name) + ": the pointwise program needs more tiles than SBUF holds");

  // One dense axis: cut it into [128, width] blocks, then what remains.
  if (space.size.size() == 1) {
    const int64_t n = space.size[0];
    const int64_t per_row = std::max<int64_t>(1, std::min(width, n / 128));
    const int64_t rows = n / per_row, rest = n - rows * per_row;
    std::vector<std::vector<int64_t>> stride(shapes.size());
    for (size_t o = 0; o < shapes.size(); ++o) stride[o] = {space.stride[o][0] * per_row, space.stride[o][0]};
    space.size = {rows, per_row};
    std::swap(space.stride, stride);
    PointwiseLoop loop{nc, emitter, c.inputs, c.outputs, space, output_dtypes};
    loop.run(0, rows, per_row, width);
    if (rest > 0) {
      IterationSpace tail = space;
      tail.size = {1, rest};
      PointwiseLoop last{nc, emitter, c.inputs, c.outputs, tail, output_dtypes};
      last.run(rows * per_row, 1, rest, width);
    }
    return;
  }
  PointwiseLoop loop{nc, emitter, c.inputs, c.outputs, space, output_dtypes};
  loop.run_outer(width);
}

backend::Offer offer_pointwise(const backend::NodeRef& node) {
  const hd_graph* body = node.program();
  if (body == nullptr) return backend::no("a pointwise node without a body");
  return offer_program(decode_program(*body));
}

constexpr Lowering lowerings[] = {{"pointwise", offer_pointwise, emit_pointwise}};

}  // namespace

void PointwiseLoop::run_outer(int64_t width) {
  const size_t axes = space.size.size();
  const int64_t rows = space.size[axes - 2], columns = space.size[axes - 1];
  std::vector<int64_t> index(axes - 2, 0);
  while (true) {
    base.assign(space.stride.size(), 0);
    for (size_t o = 0; o < space.stride.size(); ++o)
      for (size_t a = 0; a + 2 < axes; ++a) base[o] += index[a] * space.stride[o][a];
    run(0, rows, columns, width);
    size_t a = index.size();
    while (a > 0 && ++index[a - 1] == space.size[a - 1]) index[--a] = 0;
    if (a == 0) break;
  }
}

void PointwiseLoop::run(int64_t offset, int64_t rows, int64_t columns, int64_t width) {
  const size_t n_in = inputs.size(), axes = space.size.size();
  std::vector<TilePool> pools;
  for (size_t i = 0; i < n_in; ++i) pools.push_back(nc.sbuf_pool("operand" + std::to_string(i), 2));
  base.resize(space.stride.size(), 0);
  const auto strides = [&](size_t at) {
    return std::pair{space.stride[at][axes - 2], space.stride[at][axes - 1]};
  };
  const auto box = [&](const Operand& o, size_t at, const RowBlock& rows_of, const Piece& column) {
    const auto [rs, cs] = strides(at);
    // `offset` counts elements of the common shape; it is only used for the tail of a dense axis.
    const int64_t start = base[at] + (cs != 0 ? offset * cs : 0) + rows_of.begin * rs + column.begin * cs;
    return o.hbm.box(start, {rows_of.partitions, rows_of.run, column.count}, {rows_of.run * rs, rs, cs});
  };
  for (const Piece& column : pieces(columns, width)) {
    std::vector<std::optional<ProgramInput>> hoisted(n_in);  // the same for every row block
    const int w = static_cast<int>(column.count);
    // Whole short rows come some per partition: fewer descriptors, and fewer instructions.
    const int64_t most = w == columns ? std::min(width, run_elements) : 1;
    for (const RowBlock& block : row_blocks(rows, column.count, most)) {
      const int p = block.partitions, run = block.run;
      std::vector<ProgramInput> operands(n_in);
      for (size_t i = 0; i < n_in; ++i) {
        const auto [rs, cs] = strides(i);
        const bool same_rows = rs == 0, same_columns = cs == 0;
        if (!same_rows || !hoisted[i]) {
          const RowBlock loaded =
              same_rows ? RowBlock{block.begin, static_cast<int>(std::min<int64_t>(128, rows)), 1} : block;
          const bool narrow = same_columns && loaded.run == 1;
          // A per-partition scalar must be float32 to be an operand of an instruction: cast as it is loaded.
          const bool cast = narrow && inputs[i].dtype == DType::bfloat16;
          const int elements = same_columns ? 1 : w;
          const Tile t = pools[i].tile(loaded.partitions, {loaded.run, elements},
                                       cast ? DType::float32 : inputs[i].dtype);
          nc.dma_load(t, box(inputs[i], i, loaded, same_columns ? Piece{column.begin, 1} : column));
          operands[i] = {t.reshape({loaded.run * elements}), narrow};
          if (same_rows) hoisted[i] = operands[i];
        }
        if (same_rows) {
          operands[i] = *hoisted[i];
          operands[i].tile = operands[i].tile.rows(0, p);
          if (run > 1 && !same_columns) operands[i].tile = operands[i].tile.repeat(0, run);
        } else if (same_columns && run > 1) {
          operands[i].tile = operands[i].tile.repeat(1, w);
        }
      }
      const std::vector<Tile> results = emitter.emit(operands, p, run * w, output_dtypes);
      for (size_t o = 0; o < outputs.size(); ++o) {
        const Tile t = results[o].rank() == 1 && run > 1 ? results[o].reshape({run, w}) : results[o];
        nc.dma_store(box(outputs[o], n_in + o, block, column), t);
      }
    }
  }
}

std::span<const Lowering> pointwise_lowerings() { return lowerings; }

}  // namespace heddle::systolic
