#include "kernels/oracle_kernel.h"

#include <memory>
#include <string_view>
#include <vector>

#include "ir/abi_codec.h"

namespace heddle {
namespace {

// A tensor of the value's type over `data`.
Tensor view(const backend::ValueRef& value, void* data) {
  Shape shape;
  for (const int64_t d : value.dims()) shape.push_back(d);
  return Tensor::borrow(data, static_cast<DType>(value.dtype()), shape);
}

}  // namespace

backend::Kernel oracle_kernel(const OpSchema& op, const backend::NodeRef& node, const std::string& prefix) {
  // What the kernel keeps: attributes, and the types of its operands (as tensors without memory of their
  // own).
  struct Prepared {
    Attributes attributes;
    std::vector<Tensor> inputs, outputs;
  };
  auto prepared = std::make_shared<Prepared>();
  prepared->attributes = decode_attributes(*node.get(), op);
  static std::byte nowhere;
  for (uint32_t i = 0; i < node.inputs(); ++i)
    prepared->inputs.push_back(node.input(i) ? view(node.input(i), &nowhere) : Tensor());
  for (uint32_t i = 0; i < node.outputs(); ++i) prepared->outputs.push_back(view(node.output(i), &nowhere));
  backend::Kernel kernel;
  kernel.name = prefix + "." + op.name;
  kernel.run = [&op, prepared](const backend::Arguments& a) {
    // Copies of the types: the same program may run in several bindings at once.
    std::vector<Tensor> inputs = prepared->inputs, outputs = prepared->outputs;
    for (uint32_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].defined())
        inputs[i] = Tensor::borrow(const_cast<void*>(a.inputs[i]), inputs[i].dtype(), inputs[i].shape());
    for (uint32_t i = 0; i < outputs.size(); ++i)
      outputs[i] = Tensor::borrow(a.outputs[i], outputs[i].dtype(), outputs[i].shape());
    op.reference({prepared->attributes, inputs, outputs});
  };
  kernel.alias = std::string_view(op.name) == "reshape";
  return kernel;
}

}  // namespace heddle
