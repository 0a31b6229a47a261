// What the instructions of a stream do, apart from when: operations and bytes.
#pragma once

#include <cstdint>

#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

struct Work {
  double matmul_flops = 0, transpose_flops = 0;  // two per multiply-add
  double adjusted_flops = 0;                     // matmuls and transposes, times the passes their dtype takes
  int64_t matmuls = 0;  // as the profiler counts: float32 products are two instructions
  int64_t transposes = 0;
  double psum_read = 0, psum_write = 0, sbuf_read = 0, sbuf_write = 0;
  double psum_read_sbuf_write = 0;  // read from PSUM by instructions that write SBUF
  int64_t static_transfers = 0, dynamic_transfers = 0;
  double static_bytes = 0, dynamic_bytes = 0;
};

// Of one instruction, added to `work`.
void add_work(Work& work, const Stream& stream, const Instruction& instruction);
Work work_of(const Stream& stream);

// Bytes of the values that the program reads and does not own: its inputs, constants and weights.
double input_bytes(const Stream& stream);
// The most bytes of the program's own HBM that are alive at once, in the order of emission: no plan can use
// less.
double scratch_peak_bytes(const Stream& stream);

}  // namespace heddle::systolic
