#include "heddle/error.h"
#include "ir/number_text.h"
#include "ir/scalar_program.h"

namespace heddle {

ScalarProgram fuse(const ScalarProgram& producer, const ScalarProgram& consumer, std::span<const int> wiring,
                   std::span<const uint32_t> keep) {
  if (wiring.size() != consumer.inputs.size()) {
    throw Error(ErrorCode::internal, "fuse: " + number_text(wiring.size()) + " wires for a consumer with " +
                                         number_text(consumer.inputs.size()) + " inputs");
  }
  ScalarProgram result;
  result.inputs = producer.inputs;
  std::vector<uint32_t> of_consumer(consumer.registers());
  for (size_t i = 0; i < wiring.size(); ++i)
    if (wiring[i] < 0) of_consumer[i] = result.input(consumer.inputs[i]);

  std::vector<uint32_t> of_producer(producer.registers());
  for (uint32_t i = 0; i < producer.inputs.size(); ++i) of_producer[i] = i;
  const auto copy_steps = [&](const ScalarProgram& p, std::vector<uint32_t>& now) {
    for (size_t i = 0; i < p.steps.size(); ++i) {
      ScalarStep s = p.steps[i];
      for (int k = 0; k < scalar_op_info(s.op).operands; ++k) s.operand[k] = now[s.operand[k]];
      result.steps.push_back(s);
      now[p.inputs.size() + i] = result.registers() - 1;
    }
  };
  copy_steps(producer, of_producer);
  for (size_t i = 0; i < wiring.size(); ++i) {
    if (wiring[i] < 0) continue;
    const auto output = static_cast<size_t>(wiring[i]);
    if (output >= producer.outputs.size() || producer.dtype(producer.outputs[output]) != consumer.inputs[i]) {
      throw Error(ErrorCode::internal, "fuse: consumer input " + number_text(i) + " (" +
                                           dtype_name(consumer.inputs[i]) +
                                           ") does not fit producer output " + number_text(output));
    }
    uint32_t reg = of_producer[producer.outputs[output]];
    const DType d = consumer.inputs[i];
    if (is_float(d) && size_of(d) < 4) {
      // In memory the value would have been rounded. simplify() removes the cast where it changes nothing.
      result.steps.push_back({ScalarOp::cast, d, {reg, 0, 0}, 0, 0});
      reg = result.registers() - 1;
    }
    of_consumer[i] = reg;
  }
  copy_steps(consumer, of_consumer);
  for (const uint32_t k : keep) result.outputs.push_back(of_producer[producer.outputs.at(k)]);
  for (const uint32_t r : consumer.outputs) result.outputs.push_back(of_consumer[r]);
  return simplify(result);
}

}  // namespace heddle
