// How results of a product leave PSUM: as they are, or through a pointwise program whose other operands are
// loaded beside them.
#pragma once

#include <optional>
#include <vector>

#include "systolic/kernels/pointwise.h"

namespace heddle::systolic {

inline constexpr int64_t result_columns = 512;  // of one store: a bank of PSUM in float32

// Rows of the result that a tile [partitions, count, columns] holds: (p, i) is row begin + p*run + first + i.
// With a run, a partition holds neighbouring rows, which are one piece of HBM when columns are all of the
// row.
struct ResultRows {
  int64_t begin;
  int partitions;
  int64_t run = 1;
  int first = 0, count = 1;
};

class Epilogue {
 public:
  Epilogue(const NodeContext& c, bool has_program);

  // SBUF per partition that its tiles take, at most.
  int64_t bytes() const;
  // psum: [partitions, count, columns of n].
  void store(const Tile& psum, const std::vector<int64_t>& batch, const ResultRows& rows, const Piece& n);

 private:
  // An operand of the program: elements per index of each axis of the result.
  struct Extra {
    std::vector<int64_t> stride;
    TilePool pool;
    // Row vectors that are in SBUF, by where they begin; the oldest goes first.
    std::vector<std::pair<int64_t, Tile>> rows;
  };
  ProgramInput load(size_t i, const std::vector<int64_t>& batch, const ResultRows& rows, const Piece& n);
  // Eviction alternates so that neither engine holds the tensor engine up.
  Engine evict_engine() { return (turn_ = !turn_) ? Engine::dve : Engine::act; }

  const NodeContext& c_;
  TilePool staging_;
  std::optional<ProgramEmitter> emitter_;
  bool direct_ = true, turn_ = false;
  std::vector<Extra> extra_;
  std::vector<DType> output_dtypes_;
};

}  // namespace heddle::systolic
