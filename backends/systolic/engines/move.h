// Moving elements between strided boxes: as they are, converted, transposed, or added to what is there.
#pragma once

#include <optional>

#include "systolic/engines/map.h"
#include "systolic/engines/nest.h"

namespace heddle::systolic {

class Binder;

struct Move {
  enum class Kind : uint8_t {
    rows,       // dense rows: memcpy
    transpose,  // the destination is dense where the source is not: blocks of the two innermost dimensions
    elements,   // neither
    convert,    // through `map`
  } kind = Kind::rows;
  Nest nest;  // operand 0 the destination, 1 the source
  Place to, from;
  size_t width = 0;  // bytes of an element
  Map map;
};

// Elements correspond in row-major order; sizes need not be equal as long as one cut of dimensions serves
// both, else nothing is returned. With `accumulate`, in float32: to += from.
std::optional<Move> make_move(const HostOperand& to, const HostOperand& from, bool accumulate);

// The move with both sides shifted by bytes: for offsets that are known when it runs.
Fault run_move(const Move& move, const Context& context, int64_t to_shift, int64_t from_shift);
// Adds the step that makes the move.
void bind_move(Binder& binder, const Move& move);

// to[c*to_stride + r*width] = from[r*from_stride + c*width] for r < rows, c < columns; width 1, 2, 4 or 8.
void transpose_block(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride,
                     int64_t rows, int64_t columns, size_t width);

// Whether rows of float32 or bfloat16 (dense, `stride` bytes apart) hold a NaN or an infinity.
bool has_special(const std::byte* from, int64_t stride, int64_t rows, int64_t columns, DType dtype);

}  // namespace heddle::systolic
