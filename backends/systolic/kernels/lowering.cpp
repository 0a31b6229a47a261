#include "systolic/kernels/lowering.h"

#include <map>
#include <string>

namespace heddle::systolic {
namespace {

std::string type_of(const backend::ValueRef& value) { return backend::dtype_text(value.dtype()); }

backend::Offer check(const backend::NodeRef& node, bool indices) {
  const auto fits = [indices](const backend::ValueRef& v) {
    if (!v || v.dtype() == HD_DTYPE_FLOAT32 || v.dtype() == HD_DTYPE_BFLOAT16) return true;
    return indices && (v.dtype() == HD_DTYPE_INT32 || v.dtype() == HD_DTYPE_BOOL);
  };
  for (uint32_t i = 0; i < node.inputs(); ++i)
    if (!fits(node.input(i)))
      return backend::no("operand " + std::to_string(i) + " is " + type_of(node.input(i)) +
                         "; the engines take float32 and bfloat16" +
                         (indices ? " (and int32 indices, bool masks)" : ""));
  for (uint32_t i = 0; i < node.outputs(); ++i)
    if (!fits(node.output(i)))
      return backend::no("result " + std::to_string(i) + " is " + type_of(node.output(i)));
  return backend::yes();
}

}  // namespace

backend::Offer floats_only(const backend::NodeRef& node) { return check(node, false); }
backend::Offer floats_and_indices(const backend::NodeRef& node) { return check(node, true); }

const Lowering* find_lowering(std::string_view op) {
  static const std::map<std::string, const Lowering*, std::less<>> table = [] {
    std::map<std::string, const Lowering*, std::less<>> all;
    for (const auto family :
         {attention_lowerings, convert_lowerings, gather_lowerings, layout_lowerings, loss_lowerings,
          matmul_lowerings, normalize_lowerings, optimizer_lowerings, pointwise_lowerings, random_lowerings,
          reduce_lowerings, rope_lowerings, softmax_lowerings})
      for (const Lowering& l : family()) all.emplace(l.op, &l);
    return all;
  }();
  const auto it = table.find(op);
  return it == table.end() ? nullptr : it->second;
}

}  // namespace heddle::systolic
