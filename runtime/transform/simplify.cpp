#include "transform/simplify.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "heddle/schema.h"
#include "ir/rewrite.h"
#include "ir/scalar_program.h"
#include "kernels/catalogue.h"

namespace heddle {
namespace {

constexpr int64_t fold_limit = 1024;  // elements of a constant that is worth making

class Simplifier {
 public:
  explicit Simplifier(const Graph& source)
      : source_(source), rewriter_(source), target_(rewriter_.target()) {}

  Graph run() {
    for (NodeId id = 0; id < source_.node_count(); ++id) {
      if (!rewriter_.is_live(id)) continue;
      const Node& node = source_.node(id);
      pin_ = node.device;
      target_.pin(pin_);
      std::vector<Value> inputs = rewriter_.inputs(id);
      rewriter_.replace(id, add(*node.op, std::move(inputs), node.attributes, node.name));
    }
    target_.pin("");
    rewriter_.finish();
    return ir::drop_dead_nodes(target_);
  }

 private:
  std::vector<Value> add(const OpSchema& op, std::vector<Value> inputs, Attributes attributes,
                         const std::string& name) {
    const std::string_view kind = op.name;
    if (kind == "convert") return cast(inputs[0], attributes.get<DType>("dtype"), name);
    if (kind == "matmul") fold_transposes(inputs, attributes);
    if (kind == "pointwise") {
      strip_broadcasts(inputs);
      absorb_constants(inputs, attributes);
      if (const auto same = identity(inputs, attributes)) return *same;
    }
    if (kind == "reshape") inputs[0] = through(inputs[0], "reshape");
    if (kind == "transpose") compose_transposes(inputs, attributes);
    if (changes_nothing(kind, inputs, attributes)) return {inputs[0]};
    if (auto folded = evaluate(op, inputs, attributes, name)) return *folded;
    const std::string key = key_of(op, inputs, attributes);
    if (const auto it = seen_.find(key); it != seen_.end()) return it->second;
    std::vector<Value> outputs = target_.add(op, inputs, std::move(attributes), name);
    if (kind == "reshape" || kind == "transpose" || kind == "broadcast" || kind == "contiguous")
      if (outputs[0].dims() == inputs[0].dims() && kind != "transpose") outputs = {inputs[0]};
    return seen_[key] = outputs;
  }

  const Node* producer(Value v, std::string_view op) const {
    const ValueInfo& info = target_.info(v.id());
    if (info.kind != ValueKind::result) return nullptr;
    const Node& node = target_.node(info.producer);
    return op == node.op->name ? &node : nullptr;
  }
  Value operand(const Node& node, size_t i) const { return target_.value(node.inputs[i]); }
  const Tensor* constant(Value v) const {
    if (!v) return nullptr;
    const ValueInfo& info = target_.info(v.id());
    return info.kind == ValueKind::constant ? &info.constant : nullptr;
  }

  // The operand behind a chain of `op`s.
  Value through(Value v, std::string_view op) const {
    while (const Node* node = producer(v, op)) v = operand(*node, 0);
    return v;
  }

  std::vector<Value> cast(Value v, DType dtype, const std::string& name) {
    if (v.dtype() == dtype) return {v};
    ScalarProgram program;
    program.outputs = {program.cast(program.input(v.dtype()), dtype)};
    return add(*find_op("pointwise"), {v}, {{"body", std::make_shared<const ScalarProgram>(program)}}, name);
  }

  void fold_transposes(std::vector<Value>& inputs, Attributes& attributes) const {
    static constexpr const char* flags[] = {"transpose_a", "transpose_b"};
    for (size_t i = 0; i < 2; ++i) {
      const Node* node = producer(inputs[i], "transpose");
      if (node == nullptr) continue;
      const auto& order = node->attributes.get<std::vector<int64_t>>("order");
      const int64_t rank = static_cast<int64_t>(order.size());
      std::vector<int64_t> swapped(order.size());
      std::iota(swapped.begin(), swapped.end(), 0);
      if (rank < 2) continue;
      std::swap(swapped[order.size() - 1], swapped[order.size() - 2]);
      if (order != swapped) continue;
      inputs[i] = operand(*node, 0);
      attributes.set(flags[i], !attributes.get_or<bool>(flags[i], false));
    }
  }

  static Dims common_dims(const std::vector<Value>& inputs) {
    Dims common;
    for (const Value& v : inputs) {
      Dims wide = v.dims();
      while (wide.rank() < common.rank()) wide.insert(0, 1);
      while (common.rank() < wide.rank()) common.insert(0, 1);
      for (int axis = 0; axis < wide.rank(); ++axis)
        if (common[axis] == Dim(1)) common[axis] = wide[axis];
    }
    return common;
  }

  void strip_broadcasts(std::vector<Value>& inputs) const {
    const Dims common = common_dims(inputs);
    for (Value& v : inputs) {
      const Node* node = producer(v, "broadcast");
      if (node == nullptr) continue;
      const Value wide = std::exchange(v, operand(*node, 0));
      if (!(common_dims(inputs) == common)) v = wide;
    }
  }

