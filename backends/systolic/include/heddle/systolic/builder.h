// The kernel builder: emits instructions for one NeuronCore, in the vocabulary of NKI.
//
// A kernel declares HBM values, takes tiles from pools, and emits instructions in program order. Program
// order is what the numbers mean; the machine overlaps whatever does not depend on each other. Every rule of
// the hardware is checked as the instruction is emitted, and breaking one throws heddle::Error naming the
// instruction, the kernel's source line and the rule:
//
//   NeuronCore nc("trn1");
//   Hbm x = nc.hbm("x", {128, 512}, f32), y = nc.hbm("y", {128, 512}, f32);
//   TilePool pool = nc.sbuf_pool("io", 2);           // two buffers, taken in turn
//   Tile t = pool.tile(128, {512}, f32);
//   nc.dma_load(t, x);
//   nc.activation(t, Function::exp, t);
//   nc.dma_store(y, t);
//   Program program = compile(std::move(nc));        // program.h
//   program.run({x_tensor, y_tensor});
//
// Memory. A pool has N buffers and gives them out in turn, so a loop that asks for one tile per iteration has
// N iterations in flight; tile() number i + N waits, in simulated time, for the readers of tile number i. A
// handle to a tile whose buffer has been taken again is refused: the pool needs more buffers. A pool's memory
// is free again when the TilePool dies; SBUF and PSUM are handed out first fit, so pools of a finished op
// make room for the next. Tiles hold float32, bfloat16, float16, float8, int8..32, uint8..32 or bool.
// Arithmetic is float32: operands are widened as they are read and results rounded to nearest even (float to
// integer: truncated, saturated) as they are written, at no cost. Every operand of an instruction has the
// same partition count and free elements, shapes are matched in row-major order; a Scalar operand has one
// element per partition. Bitwise operators, and everything GpSimd does with operands that are all integers,
// is integer arithmetic (32 bits, wrapping), exact also beyond 2^24.
//
// Costs are in the device file (description.h).
// Threads: one builder belongs to one thread.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "heddle/systolic/tile.h"

namespace heddle::systolic {

class NeuronCore;

// N buffers of SBUF or PSUM. The size of a buffer is that of the largest tile so far.
class TilePool {
 public:
  TilePool(TilePool&& other) noexcept : core_(std::exchange(other.core_, nullptr)), pool_(other.pool_) {}
  TilePool& operator=(TilePool&&) = delete;
  ~TilePool();

  // Takes the next buffer. Contents are undefined until written; reading them first is refused.
  // Throws out_of_memory when SBUF or PSUM is full, listing the pools.
  Tile tile(int partitions, std::initializer_list<int> free_sizes, DType dtype,
            Where where = Where::current());
  Tile tile(int partitions, std::span<const int> free_sizes, DType dtype, Where where = Where::current());

 private:
  friend class NeuronCore;
  TilePool(NeuronCore& core, uint32_t pool) : core_(&core), pool_(pool) {}
  NeuronCore* core_;
  uint32_t pool_;
};

// Which matmuls of a K loop begin and end an accumulation group in PSUM.
struct Accumulate {
  bool start = true;  // overwrite PSUM
  bool stop = true;   // the result may be read
};
// The k-th of n products that add up: accumulate(k, n).
constexpr Accumulate accumulate(int64_t k, int64_t n) { return {k == 0, k == n - 1}; }

// How a DMA is run, beyond what is moved where.
struct DmaOptions {
  AluOp accumulate = AluOp::bypass;  // add: read-add-write of the destination
  Engine trigger = Engine::pe;       // queue that starts it: act, dve, gpsimd or sp; pe: the device's default
};

// How the tensor engine is used by one product, beyond what is multiplied.
struct MatmulOptions {
  // Float8 operands with two rows of K on each partition: stationary [K/2, 2, M], moving [K/2, 2, N], K up to
  // 256 in one pass. trn2 and up.
  bool double_row = false;
  // A promise that the operand holds only 0 and 1: float32 then takes half its passes. Checked when the
  // program runs.
  bool stationary_onezero = false, moving_onezero = false;
  // Only these rows and columns of the array, so that products on other parts run at the same time: 32 (trn2
  // and up), 64 or 128. Which part: where the operands' partitions and psum's partitions lie.
  int array_rows = 128, array_columns = 128;
  // MXFP8 and MXFP4 operands are refused: their block scales are not modelled.
  bool microscaled = false;
};

enum class Scatter : uint8_t { set, add };
// What an index outside its table does when the program runs: an error, or that row is left as it is.
enum class Bounds : uint8_t { error, skip };

class NeuronCore {
 public:
  explicit NeuronCore(Description device);
  // "trn1", "trn2", "trn3" or a device file: as load_description (description.h), and its errors.
  explicit NeuronCore(std::string_view device) : NeuronCore(load_description(device)) {}
  NeuronCore(const NeuronCore&) = delete;
  NeuronCore& operator=(const NeuronCore&) = delete;
  ~NeuronCore();

