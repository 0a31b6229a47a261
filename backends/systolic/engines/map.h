// Element-wise instructions: a few row kernels in sequence over a loop nest, with an optional reduction of
// the result.
#pragma once

#include <array>
#include <optional>

#include "systolic/engines/chain.h"
#include "systolic/engines/nest.h"
#include "systolic/engines/row.h"
#include "systolic/engines/stochastic.h"

namespace heddle::systolic {

// Where a stage finds or leaves a row: operands 0 to 5 of the nest (0 is the result), two temporaries,
// immediates.
using Register = uint8_t;
inline constexpr Register register_out = 0;
inline constexpr Register register_temp0 = 6, register_temp1 = 7;
inline constexpr Register register_immediate0 = 8;
inline constexpr int immediates_max = 3;
inline constexpr int register_count = register_immediate0 + immediates_max;
inline constexpr int stages_max = 4;

struct Stage {
  RowKernel kernel = nullptr;
  Register out = register_out, a = 0, b = 0, c = 0;
};

// HostOperand 0 is written (and loaded first when `reads_out`), the others are read.
struct Map {
  Nest nest;
  std::array<Place, nest_operands_max> place{};
  std::array<RowLoader, nest_operands_max> load{};  // null: rows are used where they lie
  std::array<bool, nest_operands_max> scalar{};     // one element for the whole row
  std::array<float, immediates_max> immediate{};    // bits of a register
  RowStorer store = nullptr;                        // null: computed where it lies
  std::optional<StochasticRounding> rounding;       // before the result is stored
  bool reads_out = false;
  std::array<Stage, stages_max> stage{};
  int stages = 0;

  // Reduction of the result's registers, one per partition; the nest then keeps partitions outermost.
  bool reduces = false;
  Reduction reduction{};
  Place reduced{};
  int64_t reduced_stride = 0;
  RowStorer store_reduced = nullptr;
};

// A StepFunction whose arguments are a Map.
Fault run_map(const void* map, const Context& context);

// Puts a Map together: operands first, then stages.
class MapBuilder {
 public:
  MapBuilder(const HostOperand& out, Arithmetic arithmetic);

  Register read(const HostOperand& operand);  // [P, free...], as many elements as the result
  Register read(const HostOperand& operand,
                Arithmetic registers);               // in registers of another kind: predicates
  Register read_scalar(const HostOperand& operand);  // [P, 1]
  Register number(float bits);                       // an immediate
  void read_out() { reads_out_ = true; }
  void reduce(AluOp op, const HostOperand& into);  // into [P, 1]

  // Stages; `out` is register_out or a temporary.
  void binary(Register out, AluOp op, Register a, Register b);
  void scale_bias(Register out, Register a, Register scale, Register bias);  // a*scale + bias
  void unary(Register out, Function f, bool checked, Register a, Register alpha);
  void select(Register out, Register a, Register predicate, Register other);

  // Nothing when the operands' shapes cannot be walked together.
  std::optional<Map> finish();
  // The same as a chain, where it is one; `map` is what finish() gave.
  std::optional<Chain> chain(const Map& map) const;

 private:
  enum class Kind : uint8_t { binary, scale_bias, unary, select };
  struct Pending {
    Kind kind;
    Register out, a, b, c;
    AluOp op = AluOp::bypass;
    Function function = Function::copy;
    bool checked = false;
  };
  void emit(Map& map, const Pending& pending);
  bool link(Chain& chain, const Map& map, AluOp op, Register operand, bool swapped) const;

  Arithmetic arithmetic_;
  std::array<HostOperand, nest_operands_max> operand_{};
  std::array<Arithmetic, nest_operands_max> registers_{};
  std::array<bool, nest_operands_max> per_partition_{};
  int count_ = 1;
  std::array<float, immediates_max> immediate_{};
  int immediates_ = 0;
  std::array<Pending, 3> pending_{};
  int stages_ = 0;
  bool reads_out_ = false;
  std::optional<AluOp> reduce_;
  HostOperand reduced_;
};

}  // namespace heddle::systolic
