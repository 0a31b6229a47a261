// Lowering: how each op becomes instructions. One file per family; each lists its ops for the table below. A
// lowering reads its operands from HBM and writes its results to HBM; since the instructions of a whole
// partition form one stream, the engines overlap across ops.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "heddle/attributes.h"
#include "heddle/backend/kernel.h"
#include "heddle/shape.h"
#include "heddle/systolic/builder.h"

namespace heddle::systolic {

// One operand or result of a node. `hbm` is flat: [elements] (64-bit integers: [2 * elements] of uint32, low
// word first); kernels reshape it to what suits them. Absent for a missing optional operand.
struct Operand {
  Hbm hbm;
  DType dtype = DType::float32;
  Shape shape;
  bool present = false;
  const void* constant = nullptr;  // its bytes, when known at compile time

  int64_t elements() const { return shape.elements(); }
  int64_t last() const { return shape.rank() == 0 ? 1 : shape.at(-1); }  // size of the last axis
  int64_t rows() const { return last() == 0 ? 0 : elements() / last(); }
  Hbm matrix() const { return hbm.reshape({rows(), last()}); }  // [rows, last axis]
};

struct NodeContext {
  NeuronCore& nc;
  std::string_view op, name;
  const Attributes& attributes;
  std::span<const Operand> inputs;
  std::span<const Operand> outputs;
};

struct Lowering {
  const char* op;
  // Beyond what holds for every op: float32/bfloat16 (and integers where it says so), no empty values.
  backend::Offer (*offer)(const backend::NodeRef& node);
  void (*emit)(const NodeContext& context);
};

// Each kernels/<family>.cpp.
std::span<const Lowering> attention_lowerings();
std::span<const Lowering> convert_lowerings();
std::span<const Lowering> gather_lowerings();
std::span<const Lowering> layout_lowerings();
std::span<const Lowering> loss_lowerings();
std::span<const Lowering> matmul_lowerings();
std::span<const Lowering> normalize_lowerings();
std::span<const Lowering> optimizer_lowerings();
std::span<const Lowering> pointwise_lowerings();
std::span<const Lowering> random_lowerings();
std::span<const Lowering> reduce_lowerings();
std::span<const Lowering> rope_lowerings();
std::span<const Lowering> softmax_lowerings();

// Null when no engine path exists for the op.
const Lowering* find_lowering(std::string_view op);

// Offers shared by the families: nullptr when fine, else the reason.
// Every float operand and result is float32 or bfloat16; the others are of the given integer dtypes or bool.
backend::Offer floats_only(const backend::NodeRef& node);  // float32/bfloat16 operands and results alone
backend::Offer floats_and_indices(const backend::NodeRef& node);  // int32 operands allowed too

}  // namespace heddle::systolic
