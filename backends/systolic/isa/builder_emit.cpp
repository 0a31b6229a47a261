// The rules that operands of every instruction keep, checked before anything is appended to the stream.
#include <algorithm>
#include <bit>
#include <cmath>

#include "systolic/isa/builder_impl.h"
#include "systolic/isa/large_vector.h"
#include "systolic/isa/refusal.h"

namespace heddle::systolic {

ByteRange byte_range(const View& view) {
  int64_t last = view.offset;
  for (size_t i = 0; i < view.rank; ++i) last += static_cast<int64_t>(view.size[i] - 1) * view.stride[i];
  const auto width = static_cast<uint32_t>(size_of(view.dtype));
  return {view.offset * width, (static_cast<uint32_t>(last) + 1) * width};
}

std::string shape_text(const View& view) {
  std::string text("[");
  text += std::to_string(view.partition_start) + ":" +
          std::to_string(view.partition_start + view.partitions) + ",";
  for (size_t i = 0; i < view.rank; ++i) {
    text += i == 0 ? ' ' : 'x';
    text += std::to_string(view.size[i]);
  }
  return text + "] " + dtype_name(view.dtype);
}

Draft::Draft(const Stream& stream, Opcode opcode, Engine engine, Where where) : stream_(stream) {
  instruction.opcode = opcode;
  instruction.engine = engine;
  instruction.where = where;
}

Draft& Draft::out(const Tile& tile, Role role) { return in(tile, role); }

void Draft::add(const View& view, Role role, Memory memory) {
  if (view.tile == none) reject("an operand is not a tile: take one from a pool first");
  if (static_cast<size_t>(count_) == operand_.size()) reject("has too many operands");
  operand_[static_cast<size_t>(count_++)] = {&view, role, memory};
}

Draft& Draft::in(const Tile& tile, Role role) {
  add(tile.view(), role, tile.memory());
  return *this;
}

Draft& Draft::scalar(const Scalar& operand, Role role, float Instruction::*immediate) {
  if (!operand.is_tile()) {
    instruction.*immediate =
        instruction.integer
            ? std::bit_cast<float>(static_cast<uint32_t>(static_cast<int64_t>(operand.number())))
            : static_cast<float>(operand.number());
    return *this;
  }
  if (operand.tile().free_elements() != 1)
    reject("an operand per partition must have one element per partition");
  add(operand.tile(), role, operand.memory());
  return *this;
}

Draft& Draft::region(const Hbm& hbm) {
  if (hbm.region().value == none) reject("an operand is not an HBM value: declare it with hbm()");
  region_[static_cast<size_t>(region_count_++)] = &hbm;
  return *this;
}

void Draft::reject(const std::string& rule) const {
  std::string what = opcode_name(instruction.opcode);
  if (instruction.scope != 0) what += " of " + stream_.scopes[instruction.scope];
  refuse(instruction.where, what, rule);
}

Draft NeuronCore::Impl::begin(Opcode opcode, Engine engine, Where where) const {
  Draft draft(stream, opcode, engine, where);
  draft.instruction.scope = scope;
  draft.instruction.pinned = pinned;
  return draft;
}

uint32_t NeuronCore::Impl::add_pattern(const AffinePattern& pattern) {
  stream.patterns.push_back(pattern);
  return static_cast<uint32_t>(stream.patterns.size() - 1);
}

void NeuronCore::Impl::check_operand(const Draft& draft, const Draft::Operand& operand) const {
  const View& view = *operand.view;
  const TileState& state = tiles_[view.tile];
  const TileInfo& info = stream.tiles[view.tile];
  if (!state.live)
    draft.reject("its tile of pool '" + stream.pools[info.pool].name +
                 "' is gone: the buffer was taken again or the pool closed; give the pool more buffers");
  if (is_dma(draft.instruction.opcode)) {
    if (operand.memory == Memory::psum)
      draft.reject("DMA reaches SBUF only; copy from PSUM with an engine first");
    return;
  }
  if (draft.instruction.engine == Engine::gpsimd && operand.memory == Memory::psum)
    draft.reject("GpSimd cannot access PSUM; copy to SBUF with DVE or ACT first");
  const int start = view.partition_start, count = view.partitions;
  const bool start_ok = count > 64 ? start == 0 : count > 32 ? start % 64 == 0 : start % 32 == 0;
  if (!start_ok)
    draft.reject("operand " + shape_text(view) + " starts at partition " + std::to_string(start) +
                 "; more than 64 partitions start at 0, 33 to 64 at 0 or 64, up to 32 at 0, 32, 64 or 96");
  for (size_t i = 0; i < view.rank; ++i) {
    if (view.size[i] > 65535) draft.reject("operand " + shape_text(view) + " has a dimension over 65535");
    if (view.stride[i] > 32767 && view.size[i] > 1)
      draft.reject("operand " + shape_text(view) + " has a stride of " + std::to_string(view.stride[i]) +
                   " elements; access patterns hold 16 bits");
    if (is_written(operand.role) && view.stride[i] == 0 && view.size[i] > 1)
      draft.reject("the destination repeats elements (stride 0)");
  }
}

void NeuronCore::Impl::check_read(const Draft& draft, const View& view) const {
  const TileState& state = tiles_[view.tile];
  const ByteRange bytes = byte_range(view);
  const auto first = static_cast<uint32_t>(view.partition_start);
  const uint32_t end = first + view.partitions;
  if (!state.written.covers({first, end, bytes.first, bytes.end}))
    draft.reject("reads " + shape_text(view) + " of a tile of pool '" +
                 stream.pools[stream.tiles[view.tile].pool].name + "' that was never written there");
  for (const Group& g : state.groups)
    if (g.open && first < g.end_partition && end > g.first_partition && bytes.first < g.end_byte &&
        bytes.end > g.first_byte)
      draft.reject("reads PSUM while its accumulation group is open: the last matmul must have stop");
}

void NeuronCore::Impl::mark_written(const View& view, const Instruction& instruction) {
  TileState& state = tiles_[view.tile];
  const ByteRange bytes = byte_range(view);
  const auto first = static_cast<uint32_t>(view.partition_start);
  const uint32_t end = first + view.partitions;
  state.written.add({first, end, bytes.first, bytes.end});
  if (stream.tiles[view.tile].memory != Memory::psum) return;
  const auto covered = [&](const Group& g) {
    return first < g.end_partition && end > g.first_partition && bytes.first < g.end_byte &&
           bytes.end > g.first_byte;
  };
  if (instruction.opcode != Opcode::matmul) {
    std::erase_if(state.groups, covered);
  } else if (instruction.start) {
    std::erase_if(state.groups, covered);
    state.groups.push_back({first, end, bytes.first, bytes.end, !instruction.stop});
  } else {
    for (Group& g : state.groups)
      if (covered(g)) g.open = !instruction.stop;
  }
}

void NeuronCore::Impl::commit(Draft& draft) {
  Instruction& made = draft.instruction;
  for (const Draft::Operand& operand : draft.operands()) check_operand(draft, operand);
  for (const Draft::Operand& operand : draft.operands()) {
    const View& view = *operand.view;
    const bool is_out = operand.role == Role::out;
    const bool reads_out = is_out && ((made.opcode == Opcode::matmul && !made.start) ||
                                      made.opcode == Opcode::tensor_copy_predicated || made.skip ||
                                      (is_dma(made.opcode) && made.op0 == AluOp::add));
    if (made.opcode == Opcode::matmul && is_out) {
      if (!reads_out) continue;
      const ByteRange bytes = byte_range(view);
      const auto& groups = tiles_[view.tile].groups;
      const bool begun = std::any_of(groups.begin(), groups.end(), [&](const Group& g) {
        return g.first_partition == view.partition_start &&
               g.end_partition == static_cast<uint32_t>(view.partition_start + view.partitions) &&
               g.first_byte == bytes.first && g.end_byte == bytes.end;
      });
      if (!begun)
        draft.reject("accumulates onto " + shape_text(view) +
                     " of PSUM that no matmul with start began, or that another instruction wrote since");
    } else if (!is_written(operand.role) || reads_out) {
      check_read(draft, view);
    }
  }
  for (int i = 0; i < draft.region_count_; ++i) {
    const Hbm& hbm = *draft.region_[static_cast<size_t>(i)];
    const auto index = static_cast<uint32_t>(stream.regions.size());
    (i == 0 ? made.region : made.region_out) = index;
    append(stream.regions, hbm.region());
    if (hbm.index() == nullptr) continue;
    if (draft.region_count_ > 1) draft.reject("only loads and stores take a dynamic offset");
    draft.add(*hbm.index(), Role::index, Memory::sbuf);
    check_operand(draft, draft.operands().back());
    check_read(draft, *hbm.index());
  }
  made.view = static_cast<uint32_t>(stream.views.size());
  made.view_count = static_cast<uint8_t>(draft.count_);
  for (const Draft::Operand& operand : draft.operands()) {
    append(stream.views, *operand.view);
    stream.views.back().role = operand.role;
    if (is_written(operand.role)) mark_written(*operand.view, made);
  }
  append(stream.instructions, made);
}

}  // namespace heddle::systolic
