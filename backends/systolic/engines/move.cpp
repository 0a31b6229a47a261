#include "systolic/engines/move.h"

#include <cstring>

#include "systolic/engines/binder.h"

namespace heddle::systolic {
namespace {

// Adds a dimension of 1 in front, so that partitions are cut like every other dimension.
HostOperand with_unit_axis(const HostOperand& operand) {
  HostOperand o = operand;
  o.rank = operand.rank + 1;
  o.size[0] = 1, o.stride[0] = 0;
  for (int i = 0; i < operand.rank; ++i) {
    o.size[static_cast<size_t>(i) + 1] = operand.size[static_cast<size_t>(i)];
    o.stride[static_cast<size_t>(i) + 1] = operand.stride[static_cast<size_t>(i)];
  }
  return o;
}

Arithmetic arithmetic_between(DType to, DType from) {
  const bool integers = (is_integer(to) || to == DType::boolean) && is_integer(from);
  if (!integers) return Arithmetic::float32;
  return is_signed(from) ? Arithmetic::int32 : Arithmetic::uint32;
}

template <class T>
void copy_elements(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride, int64_t n) {
  for (int64_t i = 0; i < n; ++i, to += to_stride, from += from_stride) std::memcpy(to, from, sizeof(T));
}

void copy_strided(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride, int64_t n,
                  size_t width) {
  switch (width) {
    case 1:
      return copy_elements<uint8_t>(to, to_stride, from, from_stride, n);
    case 2:
      return copy_elements<uint16_t>(to, to_stride, from, from_stride, n);
    case 4:
      return copy_elements<uint32_t>(to, to_stride, from, from_stride, n);
    default:
      return copy_elements<uint64_t>(to, to_stride, from, from_stride, n);
  }
}

// The block of the two innermost dimensions.
void transpose_rows(const Move& move, std::byte* to, const std::byte* from) {
  const Nest& nest = move.nest;
  const auto &to_stride = nest.stride[0], &from_stride = nest.stride[1];
  if (to_stride[0] == static_cast<int64_t>(move.width))  // source rows are dimension 0
    transpose_block(to, to_stride[1], from, from_stride[0], nest.size[0], nest.size[1], move.width);
  else
    transpose_block(to, to_stride[0], from, from_stride[1], nest.size[1], nest.size[0], move.width);
}

// Most moves are a few short rows: arguments of one cache line, and copies of a known size.
struct RowsMove {
  Place to, from;
  int64_t to_stride = 0, from_stride = 0;
  uint32_t rows = 0, bytes = 0;
};

template <size_t known>
Fault run_rows(const void* arguments, const Context& context) {
  const RowsMove& move = *static_cast<const RowsMove*>(arguments);
  std::byte* to = move.to.in(context);
  const std::byte* from = move.from.in(context);
  for (uint32_t r = move.rows; r > 0; --r, to += move.to_stride, from += move.from_stride)
    std::memcpy(to, from, known > 0 ? known : move.bytes);
  return Fault::ok;
}

StepFunction rows_step(size_t bytes) {
  switch (bytes) {
    case 4:
      return run_rows<4>;
    case 16:
      return run_rows<16>;
    case 32:
      return run_rows<32>;
    case 64:
      return run_rows<64>;
    case 128:
      return run_rows<128>;
    default:
      return run_rows<0>;
  }
}

Fault run_move_step(const void* move, const Context& context) {
  return run_move(*static_cast<const Move*>(move), context, 0, 0);
}

}  // namespace

std::optional<Move> make_move(const HostOperand& to, const HostOperand& from, bool accumulate) {
  Move move;
  move.to = to.place, move.from = from.place;
  move.width = size_of(to.dtype);
  const std::array<HostOperand, 2> operands = {with_unit_axis(to), with_unit_axis(from)};
  if (accumulate || to.dtype != from.dtype) {
    const Arithmetic arithmetic = accumulate ? Arithmetic::float32 : arithmetic_between(to.dtype, from.dtype);
    MapBuilder builder(operands[0], arithmetic);
    const Register source = builder.read(operands[1]);
    if (accumulate) {
      builder.read_out();
      builder.binary(register_out, AluOp::add, register_out, source);
    } else {
      builder.binary(register_out, AluOp::bypass, source, source);
    }
    const auto map = builder.finish();
    if (!map) return std::nullopt;
    move.kind = Move::Kind::convert;
    move.map = *map;
    return move;
  }
  const std::array<bool, 2> per_partition = {false, false};
  if (!make_nest(operands, per_partition, false, move.nest)) return std::nullopt;
  const auto width = static_cast<int64_t>(move.width);
  const bool to_dense = move.nest.stride[0][0] == width, from_dense = move.nest.stride[1][0] == width;
  if ((to_dense && from_dense) || move.nest.row() == 1)
    move.kind = Move::Kind::rows;
  else if (move.nest.rank > 1 &&
           ((to_dense && move.nest.stride[1][1] == width) || (from_dense && move.nest.stride[0][1] == width)))
    move.kind = Move::Kind::transpose;
  else
    move.kind = Move::Kind::elements;
  return move;
}

Fault run_move(const Move& move, const Context& context, int64_t to_shift, int64_t from_shift) {
  if (move.kind == Move::Kind::convert) {
    if (to_shift == 0 && from_shift == 0) return run_map(&move.map, context);
    Map map = move.map;
    map.place[0].offset += to_shift;
    map.place[1].offset += from_shift;
    return run_map(&map, context);
  }
  const Nest& nest = move.nest;
  std::array<std::byte*, nest_operands_max> at{};
  at[0] = move.to.in(context) + to_shift;
  at[1] = move.from.in(context) + from_shift;
  const int64_t to_stride = nest.stride[0][0], from_stride = nest.stride[1][0];
  switch (move.kind) {
    case Move::Kind::rows: {
      const size_t bytes = static_cast<size_t>(nest.row()) * move.width;
      for_each_row(nest, at, [&](const auto& row) { std::memcpy(row[0], row[1], bytes); });
      break;
    }
    case Move::Kind::transpose: {
      // Dimensions 0 and 1 form the block; the rest are loops around it.
      if (nest.rank == 2) {
        transpose_rows(move, at[0], at[1]);
        break;
      }
      Nest outer = nest;
      outer.rank = nest.rank - 1;
      for (size_t d = 1; d < static_cast<size_t>(nest.rank) - 1; ++d) {
        outer.size[d] = nest.size[d + 1];
        outer.stride[0][d] = nest.stride[0][d + 1], outer.stride[1][d] = nest.stride[1][d + 1];
      }
      for_each_row(outer, at, [&](const auto& row) { transpose_rows(move, row[0], row[1]); });
      break;
    }
    default:
      for_each_row(nest, at, [&](const auto& row) {
        copy_strided(row[0], to_stride, row[1], from_stride, nest.row(), move.width);
      });
  }
  return Fault::ok;
}

void bind_move(Binder& binder, const Move& move) {
  if (move.kind == Move::Kind::convert) return binder.add(run_map, move.map);
  const Nest& nest = move.nest;
  const size_t bytes = static_cast<size_t>(nest.row()) * move.width;
  if (move.kind != Move::Kind::rows || nest.rank > 2 || bytes > UINT32_MAX || nest.size[1] > UINT32_MAX)
    return binder.add(run_move_step, move);
  RowsMove rows{move.to, move.from, 0, 0, 1, static_cast<uint32_t>(bytes)};
  if (nest.rank == 2) {
    rows.to_stride = nest.stride[0][1], rows.from_stride = nest.stride[1][1];
    rows.rows = static_cast<uint32_t>(nest.size[1]);
  }
  binder.add(rows_step(bytes), rows);
}

}  // namespace heddle::systolic
