#include "systolic/kernels/matmul_epilogue.h"

#include <algorithm>

namespace heddle::systolic {
namespace {

constexpr int result_buffers = 4, operand_buffers = 2;
constexpr size_t kept_rows = 4;  // row vectors of one operand

bool uses_gpsimd(const ScalarProgram& program) {
  for (const ScalarStep& s : program.steps) {
    switch (s.op) {
      case ScalarOp::log:
      case ScalarOp::sqrt:
      case ScalarOp::rsqrt:
      case ScalarOp::sin:
      case ScalarOp::cos:
      case ScalarOp::floor:
      case ScalarOp::ceil:
      case ScalarOp::round:
      case ScalarOp::is_nan:
        return true;
      default:
        break;
    }
  }
  return false;
}

// Rows of a tile, all at once: [partitions, count * columns] of a dense [partitions, count, columns].
Tile flat(const Tile& tile) { return tile.reshape({static_cast<int>(tile.free_elements())}); }

// The same rows of a dense value whose element (row, column) is start + row*rs + column*cs.
Hbm box_of(const Hbm& hbm, int64_t start, const ResultRows& rows, const Piece& n, int64_t rs, int64_t cs) {
  return hbm.box(start + (rows.begin + rows.first) * rs + n.begin * cs,
                 {rows.partitions, rows.count, n.count}, {rows.run * rs, rs, cs});
}

Hbm target(const Operand& o, const std::vector<int64_t>& batch, const ResultRows& rows, const Piece& n) {
  int64_t start = 0;
  for (size_t a = 0; a < batch.size(); ++a) start = start * o.shape[static_cast<int>(a)] + batch[a];
  return box_of(o.hbm, start * o.shape.at(-2) * o.shape.at(-1), rows, n, o.shape.at(-1), 1);
}

}  // namespace

Epilogue::Epilogue(const NodeContext& c, bool has_program)
    : c_(c), staging_(c.nc.sbuf_pool("result", result_buffers)) {
  if (!has_program) return;
  const ScalarProgram& program = *c.attributes.get<ScalarProgramPtr>("body");
  emitter_.emplace(c.nc, program, "epilogue");
  direct_ = !uses_gpsimd(program);
  const Shape& y = c.outputs[0].shape;
  for (size_t i = 2; i < c.inputs.size(); ++i) {
    std::vector<int64_t> stride(static_cast<size_t>(y.rank()), 0);
    const Shape& s = c.inputs[i].shape;
    int64_t step = 1;
    for (int axis = y.rank() - 1, own = s.rank() - 1; axis >= 0 && own >= 0; --axis, --own) {
      if (s[own] != 1) stride[static_cast<size_t>(axis)] = step;
      step *= s[own];
    }
    const bool is_row = stride.size() < 2 || (stride[stride.size() - 2] == 0 && stride.back() != 0);
    extra_.push_back(
        {stride,
         c.nc.sbuf_pool("epilogue.operand", is_row ? static_cast<int>(kept_rows) : operand_buffers),
         {}});
  }
  for (const Operand& o : c.outputs) output_dtypes_.push_back(o.dtype);
}

int64_t Epilogue::bytes() const {
  const int64_t registers = emitter_ ? emitter_->slots() : 0, operands = static_cast<int64_t>(extra_.size());
  const int64_t tiles = result_buffers + 2 * registers + static_cast<int64_t>(kept_rows) * operands + 2;
  return tiles * result_columns * static_cast<int64_t>(sizeof(float));
}

ProgramInput Epilogue::load(size_t i, const std::vector<int64_t>& batch, const ResultRows& rows,
                            const Piece& n) {
  NeuronCore& nc = c_.nc;
  const Operand& operand = c_.inputs[i + 2];
  Extra& extra = extra_[i];
  const size_t axes = extra.stride.size();
  const int64_t rs = extra.stride[axes - 2], cs = extra.stride[axes - 1];
  const int columns = static_cast<int>(n.count);
  int64_t start = 0;
  for (size_t a = 0; a < batch.size(); ++a) start += batch[a] * extra.stride[a];
  if (rs == 0 && cs != 0) {  // the same row for every row
    const int64_t at = start + n.begin * cs;
    auto it = std::find_if(extra.rows.begin(), extra.rows.end(), [&](const auto& row) {
      return row.first == at && row.second.free_elements() == columns &&
             row.second.partitions() >= rows.partitions;
    });
    if (it == extra.rows.end()) {
      if (extra.rows.size() == kept_rows) extra.rows.erase(extra.rows.begin());
      const Tile row = extra.pool.tile(rows.partitions, {columns}, operand.dtype);
      nc.dma_load(row, operand.hbm.box(at, {rows.partitions, columns}, {0, cs}));
      it = extra.rows.insert(extra.rows.end(), {at, row});
    }
    const Tile row = it->second.rows(0, rows.partitions);
    return {rows.count == 1 ? row : row.repeat(0, rows.count), false};
  }
  if (cs ==
      0) {  // a number for each row; one per partition must be float32 to be an operand of an instruction
    const bool one = rows.count == 1;
    const Tile t = extra.pool.tile(rows.partitions, {rows.count},
                                   one && operand.dtype == DType::bfloat16 ? DType::float32 : operand.dtype);
    nc.dma_load(t, box_of(operand.hbm, start, rows, {0, 1}, rs, 1).reshape({rows.partitions, rows.count}));
    return {one ? t : t.repeat(1, columns), one};
  }
  const Tile t = extra.pool.tile(rows.partitions, {rows.count, columns}, operand.dtype);
  nc.dma_load(t, box_of(operand.hbm, start, rows, n, rs, cs));
  return {flat(t), false};
}

void Epilogue::store(const Tile& psum, const std::vector<int64_t>& batch, const ResultRows& rows,
                     const Piece& n) {
  NeuronCore& nc = c_.nc;
  const int columns = static_cast<int>(n.count), elements = rows.count * columns;
  const auto staged = [&](const Tile& from, DType dtype) {
    const Tile tile = staging_.tile(rows.partitions, {elements}, dtype);
    nc.tensor_copy(tile, from, evict_engine());
    return tile;
  };
  const auto leave = [&](const Operand& o, const Tile& tile) {
    nc.dma_store(target(o, batch, rows, n), tile.reshape({rows.count, columns}));
  };
  Tile result = flat(psum);
  if (!emitter_) return leave(c_.outputs[0], staged(result, c_.outputs[0].dtype));
  // The program sees the matmul's own dtype.
  if (!direct_ || c_.outputs[0].dtype == DType::bfloat16) result = staged(result, c_.inputs[0].dtype);
  std::vector<ProgramInput> operands = {{result, false}};
  for (size_t i = 0; i < extra_.size(); ++i) operands.push_back(load(i, batch, rows, n));
  const std::vector<Tile> results = emitter_->emit(operands, rows.partitions, elements, output_dtypes_);
  for (size_t o = 0; o < results.size(); ++o) {
    // The raw product may be kept: DMA leaves from SBUF.
    const bool raw = results[o].memory() == Memory::psum;
    leave(c_.outputs[o], raw ? staged(results[o], c_.outputs[o].dtype) : results[o]);
  }
}

}  // namespace heddle::systolic