  const Description& device() const;

  // ---- memory

  // A value in HBM that the caller of the program binds, in order of declaration; dense row-major, rank 1
  // to 5.
  Hbm hbm(std::string name, const Shape& shape, DType dtype, Where where = Where::current());
  // The same memory as `of`, which must have as many bytes: an in-place output.
  Hbm hbm_alias(std::string name, const Hbm& of, const Shape& shape, DType dtype,
                Where where = Where::current());
  // HBM that belongs to the program; its place is planned by first and last use. Undefined until written.
  Hbm hbm_scratch(std::string name, const Shape& shape, DType dtype, Where where = Where::current());
  TilePool sbuf_pool(std::string name, int buffers, Where where = Where::current());
  // Buffers are whole banks. A matmul writes within one bank (trn3 and up: within the tile).
  TilePool psum_pool(std::string name, int buffers, Where where = Where::current());
  // Bytes per partition of SBUF (PSUM) that no pool holds, in the largest free piece.
  int64_t sbuf_free() const;
  int64_t psum_free() const;

  // ---- tensor engine

  // psum[M, N] (+)= stationary[K, M]^T @ moving[K, N]; K partitions <= 128, M <= 128, N <= 512. Operands:
  // both float32, or any mix of bfloat16, float16, float8. psum is float32 in PSUM (trn3: or bfloat16).
  // Numbers: acc = 0; acc = fma(stationary[k, m], moving[k, n], acc), k ascending; psum = start ? acc : psum
  // + acc. A group is begun with start, on PSUM that only matmuls of the group write, and is readable after
  // stop. A double-row product is two such tiles, of the first rows and of the second.
  void nc_matmul(const Tile& psum, const Tile& stationary, const Tile& moving, Accumulate group = {},
                 const MatmulOptions& options = {}, Where where = Where::current());
  // out[F, P] = in[P, F]. On PE: in SBUF up to [128, 128], out in PSUM of in's dtype. On DVE: up to 32x32,
  // anywhere. On trn1 the PE spreads NaN and Inf of a column over the whole result row.
  void nc_transpose(const Tile& out, const Tile& in, Engine engine = Engine::pe,
                    Where where = Where::current());

  // ---- scalar engine

  // out = f(in*scale + bias). alpha: of prelu. On GpSimd: any argument, at four times the cost.
  void activation(const Tile& out, Function f, const Tile& in, const Scalar& scale = 1.0,
                  const Scalar& bias = 0.0, float alpha = 0.0f, Engine engine = Engine::act,
                  Where where = Where::current());
  // Also sum[P, 1] = sum of out's float32 values over the free dimensions.
  void activation_reduce(const Tile& out, const Tile& sum, Function f, const Tile& in,
                         const Scalar& scale = 1.0, const Scalar& bias = 0.0, Where where = Where::current());

  // ---- vector engine (or GpSimd, where `engine` can be chosen)

