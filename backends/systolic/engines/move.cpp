#include "systolic/engines/move.h"

#include <cstring>

namespace heddle::systolic {
namespace {

// Adds a dimension of 1 in front, so that partitions are cut like every other dimension.
Operand with_unit_axis(const Operand& operand) {
  Operand o = operand;
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

}  // namespace

std::optional<Move> make_move(const Operand& to, const Operand& from, bool accumulate) {
  Move move;
  move.to = to.place, move.from = from.place;
  move.width = size_of(to.dtype);
  const std::array<Operand, 2> operands = {with_unit_axis(to), with_unit_axis(from)};
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
      Nest outer = nest;
      outer.rank = nest.rank - 1;
      for (size_t d = 1; d < static_cast<size_t>(nest.rank) - 1; ++d) {
        outer.size[d] = nest.size[d + 1];
        outer.stride[0][d] = nest.stride[0][d + 1], outer.stride[1][d] = nest.stride[1][d + 1];
      }
      const bool to_dense = to_stride == static_cast<int64_t>(move.width);
      const int64_t inner = nest.size[0], rows = nest.size[1];
      for_each_row(outer, at, [&](const auto& row) {
        if (to_dense)  // source rows are dimension 0
          transpose_block(row[0], nest.stride[0][1], row[1], from_stride, inner, rows, move.width);
        else
          transpose_block(row[0], to_stride, row[1], nest.stride[1][1], rows, inner, move.width);
      });
      break;
    }
    default:
      for_each_row(nest, at, [&](const auto& row) {
        copy_strided(row[0], to_stride, row[1], from_stride, nest.row(), move.width);
      });
  }
  return Fault::ok;
}

Fault run_move_step(const void* move, const Context& context) {
  return run_move(*static_cast<const Move*>(move), context, 0, 0);
}

}  // namespace heddle::systolic
