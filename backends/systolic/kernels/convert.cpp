// convert: a pointwise program of one cast.
#include "systolic/kernels/pointwise.h"

namespace heddle::systolic {
namespace {

ScalarProgram cast_program(DType from, DType to) {
  ScalarProgram program;
  const uint32_t x = program.input(from);
  program.outputs = {program.cast(x, to)};
  return program;
}

void emit(const NodeContext& c) {
  if (c.inputs[0].dtype == c.outputs[0].dtype) return c.nc.dma_copy(c.outputs[0].hbm, c.inputs[0].hbm);
  const Attributes attributes{
      {"body", std::make_shared<const ScalarProgram>(cast_program(c.inputs[0].dtype, c.outputs[0].dtype))}};
  find_lowering("pointwise")->emit({c.nc, c.op, c.name, attributes, c.inputs, c.outputs});
}

backend::Offer offer(const backend::NodeRef& node) {
  const DType from = static_cast<DType>(node.input(0).dtype()),
              to = static_cast<DType>(node.output(0).dtype());
  return offer_program(cast_program(from, to));
}

constexpr Lowering lowerings[] = {{"convert", offer, emit}};

}  // namespace

std::span<const Lowering> convert_lowerings() { return lowerings; }

}  // namespace heddle::systolic