  // out = a (op) b
  void tensor_tensor(const Tile& out, const Tile& a, AluOp op, const Tile& b, Engine engine = Engine::dve,
                     Where where = Where::current());
  // out = second(first(in)): two operators with scalar operands for the price of one.
  void tensor_scalar(const Tile& out, const Tile& in, const AluStep& first, const AluStep& second = {},
                     Engine engine = Engine::dve, Where where = Where::current());
  // out = first(data) (op) b, or b (op) first(data) when `swapped`
  void scalar_tensor_tensor(const Tile& out, const Tile& data, const AluStep& first, AluOp op, const Tile& b,
                            bool swapped = false, Where where = Where::current());
  // out = first(in), reduced[P, 1] = reduction of out's float32 values; op: add, maximum, minimum, multiply.
  void tensor_scalar_reduce(const Tile& out, const Tile& reduced, const Tile& in, const AluStep& first,
                            AluOp op, Where where = Where::current());
  // Reduces the innermost `axes` free dimensions (0: all). out has the elements of the others. op: add,
  // maximum, minimum, multiply. Sums run in float32, in sixteen interleaved partial sums per row.
  void tensor_reduce(const Tile& out, AluOp op, const Tile& in, int axes = 0, Engine engine = Engine::dve,
                     Where where = Where::current());
  // Along the free elements: out[i] = (out[i-1] (op0) a[i]) (op1) b[i], with out[-1] = initial.
  void tensor_tensor_scan(const Tile& out, const Tile& a, const Tile& b, const Scalar& initial, AluOp op0,
                          AluOp op1, Where where = Where::current());
  // out = in, converted to out's dtype. On ACT, DVE or GpSimd.
  void tensor_copy(const Tile& out, const Tile& in, Engine engine = Engine::dve,
                   Where where = Where::current());
  // out = in where predicate is not 0; elsewhere out stays.
  void tensor_copy_predicated(const Tile& out, const Tile& in, const Tile& predicate,
                              Where where = Where::current());
  // out = in[..., i : i + out.size(axis), ...] along free axis `axis`, i the int32 of index [1, 1]; the other
  // sizes are equal. An index that leaves the tile is an error when the program runs.
  void tensor_copy_dynamic_src(const Tile& out, const Tile& in, int axis, const Tile& index,
                               Where where = Where::current());
  // The other way round: out[..., i : i + in.size(axis), ...] = in; the rest of out, written before, stays.
  void tensor_copy_dynamic_dst(const Tile& out, const Tile& in, int axis, const Tile& index,
                               Where where = Where::current());
  // out[p, i] = (start + i) (compare0) bound0[p] and (start + i) (compare1) bound1[p] ? in[p, i] : fill, i
  // counted along the free elements. With `reduced`: reduced[p] = max over i of out's float32 values. trn2
  // and up.
  void range_select(const Tile& out, const Tile& in, AluOp compare0, const Scalar& bound0, AluOp compare1,
                    const Scalar& bound1, float fill, float start = 0, Where where = Where::current());
  void range_select(const Tile& out, const Tile& reduced, const Tile& in, AluOp compare0,
                    const Scalar& bound0, AluOp compare1, const Scalar& bound1, float fill, float start = 0,
                    Where where = Where::current());
  // Partition p of out = partition source[p % 32] of the same group of 32 partitions of in; Shuffle::keep:
  // stays.
  void stream_shuffle(const Tile& out, const Tile& in, const Shuffle& shuffle,
                      Where where = Where::current());
  // out = 0 where random < probability, else in. random: the word that random_bits makes of state and
  // pattern, times 2^-32. The hardware's own generator is unpublished; this one stands for it, at its cost.
  void dropout(const Tile& out, const Tile& in, const Scalar& probability, const Tile& state,
               const AffinePattern& pattern, Where where = Where::current());
  // out = predicate != 0 ? on_true : on_false
  void select(const Tile& out, const Tile& predicate, const Tile& on_true, const Tile& on_false,
              Where where = Where::current());
  void select(const Tile& out, const Tile& predicate, const Tile& on_true, float on_false,
              Where where = Where::current());
  // out = 1 / in, correctly rounded, any argument.
  void reciprocal(const Tile& out, const Tile& in, Engine engine = Engine::dve,
                  Where where = Where::current());
  // out[P, 6] = (count, mean, count*variance) of the even elements, then of the odd ones; at most 512
  // elements.
  void bn_stats(const Tile& out, const Tile& in, Where where = Where::current());
  // in[P, 3n]: n triples of bn_stats; out[P, 2] = (mean, variance) of all.
  void bn_aggr(const Tile& out, const Tile& in, Where where = Where::current());
  void memset(const Tile& out, float value, Engine engine = Engine::dve, Where where = Where::current());
  // out[P, 8] = the eight largest of each row, descending; at least 8 elements a row.
  void max8(const Tile& out, const Tile& in, Where where = Where::current());
  // out[P, 8] (uint32) = for each of values[P, 8] its first position in the row not already given to an equal
  // one.
  void find_index8(const Tile& out, const Tile& in, const Tile& values, Where where = Where::current());

