// From a stream of instructions to numbers and a time.
//
//   NeuronCore nc(load_description("trn1"));       // builder.h: emit a kernel, or the kernels of a whole
//   graph
//   ...
//   Program program = compile(std::move(nc).finish(), {});
//   program.timing().total;                         // simulated picoseconds, computed once by compile
//   std::vector<std::byte*> values = {x, y};        // one pointer per hbm() / hbm_alias(), in order of
//   declaration program.run(values, memory);                    // computes; memory: program.memory_bytes(),
//   64-byte aligned
//
// compile() does three things to the stream:
//   depend   who must be done before whom, from tiles, buffers and HBM regions      lower/dependencies.h
//   schedule the order of each engine's queue: list scheduling within a window      lower/scheduler.h
//   time     when every instruction starts and ends, and what it waited for         machine/timeline.h
// and binds it for execution: a flat list of steps with resolved operands, in which loads that change nothing
// are views of HBM and cost nothing, and a K loop of matmuls is one call                engines/plan.h
//
// A Program is immutable. Several threads may run it at once with memory of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "heddle/systolic/instruction.h"
#include "heddle/systolic/timing.h"

namespace heddle::systolic {

struct CompileOptions {
  Column column = Column::calibrated;
  int window = 256;      // of the list scheduler, in instructions; 0: each queue in the order of emission
  bool numerics = true;  // false: time alone; run() is refused
  bool timing = true;    // false: numbers alone
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
  // Profile of one run with the metric names of Neuron's profiler, and the Chrome trace of it: JSON texts.
  std::string report() const;
  std::string trace() const;

  // HBM that the program owns (hbm_scratch); part of memory_bytes.
  uint64_t scratch_bytes() const;
  // Bytes of working memory that a run needs: scratch HBM, SBUF and PSUM.
  uint64_t memory_bytes() const;
  // values[i] is the memory of the i-th value declared with hbm() or hbm_alias(); scratch values are left
  // out. An alias and its original must be given the same pointer. Allocates nothing. Throws Error naming the
  // instruction when data breaks a rule (function ranges, indices).
  void run(std::span<std::byte* const> values, std::byte* memory) const;

 private:
  friend Program compile(Stream stream, const CompileOptions& options);
  class Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Throws Error (device) for a deadlock: a cycle of instructions that wait for each other, named with their
// lines.
Program compile(Stream stream, const CompileOptions& options = {});

}  // namespace heddle::systolic
