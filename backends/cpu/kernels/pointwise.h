// Pointwise programs in one pass over memory: blocks of elements stay in the first-level cache while every
// step runs over them with vectors; operands broadcast by stride, without copies.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cpu/threads.h"
#include "heddle/shape.h"
#include "ir/scalar_program.h"

namespace heddle::cpu {

// Whether the vector path takes the program: float32, bfloat16, float16 and bool; or float64 and bool.
bool pointwise_supported(const ScalarProgram& program);

// A program prepared for operand shapes. Immutable; run() may be called by one launch at a time per scratch
// block.
class PointwisePlan {
 public:
  // `inputs` broadcast to `common` by NumPy's rules; every output has the shape `common`.
  PointwisePlan(const ScalarProgram& program, const Shape& common, std::span<const Shape> inputs);

  uint64_t scratch_bytes(Threads threads) const;
  // out[j] = program(in...)[j], element by element. Outputs may be the memory of inputs as in_place() says.
  // Allocates nothing.
  void run(Threads threads, const void* const* in, void* const* out, void* scratch) const;
  // (output, input) pairs that may be one memory: the input is read for the last time no later than the
  // output is written, block by block.
  std::vector<std::pair<uint32_t, uint32_t>> in_place() const;
  // Whether run() would start threads.
  bool parallel(Threads threads) const;

  static constexpr int64_t block = 512;  // elements; 2 KiB a register in float32

  // A step over registers; constants are registers filled once per thread.
  struct Step {
    ScalarOp op;
    uint32_t out, a, b, c;
  };

 private:
  template <class T>
  void run_rows(int64_t begin, int64_t end, const void* const* in, void* const* out, T* registers,
                const T** pointers) const;
  template <class T>
  void run_typed(Threads threads, const void* const* in, void* const* out, void* scratch) const;

  ScalarProgram program_;
  bool wide_ = false;                         // float64 arithmetic
  std::vector<int64_t> size_;                 // iteration space, outermost first
  std::vector<std::vector<int64_t>> stride_;  // per input and axis, in elements
  std::vector<Step> steps_;
  std::vector<int> slot_;  // per register: its buffer; -1: the operand's own memory
  int slots_ = 0;
  std::vector<int> direct_output_;  // per register: the output written in place, or -1
  int64_t rows_ = 1, columns_ = 1;
};

}  // namespace heddle::cpu
