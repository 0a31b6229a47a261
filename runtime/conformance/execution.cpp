#include "conformance/execution.h"

#include <algorithm>
#include <cstring>

#include "ir/graph_data.h"

namespace heddle::conformance {

Partition::Partition(const Problem& problem) : index_(problem.graph.value_count()) {
  const Graph& graph = problem.graph;
  std::vector<bool> is_output(graph.value_count());
  for (const NamedValue& o : graph.outputs()) is_output[o.value] = true;
  for (ValueId id = 0; id < graph.value_count(); ++id) {
    const ValueInfo& info = graph.info(id);
    const hd_value_kind kind = info.kind == ValueKind::constant   ? HD_VALUE_CONSTANT
                               : info.kind == ValueKind::input    ? HD_VALUE_INPUT
                               : info.kind == ValueKind::variable ? HD_VALUE_VARIABLE
                               : is_output[id]                    ? HD_VALUE_OUTPUT
                                                                  : HD_VALUE_INTERMEDIATE;
    index_[id] = encoded_.add_value(kind, info.dtype, info.dims, info.name,
                                    kind == HD_VALUE_CONSTANT ? info.constant.data() : nullptr);
    if (kind != HD_VALUE_VARIABLE) continue;
    hd_value& variable = encoded_.value(index_[id]);
    variable.uid = 1 + info.variable;
    variable.generation = problem.generation;
    variable.frozen = problem.generation != 0;
  }
  const auto indices = [&](const std::vector<ValueId>& values) {
    std::vector<uint32_t> list;
    for (const ValueId v : values) list.push_back(v == no_value ? HD_NO_VALUE : index_[v]);
    return list;
  };
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    encoded_.add_node(*node.op, node.name, node.attributes, indices(node.inputs), indices(node.outputs));
  }
  for (const Update& u : graph.updates())
    encoded_.add_update(index_[graph.variables()[u.variable].value], index_[u.value]);
}

std::optional<std::string> refusal(const device::OpenDevice& device, const hd_graph& graph) {
  for (uint32_t i = 0; i < graph.n_node; ++i) {
    hd_offer offer{};
    offer.size = sizeof(offer);
    const int32_t code = device.vtable().offer(device.handle(), &graph, i, &offer);
    const std::string node = graph.n_node > 1 ? std::string(graph.node[i]->op) + ": " : "";
    if (code != HD_OK)
      throw Error(ErrorCode::internal,
                  node + "offer returned code " + std::to_string(code) + " instead of an answer");
    if (offer.verdict == HD_OFFER_YES) continue;
    offer.reason[sizeof(offer.reason) - 1] = 0;
    if (offer.reason[0] == 0)
      throw Error(ErrorCode::internal, node + "refused without a reason; device_abi.h requires one");
    return node + offer.reason;
  }
  return std::nullopt;
}

Execution::Execution(device::DevicePtr device, const Problem& problem)
    : device_(std::move(device)), partition_(problem), stream_(device_->stream()) {
  const Graph& graph = problem.graph;
  program_ = device_->compile(partition_.graph());
  const hd_program_info info = device_->describe(program_);
  for (uint32_t i = 0; i < info.n_kernel; ++i)
    if (info.kernel[i] != nullptr && *info.kernel[i] != 0)
      kernels_ += (kernels_.empty() ? "" : " + ") + std::string(info.kernel[i]);

  std::vector<hd_span> spans(graph.value_count() + 1);
  const auto allocate = [&](uint32_t index, uint64_t bytes) {
    auto memory = std::make_shared<GuardedMemory>(*device_, stream_, bytes);
    spans[index] = memory->span();
    return memory;
  };
  const auto add_operand = [&](ValueId id, const Tensor& contents) {
    const uint32_t index = partition_.index(id);
    operands_.push_back({graph.info(id).name, index, contents, allocate(index, contents.bytes())});
  };
  for (size_t i = 0; i < problem.inputs.size(); ++i) add_operand(graph.inputs()[i], problem.inputs[i]);
  for (size_t i = 0; i < problem.variables.size(); ++i)
    add_operand(graph.variables()[i].value, problem.variables[i]);
  for (ValueId id = 0; id < graph.value_count(); ++id)
    if (graph.info(id).kind == ValueKind::constant) add_operand(id, graph.info(id).constant);
  for (const NamedValue& o : graph.outputs()) {
    const auto known = std::find(outputs_.begin(), outputs_.end(), o.value);
    output_result_.push_back(static_cast<size_t>(known - outputs_.begin()));
    if (known != outputs_.end()) continue;
    outputs_.push_back(o.value);
    const ValueType type = ir::type_of(graph.info(o.value));
    const uint32_t index = partition_.index(o.value);
    const uint64_t bytes = static_cast<uint64_t>(type.dims.shape().elements()) * size_of(type.dtype);
    results_.push_back({o.name, index, type, allocate(index, bytes)});
  }
  scratch_ = allocate(static_cast<uint32_t>(graph.value_count()), info.scratch_bytes);
  // Where the program says that a result may be an operand's memory, it is.
  for (uint32_t p = 0; p < info.n_in_place; ++p) share(info.in_place[p], spans);
  binding_ = device_->bind(program_, spans);
}

void Execution::share(hd_pair pair, std::vector<hd_span>& spans) {
  const auto has = [](uint32_t index) { return [index](const auto& x) { return x.index == index; }; };
  const auto result = std::find_if(results_.begin(), results_.end(), has(pair.first));
  const auto operand = std::find_if(operands_.begin(), operands_.end(), has(pair.second));
  if (result == results_.end() || operand == operands_.end())
    throw Error(ErrorCode::internal, "hd_program_info.in_place pairs value " + std::to_string(pair.first) +
                                         " with " + std::to_string(pair.second) +
                                         "; it must name an output and an operand");
  if (result->memory->bytes() != operand->memory->bytes())
    throw Error(ErrorCode::internal, "hd_program_info.in_place pairs " + result->name + " with " +
                                         operand->name + ", which is of another size");
  result->memory = operand->memory;
  operand->overwritten = true;
  spans[pair.first] = operand->memory->span();
}

void Execution::expect_untouched(const std::string& what, const GuardedMemory& memory) const {
  if (!memory.guards_intact())
    throw Error(ErrorCode::internal, "wrote outside " + what + ": the memory around its span has changed");
}

std::vector<Tensor> Execution::run(std::byte poison) {
  for (const Result& r : results_) r.memory->poison(poison);
  for (const Operand& o : operands_) {
    o.memory->poison(poison);
    o.memory->write(o.contents.data());
  }
  scratch_->poison(poison);

  device_->wait(stream_, device_->launch(stream_, binding_));

  for (const Operand& o : operands_) {
    expect_untouched("operand " + o.name, *o.memory);
    if (o.overwritten) continue;
    Tensor now(o.contents.dtype(), o.contents.shape());
    o.memory->read(now.data());
    if (now.bytes() != 0 && std::memcmp(now.data(), o.contents.data(), now.bytes()) != 0)
      throw Error(ErrorCode::internal, "changed operand " + o.name + ", which it may only read");
  }
  expect_untouched("its scratch", *scratch_);
  std::vector<Tensor> results;
  for (const Result& r : results_) {
    expect_untouched("result " + r.name, *r.memory);
    results.emplace_back(r.type.dtype, r.type.dims.shape());
    r.memory->read(results.back().data());
  }
  std::vector<Tensor> by_output;
  for (const size_t r : output_result_) by_output.push_back(results[r]);
  return by_output;
}

}  // namespace heddle::conformance
