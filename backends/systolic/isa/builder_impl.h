// State of a NeuronCore while a kernel emits: memories, pools, what is written, open accumulation groups.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "heddle/systolic/builder.h"
#include "systolic/isa/allocator.h"
#include "systolic/isa/written.h"

namespace heddle::systolic {

// An instruction in the making: fields, operands, and where it was asked for.
class Draft {
 public:
  Draft(const Stream& stream, Opcode opcode, Engine engine, Where where);

  // Operands, written ones first.
  Draft& out(const Tile& tile, Role role = Role::out);
  Draft& in(const Tile& tile, Role role);
  // A Scalar operand: a view with `role`, or the number as immediate.
  Draft& scalar(const Scalar& operand, Role role, float Instruction::*immediate);
  Draft& region(const Hbm& hbm);
  [[noreturn]] void reject(const std::string& rule) const;
  // "is float32, must be ..." and the like: rejects unless `condition`.
  void require(bool condition, const char* rule) const {
    if (!condition) reject(rule);
  }

  Instruction instruction;

 private:
  friend class NeuronCore;
  // Views are the caller's until commit copies them.
  struct Operand {
    const View* view;
    Role role;
    Memory memory;
  };
  void add(const View& view, Role role, Memory memory);
  std::span<const Operand> operands() const { return {operand_.data(), static_cast<size_t>(count_)}; }

  const Stream& stream_;
  std::array<Operand, 12> operand_;
  int count_ = 0;
  std::array<const Hbm*, 2> region_{};
  int region_count_ = 0;
};

class NeuronCore::Impl {
 public:
  explicit Impl(Description description);

  // ---- memory (builder_memory.cpp)
  Hbm declare(std::string name, const Shape& shape, DType dtype, uint32_t alias, bool scratch, Where where);
  uint32_t open_pool(std::string name, Memory memory, int buffers, Where where);
  void close_pool(uint32_t pool);
  Tile take(uint32_t pool, int partitions, std::span<const int> free_sizes, DType dtype, Where where);

  // ---- emission (builder_emit.cpp): checks a draft against every rule its operands must keep, then appends
  // it. Nothing is changed when a rule is broken.
  void commit(Draft& draft);
  Draft begin(Opcode opcode, Engine engine, Where where) const;
  uint32_t add_pattern(const AffinePattern& pattern);
  // What the two forms of range_select, and local_gather and local_scatter, have in common.
  Draft range(const Tile& out, const Tile* reduced, const Tile& in, AluOp compare0, const Scalar& bound0,
              AluOp compare1, const Scalar& bound1, float fill, float start, Where where) const;
  Draft indexed(Opcode opcode, const Tile& out, const Tile& in, const Tile& index, int each,
                Where where) const;

  Stream stream;
  std::shared_ptr<const Description> device;
  bool pinned = false;
  uint32_t scope = 0;

  Allocator sbuf, psum;

 private:
  friend class NeuronCore;
  struct Buffer {
    int64_t address, bytes;
    uint32_t tile;  // the last that took it
  };
  struct Pool {
    Memory memory = Memory::sbuf;  // here too: a pool may close after the stream was taken
    std::vector<Buffer> buffers;
    size_t next = 0;
    bool open = true;
  };
  // A matmul result in PSUM that only matmuls may add to. `open` until its stop.
  struct Group {
    uint32_t first_partition, end_partition, first_byte, end_byte;
    bool open;
  };
  struct TileState {
    WrittenBoxes written;
    bool live = true;
    std::vector<Group> groups;  // PSUM only
  };

  void check_operand(const Draft& draft, const Draft::Operand& operand) const;
  void check_read(const Draft& draft, const View& view) const;
  void mark_written(const View& view, const Instruction& instruction);

  std::vector<Pool> pools_;
  std::vector<TileState> tiles_;
};

// The bytes of each partition that a view touches, as one interval.
struct ByteRange {
  uint32_t first, end;
};
ByteRange byte_range(const View& view);

// "[0:128, 2x256] float32"
std::string shape_text(const View& view);

}  // namespace heddle::systolic
