// What an instruction costs its engine, in picoseconds, from the figures of the device and one of its two
// columns.
//
// documented: the published cost tables (aws-neuron-sdk, nki.isa of v2.26.1). N: elements per partition.
//   nc_matmul passes*max(min(64, N_stationary), N_moving); nc_transpose max(P, min(64, F)) on PE;
//   activation max(64, N); activation_reduce and tensor_scalar_reduce max(64, N) + 64; tensor_copy,
//   tensor_scalar, bn_stats max(64, N); tensor_tensor max(64, N) with an operand in PSUM or all 16-bit in
//   SBUF, else max(64, 2N); tensor_tensor_scan max(64, 2N); scalar_tensor_tensor N or 2N; tensor_reduce N or
//   N/2; reciprocal 8N; bn_aggr 13N/3; memset N or N/2; iota, affine_select 150 + N.
// calibrated: interval = work + interval_add; of the tensor engine passes*(work + pair_bubble). Either way a
// result is there `latency` after the work.
#pragma once

#include <cstdint>
#include <vector>

#include "heddle/systolic/instruction.h"

namespace heddle::systolic {

struct Cost {
  int64_t interval = 0;  // start to the start of the next instruction of the queue
  int64_t latency = 0;   // start to the use of the result
  int64_t work = 0;      // time its ports are held
  int64_t load = 0;      // matmul: loading the stationary operand
  // matmul on a part of the array: 16 bits, one per 32 rows and 32 columns; 0: all of it. Products on other
  // parts may start `issue` later, within its interval.
  uint16_t part = 0;
  int64_t issue = 0;
};

// Bytes and engine time of one transfer.
struct DmaCost {
  int64_t per_partition = 0;  // engine time for one partition's rows
  int partitions = 0;         // spread over the engines, partitions_per_engine to each
  int64_t spread = 0;         // engine time when a transfer is not tied to partitions: on each engine
  int64_t hbm = 0;            // time of the HBM domain
  int64_t bytes = 0, read_bytes = 0, write_bytes = 0;
  int64_t descriptors = 0;
  bool dynamic = false;  // descriptors are made at run time: the figures are a bound
};

// What instructions of one shape have in common: all that queues need to know of an instruction.
struct CostKind {
  Cost cost;
  DmaCost dma;                // of a transfer
  int table = -1;             // of an activation's function; -1: any table holds it
  Engine engine{};            // whose queue it is in
  bool asynchronous = false;  // a transfer: its queue does not wait for it
  bool matmul = false, transpose = false;
  bool in_psum = false, in_sbuf = false;  // where its operands lie
};

class CostModel {
 public:
  // Costs every instruction of the stream, which must stay as it is while the model is in use.
  CostModel(const Stream& stream, Column column);

  // Of an instruction of the stream.
  const CostKind& kind(uint32_t instruction) const { return kinds_[kind_[instruction]]; }
  // Of a matmul: a number that is the same for the same stationary operand.
  uint32_t stationary(uint32_t instruction) const { return stationary_[instruction]; }
  const Cost& cost(const Instruction& i) const { return kind(index(i)).cost; }
  const DmaCost& dma(const Instruction& i) const { return kind(index(i)).dma; }
  int table(const Instruction& i) const { return kind(index(i)).table; }
  int64_t table_load() const { return table_load_; }
  int64_t hop() const { return hop_; }
  int64_t dma_start() const { return dma_start_; }
  int64_t dma_done() const { return dma_done_; }
  Column column() const { return column_; }

 private:
  uint32_t index(const Instruction& i) const {
    return static_cast<uint32_t>(&i - stream_.instructions.data());
  }
  CostKind kind_of(const Instruction& i) const;
  Cost cost_of(const Instruction& i, const DmaCost& dma) const;
  DmaCost dma_of(const Instruction& i) const;
  Cost pe(const Instruction& i) const;
  Cost act(const Instruction& i) const;
  Cost dve(const Instruction& i) const;
  Cost gpsimd(const Instruction& i) const;
  double dve_work(const Instruction& i) const;

  const Stream& stream_;
  const Description& device_;
  Column column_;
  std::vector<uint32_t> kind_, stationary_;  // by instruction
  std::vector<CostKind> kinds_;
  std::vector<int> table_;
  int64_t table_load_, hop_, dma_start_, dma_done_;
};

// Picoseconds of `cycles` at `ghz`, rounded to nearest.
int64_t picoseconds(double cycles, double ghz);

}  // namespace heddle::systolic
