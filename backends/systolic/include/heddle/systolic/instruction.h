// The instruction stream: what a kernel emits, and what is both computed and timed.
//
// An Instruction is small and refers into the tables of its Stream: views of tiles, regions of HBM, patterns.
// Streams are made by NeuronCore (builder.h), which has checked every hardware rule; nothing downstream
// checks again.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <vector>

#include "heddle/dtype.h"
#include "heddle/systolic/description.h"
#include "heddle/systolic/operation.h"

namespace heddle::systolic {

using Where = std::source_location;  // the kernel line that emitted an instruction

enum class Memory : uint8_t { sbuf, psum };

inline constexpr uint32_t none = 0xffffffffu;

// Which operand of its instruction a view is. Roles up to `result` are written, the others read.
enum class Role : uint8_t {
  out,     // read too where the instruction accumulates, or writes only where a predicate holds
  result,  // second output: row results of activation_reduce and tensor_scalar_reduce
  stationary,
  moving,
  in0,
  in1,
  in2,
  scalar0,
  scalar1,  // one value per partition
  index,    // of indirect DMA, or the element of a dynamic offset
};
constexpr bool is_written(Role role) { return role <= Role::result; }

inline constexpr int free_rank_max = 4;

// A part of a tile: partitions [start, start + count) and, in each, a strided box of at most four dimensions.
// Strides and offsets count elements of the tile's dtype; stride 0 repeats.
struct View {
  uint32_t tile = none;
  uint32_t offset = 0;
  uint8_t partition_start = 0;
  uint8_t partitions = 0;
  uint8_t rank = 0;
  Role role = Role::out;
  DType dtype = DType::float32;
  std::array<int32_t, free_rank_max> size{};
  std::array<int32_t, free_rank_max> stride{};

  int64_t free_elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= size[static_cast<size_t>(i)];
    return n;
  }
};

inline constexpr int region_rank_max = 5;

// A strided box of an HBM value. Offsets and strides count elements of `dtype`, which is the value's.
struct Region {
  uint32_t value = none;
  DType dtype = DType::float32;
  uint8_t rank = 0;
  bool dynamic = false;  // `offset` + (int32 at the view with Role::index) * dynamic_stride
  int64_t offset = 0;
  int64_t dynamic_stride = 0;  // elements per index
  int64_t dynamic_max = 0;     // the index is clamped to [0, dynamic_max]
  std::array<int64_t, region_rank_max> size{};
  std::array<int64_t, region_rank_max> stride{};

  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= size[static_cast<size_t>(i)];
    return n;
  }
};

// One tile: the contents of a buffer of a pool from one tile() call to the next that takes the buffer.
struct TileInfo {
  uint32_t pool = 0;
  uint32_t first_previous = 0;  // Stream::previous[first_previous .. + previous_count): tiles that lay in the
  uint32_t previous_count =
      0;                 // same memory just before; their readers must be done before this one is written
  uint32_t address = 0;  // byte within each partition of its memory
  uint32_t bytes = 0;    // per partition
  uint8_t partitions = 0;
  Memory memory = Memory::sbuf;
  DType dtype = DType::float32;
};

// base + partition_step*p + sum over free dimensions of step[d]*index[d]
struct AffinePattern {
  int64_t base = 0;
  int64_t partition_step = 0;
  std::array<int64_t, free_rank_max> step{};
};

// A dense host view that a GpSimd program computes on: row p begins at data + p*row_bytes.
struct ProgramOperand {
  std::byte* data = nullptr;
  int64_t row_bytes = 0;
  int partitions = 0;
  int64_t elements = 0;  // per row, contiguous
  DType dtype = DType::float32;

  template <class T>
  T* row(int p) const {
    return static_cast<T*>(static_cast<void*>(data + p * row_bytes));
  }
};

// Where each of 32 neighbouring partitions takes its row from: partition p of the result is partition
// source[p % 32] of the same group; `keep`: it stays as it is.
struct Shuffle {
  static constexpr uint8_t keep = 255;
  std::array<uint8_t, 32> source{};
};

