#include "cpu/kernels/optimizer.h"

#include <memory>
#include <vector>

#include "cpu/nodes/nodes.h"

namespace heddle::cpu {
namespace {

// The tensors of a step with their sizes. A run copies them to its scratch and fills in the pointers there,
// because several bindings may run one kernel.
struct Lists {
  uint32_t head, count, states;
  std::vector<ParameterTensor> tensors;
  int64_t elements = 0;

  // Results are the parameters, then each kind of state, as the operands are.
  std::span<const ParameterTensor> fill(const backend::Arguments& a) const {
    auto* to = static_cast<ParameterTensor*>(a.scratch);
    for (uint32_t i = 0; i < count; ++i) {
      ParameterTensor t = tensors[i];
      t.p = a.inputs[head + i];
      t.g = a.inputs[head + count + i];
      t.p_out = a.outputs[i];
      if (states > 0) {
        t.m = a.inputs[head + 2 * count + i];
        t.m_out = a.outputs[count + i];
      }
      if (states > 1) {
        t.v = a.inputs[head + 3 * count + i];
        t.v_out = a.outputs[2 * count + i];
      }
      std::construct_at(to + i, t);
    }
    return {to, count};
  }
};

std::shared_ptr<const Lists> lists_of(const backend::NodeRef& node, uint32_t head, uint32_t states) {
  auto lists = std::make_shared<Lists>();
  lists->head = head;
  lists->count = static_cast<uint32_t>(node.integer("count"));
  lists->states = states;
  for (uint32_t i = 0; i < lists->count; ++i) {
    const backend::ValueRef p = node.input(head + i), g = node.input(head + lists->count + i);
    if (!is_kernel_float(dtype_of_value(p)) || !is_kernel_float(dtype_of_value(g))) return nullptr;
    lists->tensors.push_back({dtype_of_value(p), dtype_of_value(g), p.elements(), nullptr, nullptr, nullptr,
                              nullptr, nullptr, nullptr, nullptr});
    lists->elements += p.elements();
  }
  return lists;
}

backend::Kernel step_kernel(const backend::NodeRef& node, const Lists& lists, Threads threads) {
  backend::Kernel kernel;
  kernel.name = std::string("cpu.") + node.op();
  kernel.scratch_bytes = lists.count * sizeof(ParameterTensor);
  kernel.parallel = threads.count > 1;
  for (uint32_t kind = 0; kind <= lists.states; ++kind)
    for (uint32_t i = 0; i < lists.count; ++i) {
      // Parameters, then past the gradients the states.
      const uint32_t input = lists.head + (kind == 0 ? 0 : kind + 1) * lists.count + i;
      kernel.in_place.push_back({kind * lists.count + i, input});
    }
  return kernel;
}

std::optional<backend::Kernel> prepare_sgd(const backend::NodeRef& node, const NodeContext& context) {
  const SgdRule rule{node.real("momentum"), node.real("weight_decay"), node.integer("nesterov") != 0};
  const auto lists = lists_of(node, 1, rule.momentum != 0 ? 1 : 0);
  if (!lists) return std::nullopt;
  const Threads threads = streaming_threads(lists->elements, context.threads);
  const DType lr = dtype_of_value(node.input(0));
  backend::Kernel kernel = step_kernel(node, *lists, threads);
  kernel.run = [=](const backend::Arguments& a) { sgd(rule, threads, {lr, a.inputs[0]}, lists->fill(a)); };
  return kernel;
}

std::optional<backend::Kernel> prepare_adam(const backend::NodeRef& node, const NodeContext& context) {
  const AdamRule rule{node.real("beta1"), node.real("beta2"), node.real("epsilon"), node.real("weight_decay"),
                      std::string_view(node.op()) == "adamw"};
  const auto lists = lists_of(node, 2, 2);
  if (!lists) return std::nullopt;
  const Threads threads = streaming_threads(lists->elements, context.threads);
  const DType lr = dtype_of_value(node.input(0)), step = dtype_of_value(node.input(1));
  backend::Kernel kernel = step_kernel(node, *lists, threads);
  kernel.run = [=](const backend::Arguments& a) {
    adam(rule, threads, {lr, a.inputs[0]}, {step, a.inputs[1]}, lists->fill(a));
  };
  return kernel;
}

// global_norm and clip_by_global_norm.
std::optional<backend::Kernel> prepare_norm(const backend::NodeRef& node, const NodeContext& context) {
  const bool clips = std::string_view(node.op()) == "clip_by_global_norm";
  auto tensors = std::make_shared<std::vector<NormTensor>>();
  int64_t elements = 0;
  for (uint32_t i = 0; i < node.inputs(); ++i) {
    if (!is_kernel_float(dtype_of_value(node.input(i)))) return std::nullopt;
    tensors->push_back({dtype_of_value(node.input(i)), node.input(i).elements(), nullptr, nullptr});
    elements += node.input(i).elements();
  }
  const Threads threads = streaming_threads(elements, context.threads);
  const double max_norm = node.real("max_norm");
  const uint32_t norm_at = clips ? node.inputs() : 0;
  const DType norm_dtype = dtype_of_value(node.output(norm_at));
  backend::Kernel kernel;
  kernel.name = std::string("cpu.") + node.op();
  kernel.scratch_bytes = tensors->size() * sizeof(NormTensor);
  kernel.parallel = threads.count > 1;
  if (clips)
    for (uint32_t i = 0; i < node.inputs(); ++i) kernel.in_place.push_back({i, i});
  kernel.run = [=](const backend::Arguments& a) {
    auto* to = static_cast<NormTensor*>(a.scratch);
    for (size_t i = 0; i < tensors->size(); ++i) {
      NormTensor t = (*tensors)[i];
      t.x = a.inputs[i];
      t.y = clips ? a.outputs[i] : nullptr;
      std::construct_at(to + i, t);
    }
    const std::span<const NormTensor> list(to, tensors->size());
    if (clips) {
      clip_by_global_norm(max_norm, threads, list, norm_dtype, a.outputs[norm_at]);
    } else {
      global_norm(threads, list, norm_dtype, a.outputs[0]);
    }
  };
  return kernel;
}

}  // namespace

void add_optimizer_nodes(PrepareTable& table) {
  table["sgd"] = prepare_sgd;
  table["adam"] = prepare_adam;
  table["adamw"] = prepare_adam;
  table["global_norm"] = prepare_norm;
  table["clip_by_global_norm"] = prepare_norm;
}

}  // namespace heddle::cpu
