// Scalar programs as instructions: for pointwise nodes, and for whatever else ends in one (matmul epilogues).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/scalar_program.h"
#include "systolic/kernels/geometry.h"
#include "systolic/kernels/lowering.h"

namespace heddle::systolic {

// Whether every step has an engine and every operand a tile dtype.
backend::Offer offer_program(const ScalarProgram& program);

// An operand of a program: a tile [P, columns], or one float32 per partition ([P, 1]).
struct ProgramInput {
  Tile tile;
  bool per_partition = false;
};

// Emits a program tile by tile. Registers live in pools of two buffers, shared by registers that do not live
// at the same time, so two tiles can be in flight.
class ProgramEmitter {
 public:
  ProgramEmitter(NeuronCore& nc, const ScalarProgram& program, std::string name);

  int slots() const { return slots_; }
  // One tile of every output, in the given dtypes or float32 (then converted by the store).
  std::vector<Tile> emit(std::span<const ProgramInput> inputs, int partitions, int columns,
                         std::span<const DType> output_dtypes);

 private:
  using ScalarOf = std::function<std::optional<Scalar>(uint32_t)>;
  using TileOf = std::function<Tile(uint32_t)>;
  DType tile_dtype(uint32_t r, std::span<const DType> output_dtypes) const;
  void emit_step(const ScalarStep& step, const Tile& out, const ScalarOf& scalar, const TileOf& tile);
  void emit_select(const ScalarStep& step, const Tile& out, const ScalarOf& scalar, const TileOf& tile);

  NeuronCore& nc_;
  const ScalarProgram program_;
  std::vector<int> last_use_, slot_;
  int slots_ = 0;
  std::vector<TilePool> pools_;
  std::optional<TilePool> constant_tile_pool_;
};

// The loop over the tiles of one iteration space; the last two axes are rows and columns.
struct PointwiseLoop {
  NeuronCore& nc;
  ProgramEmitter& emitter;
  std::span<const Operand> inputs, outputs;
  IterationSpace space;
  std::span<const DType> output_dtypes;
  std::vector<int64_t> base = {};  // per operand: where the outer axes stand

  void run_outer(int64_t width);
  void run(int64_t offset, int64_t rows, int64_t columns, int64_t width);
};

}  // namespace heddle::systolic