  void absorb_constants(std::vector<Value>& inputs, Attributes& attributes) const {
    const Dims common = common_dims(inputs);
    const ScalarProgram& body = *attributes.get<ScalarProgramPtr>("body");
    std::vector<bool> absorbed(inputs.size(), false);
    std::vector<Value> kept;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor* t = constant(inputs[i]);
      absorbed[i] = t != nullptr && t->elements() == 1;
      if (!absorbed[i]) kept.push_back(inputs[i]);
    }
    if (kept.size() == inputs.size() || kept.empty() || !(common_dims(kept) == common)) return;
    ScalarProgram program;
    std::vector<uint32_t> map(body.registers());
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!absorbed[i]) map[i] = program.input(body.inputs[i]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!absorbed[i]) continue;
      const Tensor* t = constant(inputs[i]);
      map[i] = program.constant(t->at(0), body.inputs[i]);
      if (is_integer(body.inputs[i])) {  // exactly, past 2^53 too
        const Tensor wide = t->to(DType::int64);
        program.steps.back().integer = wide.values<int64_t>()[0];
      }
    }
    for (uint32_t s = 0; s < body.steps.size(); ++s) {
      ScalarStep step = body.steps[s];
      for (int k = 0; k < scalar_op_info(step.op).operands; ++k) step.operand[k] = map[step.operand[k]];
      map[body.inputs.size() + s] = program.registers();
      program.steps.push_back(step);
    }
    for (uint32_t r : body.outputs) program.outputs.push_back(map[r]);
    inputs = std::move(kept);
    attributes.set("body", std::make_shared<const ScalarProgram>(heddle::simplify(program)));
  }

  // A pointwise node that only hands an operand of the common shape on.
  static std::optional<std::vector<Value>> identity(const std::vector<Value>& inputs,
                                                    const Attributes& attributes) {
    const ScalarProgram& body = *attributes.get<ScalarProgramPtr>("body");
    const Dims common = common_dims(inputs);
    std::vector<Value> results;
    for (uint32_t r : body.outputs) {
      if (r >= inputs.size() || !(inputs[r].dims() == common)) return std::nullopt;
      results.push_back(inputs[r]);
    }
    return results;
  }

  void compose_transposes(std::vector<Value>& inputs, Attributes& attributes) const {
    const Node* inner = producer(inputs[0], "transpose");
    if (inner == nullptr) return;
    std::vector<int64_t> order = attributes.get<std::vector<int64_t>>("order");
    const auto& first = inner->attributes.get<std::vector<int64_t>>("order");
    for (int64_t& axis : order) axis = first[static_cast<size_t>(axis)];
    inputs[0] = operand(*inner, 0);
    attributes.set("order", order);
  }

  static bool changes_nothing(std::string_view kind, const std::vector<Value>& inputs,
                              const Attributes& attributes) {
    if (kind == "contiguous") return true;
    if (kind != "transpose") return false;
    const auto& order = attributes.get<std::vector<int64_t>>("order");
    // Moving axes of size one moves no bytes, but only an unchanged order is certain to keep the shape.
    return std::is_sorted(order.begin(), order.end()) && static_cast<int>(order.size()) == inputs[0].rank();
  }

  std::optional<std::vector<Value>> evaluate(const OpSchema& op, const std::vector<Value>& inputs,
                                             const Attributes& attributes, const std::string&) {
    if (op.reference == nullptr || inputs.empty()) return std::nullopt;
    std::vector<Tensor> operands;
    std::vector<ValueType> types;
    for (const Value& v : inputs) {
      const Tensor* t = constant(v);
      if (v && (t == nullptr || t->elements() > fold_limit)) return std::nullopt;
      operands.push_back(t ? t->contiguous() : Tensor());
      types.push_back(v ? ValueType{v.dtype(), v.dims()} : ValueType{});
    }
    std::vector<const ValueType*> pointers;
    for (size_t i = 0; i < inputs.size(); ++i) pointers.push_back(inputs[i] ? &types[i] : nullptr);
    std::vector<Tensor> results;
    for (const ValueType& type : op.infer({pointers, attributes})) {
      const Shape shape = type.dims.shape();
      if (shape.elements() > fold_limit) return std::nullopt;
      results.emplace_back(type.dtype, shape);
    }
    op.reference({attributes, operands, results});
    std::vector<Value> values;
    for (Tensor& t : results) values.push_back(target_.constant(std::move(t)));
    return values;
  }

  std::string key_of(const OpSchema& op, const std::vector<Value>& inputs,
                     const Attributes& attributes) const {
    std::string key = std::string(op.name) + "@" + pin_;
    for (const Value& v : inputs) key += "," + std::to_string(v ? v.id() : no_value);
    for (const auto& [name, value] : attributes.entries()) key += ";" + name + "=" + to_string(value);
    return key;
  }

  const Graph source_;
  ir::Rewriter rewriter_;
  Graph target_;
  std::string pin_;  // of the node at hand
  std::unordered_map<std::string, std::vector<Value>> seen_;
};

}  // namespace

Graph simplify(const Graph& graph) { return Simplifier(graph).run(); }

}  // namespace heddle
