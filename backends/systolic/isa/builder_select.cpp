// Instructions that choose elements: by position, by chance, by indices in a tile.
#include "systolic/isa/operand_rules.h"

namespace heddle::systolic {
namespace {

void same_dtype(const Draft& draft, const Tile& out, const Tile& in) {
  draft.require(out.dtype() == in.dtype(), "keeps the dtype");
}

void one_index(const Draft& draft, const Tile& index) {
  draft.require(index.dtype() == DType::int32 && index.partitions() == 1 && index.free_elements() == 1,
                "needs an index [1, 1] of int32");
}

// `part` is a window of `whole` along one free axis.
void window(const Draft& draft, const Tile& whole, const Tile& part, int axis) {
  bool fits = whole.rank() == part.rank() && whole.partitions() == part.partitions() && axis >= 0 &&
              axis < whole.rank();
  for (int a = 0; fits && a < whole.rank(); ++a)
    fits = a == axis ? part.size(a) <= whole.size(a) : part.size(a) == whole.size(a);
  if (!fits)
    draft.reject("operand " + shape_text(part.view()) + " is no window of " + shape_text(whole.view()) +
                 " along free axis " + std::to_string(axis));
}

}  // namespace

void NeuronCore::tensor_copy_dynamic_src(const Tile& out, const Tile& in, int axis, const Tile& index,
                                         Where where) {
  Draft draft = impl_->begin(Opcode::tensor_copy_dynamic_src, Engine::dve, where);
  draft.out(out).in(in, Role::in0).in(index, Role::index);
  same_dtype(draft, out, in), one_index(draft, index), window(draft, in, out, axis);
  draft.instruction.extra = static_cast<uint32_t>(axis);
  impl_->commit(draft);
}

void NeuronCore::tensor_copy_dynamic_dst(const Tile& out, const Tile& in, int axis, const Tile& index,
                                         Where where) {
  Draft draft = impl_->begin(Opcode::tensor_copy_dynamic_dst, Engine::dve, where);
  draft.out(out).in(in, Role::in0).in(index, Role::index);
  same_dtype(draft, out, in), one_index(draft, index), window(draft, out, in, axis);
  draft.instruction.extra = static_cast<uint32_t>(axis);
  draft.instruction.skip = true;
  impl_->commit(draft);
}

Draft NeuronCore::Impl::range(const Tile& out, const Tile* reduced, const Tile& in, AluOp compare0,
                              const Scalar& bound0, AluOp compare1, const Scalar& bound1, float fill,
                              float start, Where where) const {
  Draft draft = begin(Opcode::range_select, Engine::dve, where);
  Instruction& i = draft.instruction;
  draft.require(device->dve.range_select,
                "does not exist on this device; use affine_select, or iota and select");
  draft.require(is_comparison(compare0) && is_comparison(compare1), "needs two comparisons");
  i.op0 = compare0, i.op1 = compare1, i.imm2 = fill, i.imm3 = start;
  draft.out(out);
  if (reduced != nullptr) {
    i.reduce = AluOp::maximum;
    draft.out(*reduced, Role::result);
    column(draft, *reduced, in, 1);
  }
  draft.in(in, Role::in0);
  draft.scalar(bound0, Role::scalar0, &Instruction::imm0).scalar(bound1, Role::scalar1, &Instruction::imm1);
  same_shape(draft, out, in);
  return draft;
}

void NeuronCore::range_select(const Tile& out, const Tile& in, AluOp compare0, const Scalar& bound0,
                              AluOp compare1, const Scalar& bound1, float fill, float start, Where where) {
  Draft draft = impl_->range(out, nullptr, in, compare0, bound0, compare1, bound1, fill, start, where);
  impl_->commit(draft);
}

void NeuronCore::range_select(const Tile& out, const Tile& reduced, const Tile& in, AluOp compare0,
                              const Scalar& bound0, AluOp compare1, const Scalar& bound1, float fill,
                              float start, Where where) {
  Draft draft = impl_->range(out, &reduced, in, compare0, bound0, compare1, bound1, fill, start, where);
  impl_->commit(draft);
}

void NeuronCore::stream_shuffle(const Tile& out, const Tile& in, const Shuffle& shuffle, Where where) {
  Draft draft = impl_->begin(Opcode::stream_shuffle, Engine::dve, where);
  draft.out(out).in(in, Role::in0);
  same_dtype(draft, out, in), same_shape(draft, out, in);
  if (out.partitions() % 32 != 0)
    draft.reject("moves rows within groups of 32 partitions, not " + std::to_string(out.partitions()));
  for (const uint8_t source : shuffle.source) {
    if (source >= 32 && source != Shuffle::keep)
      draft.reject("takes a row from partition " + std::to_string(source) + " of a group of 32");
    draft.instruction.skip = draft.instruction.skip || source == Shuffle::keep;
  }
  draft.instruction.extra = static_cast<uint32_t>(impl_->stream.shuffles.size());
  impl_->commit(draft);
  impl_->stream.shuffles.push_back(shuffle);
}

void NeuronCore::dropout(const Tile& out, const Tile& in, const Scalar& probability, const Tile& state,
                         const AffinePattern& pattern, Where where) {
  Draft draft = impl_->begin(Opcode::dropout, Engine::dve, where);
  draft.out(out)
      .in(in, Role::in0)
      .in(state, Role::in1)
      .scalar(probability, Role::scalar0, &Instruction::imm0);
  same_shape(draft, out, in);
  draft.require(state.dtype() == DType::uint32 && state.partitions() == 1 && state.free_elements() == 4,
                "needs a state [1, 4] of uint32");
  draft.require(probability.is_tile() || (probability.number() >= 0 && probability.number() <= 1),
                "needs a probability from 0 to 1");
  draft.instruction.extra = impl_->add_pattern(pattern);
  impl_->commit(draft);
}

Draft NeuronCore::Impl::indexed(Opcode opcode, const Tile& out, const Tile& in, const Tile& index, int each,
                                Where where) const {
  Draft draft = begin(opcode, Engine::gpsimd, where);
  draft.out(out).in(in, Role::in0).in(index, Role::index);
  same_dtype(draft, out, in);
  dense(draft, out), dense(draft, in), dense(draft, index);
  draft.require(out.memory() == Memory::sbuf && in.memory() == Memory::sbuf && index.memory() == Memory::sbuf,
                "reads and writes SBUF");
  draft.require(index.dtype() == DType::uint16, "needs uint16 indices");
  if (out.partitions() % 16 != 0 || in.partitions() != out.partitions() ||
      index.partitions() != out.partitions())
    draft.reject("needs operands of the same multiple of 16 partitions");
  if (each < 1 || each > 32 || (each & (each - 1)) != 0)
    draft.reject("moves 1, 2, 4, 8, 16 or 32 elements per index, not " + std::to_string(each));
  const int64_t indices = index.free_elements() * 16;
  if (indices > 4096) draft.reject("takes at most 4096 indices a group, not " + std::to_string(indices));
  const Tile& moved = opcode == Opcode::local_gather ? out : in;
  const Tile& table = opcode == Opcode::local_gather ? in : out;
  // Indices beyond those that the moved side needs are not used: it decides how many are valid.
  if (moved.free_elements() % each != 0 || moved.free_elements() / each > indices)
    draft.reject("moves " + std::to_string(moved.free_elements()) + " elements a partition with " +
                 std::to_string(indices) + " indices of " + std::to_string(each));
  if (table.free_elements() % each != 0)
    draft.reject("has a table of " + std::to_string(table.free_elements()) + " elements, no multiple of " +
                 std::to_string(each));
  draft.instruction.extra = static_cast<uint32_t>(each);
  return draft;
}

void NeuronCore::local_gather(const Tile& out, const Tile& in, const Tile& index, int each, Where where) {
  Draft draft = impl_->indexed(Opcode::local_gather, out, in, index, each, where);
  impl_->commit(draft);
}

void NeuronCore::local_scatter(const Tile& out, const Tile& in, const Tile& index, int each, Where where) {
  Draft draft = impl_->indexed(Opcode::local_scatter, out, in, index, each, where);
  draft.instruction.skip = true;
  impl_->commit(draft);
}

}  // namespace heddle::systolic
