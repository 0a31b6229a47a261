// Instructions as text, for messages and listings.
#include <bit>
#include <cstdio>

#include "systolic/isa/builder_impl.h"
#include "systolic/isa/refusal.h"

namespace heddle::systolic {
namespace {

std::string number(float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", static_cast<double>(value));
  return text;
}

std::string operand(const Stream& stream, const View& view) {
  return stream.pools[stream.tiles[view.tile].pool].name + "#" + std::to_string(view.tile) + shape_text(view);
}

std::string operand(const Stream& stream, const Region& region) {
  std::string text = stream.values[region.value].name + "[";
  for (size_t i = 0; i < region.rank; ++i) {
    if (i > 0) text += 'x';
    text += std::to_string(region.size[i]);
  }
  return text + " at " + std::to_string(region.offset) + (region.dynamic ? "+index] " : "] ") +
         dtype_name(region.dtype);
}

// An operator with its operand: a view by role, or the immediate.
std::string step(const Stream& stream, const Instruction& i, AluOp op, Role role, float immediate) {
  if (op == AluOp::bypass) return "";
  const View* view = stream.view_of(i, role);
  const std::string value = view != nullptr ? operand(stream, *view)
                            : i.integer     ? std::to_string(std::bit_cast<int32_t>(immediate))
                                            : number(immediate);
  std::string text(" ");
  text += alu_op_name(op);
  return text + ' ' + value;
}

}  // namespace

std::string describe(const Stream& stream, const Instruction& i) {
  std::string text = std::string(opcode_name(i.opcode)) + " at " + place(i.where);
  if (i.scope != 0) text += " (" + stream.scopes[i.scope] + ")";
  return text;
}

std::string to_string(const Stream& stream, const Instruction& i) {
  std::string text = std::string(opcode_name(i.opcode)) + " " + engine_name(i.engine);
  if (i.region_out != none) text += " " + operand(stream, stream.regions[i.region_out]);
  if (i.opcode == Opcode::dma_store || i.opcode == Opcode::dma_scatter)
    text += " " + operand(stream, stream.regions[i.region]);
  for (const View& v : stream.views_of(i))
    if (is_written(v.role)) text += " " + operand(stream, v);
  text += " <-";
  if (i.region != none && i.opcode != Opcode::dma_store && i.opcode != Opcode::dma_scatter)
    text += " " + operand(stream, stream.regions[i.region]);
  for (const View& v : stream.views_of(i))
    if (!is_written(v.role) && v.role != Role::scalar0 && v.role != Role::scalar1)
      text += " " + operand(stream, v);
  switch (i.opcode) {
    case Opcode::matmul:
      text += i.start ? (i.stop ? "" : " start") : (i.stop ? " accumulate, stop" : " accumulate");
      break;
    case Opcode::activation:
    case Opcode::activation_reduce:
      text += std::string(" ") + function_name(i.function) +
              step(stream, i, AluOp::multiply, Role::scalar0, i.imm0) +
              step(stream, i, AluOp::add, Role::scalar1, i.imm1);
      break;
    case Opcode::memset:
      text += " " + number(i.imm2);
      break;
    case Opcode::tensor_tensor:
      text += std::string(" ") + alu_op_name(i.op0);
      break;
    default:
      text += step(stream, i, i.op0, Role::scalar0, i.imm0) + step(stream, i, i.op1, Role::scalar1, i.imm1);
  }
  if (i.reduce != AluOp::bypass) text += std::string(" reduce ") + alu_op_name(i.reduce);
  if (i.transposed) text += " transposed";
  return text;
}

}  // namespace heddle::systolic
