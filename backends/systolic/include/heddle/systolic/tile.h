// What a kernel holds in its hands: tiles on the chip, regions of HBM, operands that are a number or one per
// partition. All are small values; slicing makes another value and moves no bytes. Errors are heddle::Error
// with the kernel line.
#pragma once

#include <initializer_list>
#include <span>
#include <utility>

#include "heddle/shape.h"
#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

// Part of an on-chip tile: partitions times a box of at most four free dimensions. Made by TilePool::tile.
class Tile {
 public:
  Tile() = default;
  Tile(const View& view, Memory memory) : view_(view), memory_(memory) {}

  int partitions() const { return view_.partitions; }
  int rank() const { return view_.rank; }                          // of the free dimensions
  int size(int axis) const;                                        // negative axes count from the end
  int64_t free_elements() const { return view_.free_elements(); }  // per partition
  DType dtype() const { return view_.dtype; }
  Memory memory() const { return memory_; }
  const View& view() const { return view_; }

  // Partitions [begin, begin + count). Instructions accept only some starts: 0; 64 for at most 64 partitions;
  // 32 and 96 for at most 32. DMA accepts every start.
  Tile rows(int begin, int count, Where where = Where::current()) const;
  // Elements begin, begin + step, ... of a free axis.
  Tile slice(int axis, int begin, int count, int step = 1, Where where = Where::current()) const;
  // Of the last free axis.
  Tile cols(int begin, int count, Where where = Where::current()) const {
    return slice(-1, begin, count, 1, where);
  }
  // Drops a free axis at one index.
  Tile at(int axis, int index, Where where = Where::current()) const;
  // The same elements in order under other free sizes, where strides allow it.
  Tile reshape(std::initializer_list<int> sizes, Where where = Where::current()) const;
  Tile reshape(std::span<const int> sizes, Where where = Where::current()) const;
  // Axis i of the result is axis order[i] of this.
  Tile permute(std::initializer_list<int> order, Where where = Where::current()) const;
  // Inserts a free axis that repeats everything `count` times (stride 0): read operands only.
  Tile repeat(int axis, int count, Where where = Where::current()) const;
  // The same bits as another dtype of the same width.
  Tile bitcast(DType dtype, Where where = Where::current()) const;

 private:
  View view_;
  Memory memory_ = Memory::sbuf;
};

// A strided box, of at most five dimensions, of an HBM value. Made by NeuronCore::hbm and hbm_scratch. In a
// DMA the first dimension lies along partitions, the rest along the free dimensions of the tile.
class Hbm {
 public:
  Hbm() = default;
  Hbm(uint32_t value, DType dtype, const Shape& shape, Where where = Where::current());

  uint32_t value() const { return region_.value; }
  DType dtype() const { return region_.dtype; }
  int rank() const { return region_.rank; }
  int64_t size(int axis) const;
  int64_t elements() const { return region_.elements(); }
  const Region& region() const { return region_; }
  const View* index() const { return region_.dynamic ? &index_ : nullptr; }

  Hbm slice(int axis, int64_t begin, int64_t count, int64_t step = 1, Where where = Where::current()) const;
  Hbm at(int axis, int64_t index, Where where = Where::current()) const;  // drops the axis
  Hbm rows(int64_t begin, int64_t count, Where where = Where::current()) const {
    return slice(0, begin, count, 1, where);
  }
  Hbm cols(int64_t begin, int64_t count, Where where = Where::current()) const {
    return slice(-1, begin, count, 1, where);
  }
  // The same elements in order under other sizes, where strides allow it.
  Hbm reshape(std::initializer_list<int64_t> sizes, Where where = Where::current()) const;
  Hbm reshape(std::span<const int64_t> sizes, Where where = Where::current()) const;
  Hbm permute(std::initializer_list<int> order, Where where = Where::current()) const;
  // Any strided box of a whole value: element (i, j, ...) is element offset + i*stride[0] + j*stride[1] + ...
  // of it.
  Hbm box(int64_t offset, std::initializer_list<int64_t> sizes, std::initializer_list<int64_t> strides,
          Where where = Where::current()) const;
  // Inserts an axis that repeats everything `count` times. As axis 0 of a load: broadcast to `count`
  // partitions.
  Hbm repeat(int axis, int64_t count, Where where = Where::current()) const;
  // Moves the box by stride(axis) times the int32 in `index` ([1, 1] in SBUF), clamped to [0, max], when it
  // runs. Timed as a dynamic DMA; orders against the whole value.
  Hbm dynamic(int axis, const Tile& index, int64_t max, Where where = Where::current()) const;

 private:
  Region region_;
  View index_;
};

// An operand that is one number, or one number per partition (a tile [P, 1]).
class Scalar {
 public:
  Scalar(double number) : number_(number) {}  // NOLINT: a number is a Scalar
  Scalar(const Tile& per_partition)           // NOLINT: so is a tile
      : tile_(per_partition.view()), memory_(per_partition.memory()), is_tile_(true) {}

  bool is_tile() const { return is_tile_; }
  double number() const { return number_; }
  const View& tile() const { return tile_; }
  Memory memory() const { return memory_; }

 private:
  double number_ = 0;
  View tile_;
  Memory memory_ = Memory::sbuf;
  bool is_tile_ = false;
};

// One stage of a vector pipeline: x (op) operand, or operand (op) x when reversed.
struct AluStep {
  AluOp op = AluOp::bypass;
  Scalar operand = 0.0;
  bool reversed = false;
};
inline AluStep reversed(AluOp op, const Scalar& operand) { return {op, operand, true}; }

}  // namespace heddle::systolic