struct GpSimdProgram {
  std::string name;
  double cycles = 0;  // of the GpSimd engine, all its cores together
  std::function<void(std::span<const ProgramOperand> out, std::span<const ProgramOperand> in)> body;
};

struct Instruction {
  Opcode opcode{};
  Engine engine{};
  AluOp op0 = AluOp::bypass;  // first operator; of DMA: bypass or add into the destination
  AluOp op1 = AluOp::bypass;
  AluOp reduce = AluOp::bypass;
  Function function = Function::copy;
  uint8_t view_count = 0;
  bool start : 1 = false;     // matmul: overwrites PSUM instead of adding to it
  bool stop : 1 = false;      // matmul: the accumulation group is complete
  bool reverse0 : 1 = false;  // operator 0 takes its operands exchanged
  bool reverse1 : 1 = false;
  bool pinned : 1 = false;      // keeps its place among the pinned instructions of its queue
  bool transposed : 1 = false;  // DMA: partition and free dimension exchanged
  bool skip : 1 = false;        // some elements of the destination may stay as they are: it is read too
  bool integer : 1 = false;     // computed as 32-bit integers; imm0 and imm1 hold their bits
  bool double_row : 1 = false;  // matmul: two rows of float8 on each partition
  bool onezero_stationary : 1 = false;  // matmul: the operand is promised to hold only 0 and 1
  bool onezero_moving : 1 = false;
  uint8_t array_rows = 128;  // matmul: the part of the tensor engine it uses, where its operands lie
  uint8_t array_columns = 128;
  uint32_t view = 0;           // Stream::views[view .. + view_count)
  uint32_t region = none;      // Stream::regions, the HBM side; source of dma_hbm
  uint32_t region_out = none;  // dma_hbm: destination
  // Stream::patterns (iota, affine_select, random_bits, dropout), ::programs, ::shuffles; the free axis of
  // tensor_copy_dynamic; elements per index of local_gather and local_scatter.
  uint32_t extra = none;
  float imm0 = 0;      // operand of op0 when no view has Role::scalar0; scale of activation
  float imm1 = 0;      // operand of op1 ...; bias of activation
  float imm2 = 0;      // alpha of activation; fill of affine_select, range_select, select and memset
  float imm3 = 0;      // first position of range_select
  uint32_t scope = 0;  // Stream::scopes: the op this instruction belongs to
  Where where;
};

// An HBM value: an operand or result of the program, or memory the program owns.
struct Value {
  std::string name;
  DType dtype = DType::float32;
  int64_t elements = 0;
  uint32_t storage = none;  // the value whose memory this shares: itself unless aliased
  bool scratch = false;     // owned by the program
  uint64_t bytes() const { return static_cast<uint64_t>(elements) * size_of(dtype); }
};

struct PoolInfo {
  std::string name;
  Memory memory = Memory::sbuf;
  int buffers = 0;
};

struct Stream {
  std::shared_ptr<const Description> device;
  std::vector<Instruction> instructions;
  std::vector<View> views;
  std::vector<Region> regions;
  std::vector<TileInfo> tiles;
  std::vector<uint32_t> previous;
  std::vector<PoolInfo> pools;
  std::vector<Value> values;
  std::vector<AffinePattern> patterns;
  std::vector<GpSimdProgram> programs;
  std::vector<Shuffle> shuffles;
  std::vector<std::string> scopes{""};

  std::span<const View> views_of(const Instruction& i) const { return {views.data() + i.view, i.view_count}; }
  const View* view_of(const Instruction& i, Role role) const {
    for (const View& v : views_of(i))
      if (v.role == role) return &v;
    return nullptr;
  }
};

// "tensor_tensor at kernels/softmax.cpp:42 (layer0.softmax)", for messages.
std::string describe(const Stream& stream, const Instruction& instruction);
// One line with operands, for people: "tensor_scalar vector x#3[0:128, 512] <- q#1[...] multiply 0.125".
std::string to_string(const Stream& stream, const Instruction& instruction);

}  // namespace heddle::systolic