  // ---- GpSimd engine

  // out = pattern(p, indices), p counted from the first partition of `out`.
  void iota(const Tile& out, const AffinePattern& pattern, Where where = Where::current());
  // out = pattern(p, indices) (compare) 0 ? in : fill. Causal mask of rows i0.., columns j0..:
  // {.base = i0 - j0, .partition_step = 1, .step = {-1}} greater_equal.
  void affine_select(const Tile& out, const Tile& in, const AffinePattern& pattern, AluOp compare, float fill,
                     Where where = Where::current());
  // out[1, N] = reduction over the partitions. Slow; a matmul with ones is faster for sums.
  void partition_reduce(const Tile& out, AluOp op, const Tile& in, Where where = Where::current());
  // Philox4x32-10. state[1, 4] (uint32): key low, key high, counter low, counter high. Element i = pattern(p,
  // indices) of out (uint32) is word i%4 of philox(counter + i/4, key), the counter's 64 bits extended by
  // zeros.
  // On DVE the same words, at the price of its own generator: one element a cycle.
  void random_bits(const Tile& out, const Tile& state, const AffinePattern& pattern,
                   Engine engine = Engine::gpsimd, Where where = Where::current());
  // Per group of 16 partitions (one of GpSimd's cores): out[p, i*each + e] = in[p, index(i)*each + e].
  // Indices are uint16 and lie across the group: index(i) is index[i % 16, i / 16]. each: 1, 2, 4, 8, 16 or
  // 32 elements per index; at most 4096 indices a group. All operands dense, in SBUF, partitions a multiple
  // of 16.
  void local_gather(const Tile& out, const Tile& in, const Tile& index, int each = 1,
                    Where where = Where::current());
  // The other way round: out[p, index(i)*each + e] = in[p, i*each + e], i ascending; the rest of out stays.
  void local_scatter(const Tile& out, const Tile& in, const Tile& index, int each = 1,
                     Where where = Where::current());
  // Anything else, computed by `body` on the host and charged `cycles` of the GpSimd engine. Operands are
  // dense, in their own dtype.
  void gpsimd_program(
      std::string name, std::span<const Tile> out, std::span<const Tile> in, double cycles,
      std::function<void(std::span<const ProgramOperand> out, std::span<const ProgramOperand> in)> body,
      Where where = Where::current());

  // ---- DMA: shapes [partition, free...] must be equal; dtypes may differ, which casts at half the rate

  void dma_load(const Tile& out, const Hbm& in, DmaOptions options = {}, Where where = Where::current());
  void dma_store(const Hbm& out, const Tile& in, DmaOptions options = {}, Where where = Where::current());
  void dma_copy(const Tile& out, const Tile& in, DmaOptions options = {},
                Where where = Where::current());  // in SBUF
  void dma_copy(const Hbm& out, const Hbm& in, DmaOptions options = {}, Where where = Where::current());
  // out[P, F] = in[F, P], two- and four-byte elements.
  void dma_load_transposed(const Tile& out, const Hbm& in, DmaOptions options = {},
                           Where where = Where::current());
  // out[p, ...] = table[index[p], ...]; index [P, 1] int32.
  void dma_gather(const Tile& out, const Hbm& table, const Tile& index, Bounds bounds = Bounds::error,
                  Where where = Where::current());
  // table[index[p], ...] = (or +=) in[p, ...], p ascending.
  void dma_scatter(const Hbm& table, const Tile& index, const Tile& in, Scatter mode,
                   Bounds bounds = Bounds::error, Where where = Where::current());

  // ---- order and names

  // Instructions emitted while pinned keep their order within each queue, whatever the scheduler's window.
  void pin_order(bool pinned);
  // The op that later instructions belong to, for reports: "layer0.attention".
  void scope(std::string name);

  const Stream& stream() const;
  Stream finish() &&;

 private:
  friend class TilePool;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace heddle::systolic
