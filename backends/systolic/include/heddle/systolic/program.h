// From a stream of instructions to numbers and a time.
//
//   NeuronCore nc("trn1");                          // builder.h: emit a kernel, or the kernels of a whole
//   graph Hbm x = nc.hbm("x", {128, 512}, f32), y = nc.hbm("y", {128, 512}, f32);
//   ...
//   Program program = compile(std::move(nc));
//   program.run({x_tensor, y_tensor});              // numbers: one tensor per hbm(), in order of declaration
//   program.timing().seconds();                     // simulated time, computed once by compile
//   std::fputs(program.table().c_str(), stdout);    // the profile for people; report() is the same as JSON
//
// compile() does three things to the stream:
//   depend   who must be done before whom, from tiles, buffers and HBM regions      lower/dependencies.h
//   schedule the order of each engine's queue: list scheduling within a window      lower/scheduler.h
//   time     when every instruction starts and ends, and what it waited for         machine/timeline.h
// and binds it for execution: a flat list of steps with resolved operands, in which loads that change nothing
// are views of HBM and cost nothing, and a K loop of matmuls is one call            engines/plan.h
//
// A Program is immutable. Several threads may run it at once with memory of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "heddle/systolic/instruction.h"
#include "heddle/systolic/timing.h"
#include "heddle/tensor.h"

namespace heddle::systolic {

class NeuronCore;

struct CompileOptions {
  Column column = Column::calibrated;
  int window = 256;      // of the list scheduler, in instructions; 0: each queue in the order of emission
  bool numerics = true;  // false: time alone; run() is refused
  bool timing = true;    // false: numbers alone
  // Results of element-wise instructions of ACT, DVE and GpSimd are rounded to narrower floats up or down by
  // chance, in proportion to the distance, instead of to nearest. The bits come from this seed and the place
  // of the instruction in the stream, and are the same in every run; the hardware's generator is unpublished.
  // PE, DMA, reductions along a row and copies between equal dtypes round to nearest.
  std::optional<uint64_t> stochastic_rounding = {};
  bool execute_scheduled =
      false;  // run in the scheduler's order instead of the emitted one: the same numbers (tests)
};

class Program {
 public:
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  const Stream& stream() const;
  // Simulated time; all zero with timing = false.
  const Timing& timing() const;
  // Profile of one run with the metric names of Neuron's profiler: lines for people, and JSON.
  std::string table() const;
  std::string report() const;
  // Chrome trace of the run, JSON: open it in Perfetto.
  std::string trace() const;

  // HBM that the program owns (hbm_scratch); part of memory_bytes.
  uint64_t scratch_bytes() const;
  // Bytes of working memory that a run needs: scratch HBM, SBUF and PSUM.
  uint64_t memory_bytes() const;
  // values[i] is the memory of the i-th value declared with hbm() or hbm_alias(); scratch values are left
  // out. An alias and its original must be given the same pointer. Allocates nothing. Throws Error naming the
  // instruction when data breaks a rule (function ranges, indices).
  void run(std::span<std::byte* const> values, std::byte* memory) const;
  // The same on tensors, with working memory of its own: tensors[i] is the i-th value declared with hbm() or
  // hbm_alias(), of its dtype and as many elements, dense; results are written in place. Throws
  // invalid_argument naming the value that does not fit.
  void run(std::span<const Tensor> tensors) const;
  void run(std::initializer_list<Tensor> tensors) const {
    run(std::span<const Tensor>(tensors.begin(), tensors.size()));
  }

 private:
  friend Program compile(Stream stream, const CompileOptions& options);
  class Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Throws Error (device) for a deadlock: a cycle of instructions that wait for each other, named with their
// lines.
Program compile(Stream stream, const CompileOptions& options = {});
// What the core has been told so far; the core must not be used afterwards.
Program compile(NeuronCore&& core, const CompileOptions& options = {});

}  // namespace heddle::systolic
