// A kernel as a loop nest: what a replay file says, as values. docs/systolic.md has the format.
//
// Loops have constant bounds; every index is an affine expression of their counters. A tile's name stands for
// a family of tiles, one per value of its index list: x[i, j] of another i is another tile. Whether two of
// them share memory, and when they are loaded, is not said here: that is the policy of plan.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heddle/dtype.h"
#include "heddle/systolic/instruction.h"
#include "heddle/systolic/replay.h"

namespace heddle::systolic::replay {

// constant + sum of factor * (counter of loop)
struct Affine {
  struct Term {
    int loop;
    int64_t factor;
  };
  int64_t constant = 0;
  std::vector<Term> terms;

  // counter: by loop
  int64_t at(const std::vector<int>& counter) const {
    int64_t value = constant;
    for (const Term& t : terms) value += t.factor * counter[static_cast<size_t>(t.loop)];
    return value;
  }
};

// One dimension of a box: everything, `count` from `begin`, or the single index `begin`, which drops the
// dimension.
struct Range {
  enum class Kind : uint8_t { all, part, index } kind = Kind::all;
  Affine begin;
  int64_t count = 0;
};

// name[instance...](box...) of a tile, name[box...] of an HBM value.
struct Operand {
  int object = -1;  // into Nest::tiles or Nest::hbm
  std::vector<Affine> instance;
  std::vector<Range> box;  // empty: everything
};

// A number, or one value per partition.
struct Factor {
  double number = 0;
  int operand = -1;  // into Statement::in; -1: the number
};

enum class Verb : uint8_t {
  load,      // tile <- HBM
  store,     // HBM <- tile
  multiply,  // out (+)= in0^T in1 on the tensor engine; `over`: the loops that accumulate
  transpose,
  copy,
  activation,            // out = f(in*scale + bias)
  activation_reduce,     // out2: the sum of out along each row
  tensor_scalar,         // out = op1(op0(in, first), second)
  tensor_tensor,         // out = in0 op0 in1
  scalar_tensor_tensor,  // out = op0(in0, first) op1 in1
  reduce,                // out[P, 1] = reduction of in by op0
  loop_reduce,           // out = in in the first iteration of the loops `over`, out op0 in in the others
  scan,                  // out[i] = (out[i-1] op0 in0[i]) op1 in1[i]
  reciprocal,
  memset,
  iota,           // out = pattern
  affine_select,  // out = pattern (op0) 0 ? in : first
};

struct Statement {
  Verb verb{};
  std::string label;  // "rhs <- load", for messages and reports
  std::string place;  // JSON pointer
  std::vector<Operand> out, in;
  int hbm = -1;  // load, store: the operand of HBM
  Operand region;
  Function function = Function::copy;
  AluOp op0 = AluOp::bypass, op1 = AluOp::bypass;
  Factor first, second;       // scale and bias of an activation
  std::vector<int> over;      // loops
  bool one_zero = false;      // multiply: an operand holds zeros and ones only
  int axes = 0;               // reduce: innermost ones; 0: all
  bool mask_rows = false;     // of at most `limit` partitions ...
  bool mask_columns = false;  // ... or innermost elements; none left: nothing happens
  Affine limit;
  std::vector<int> around;  // loops around the statement, outermost first
  AffinePattern pattern;
  int engine = -1;  // chosen by the file; -1: by the rule of engine_rule.h
};

struct Node {
  int loop = -1;       // a loop with a body, or
  int statement = -1;  // a statement
  std::vector<Node> body;
};

struct Loop {
  std::string name;
  int count = 0;
};

struct TileFamily {
  std::string name;
  Memory memory = Memory::sbuf;
  DType dtype = DType::float32;
  int partitions = 0;
  std::vector<int> free;
  int each = -1;  // a loop: every iteration has tiles of its own; -1: all share one family
  int64_t bytes() const {
    int64_t n = static_cast<int64_t>(size_of(dtype));
    for (int f : free) n *= f;
    return n;
  }
};

struct HbmValue {
  std::string name;
  DType dtype = DType::float32;
  std::vector<int64_t> shape;
};

// What the published counts say that the compiler did, for the level as_executed.
struct Fact {
  enum class Kind : uint8_t {
    hoist,   // tiles of the family that hold the same value are made once, over the loops named
    reload,  // a loaded tile is loaded again in every iteration of the loop
    spill,  // the tile goes to HBM when the iteration of the loop ends, and comes back in the next that needs
            // it
  } kind{};
  int family = -1;
  std::vector<int> loops;
  bool conditional = false;
  Affine condition;          // the fact holds where this is not negative
  bool stays_after = false;  // spill: it is kept when the loop is over
  std::string because;
};

struct Nest {
  std::string name, source, device;
  std::vector<HbmValue> hbm;
  std::vector<TileFamily> tiles;
  std::vector<Loop> loops;
  std::vector<Statement> statements;
  std::vector<Node> body;
  std::vector<Fact> facts;
  Published published;
};

// Throws Error (corrupt): not JSON; (invalid_argument): the JSON pointer, what is wrong there and what is
// expected.
Nest parse_nest(std::string_view json, const std::string& source);

}  // namespace heddle::systolic::replay
