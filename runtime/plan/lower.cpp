#include "plan/lower.h"

#include <optional>
#include <utility>

#include "heddle/schema.h"
#include "ir/rewrite.h"
#include "ir/scalar_program.h"
#include "plan/encode.h"
#include "plan/refusal.h"

namespace heddle::plan {
namespace {

using device::DevicePtr;
using Declined = std::vector<Explanation::Declined>;

// The node's parts as a graph of their own: operands become its inputs (or constants), results its outputs.
Graph decomposition(const NodeType& type, const Node& node) {
  Graph parts;
  std::vector<Value> inputs;
  for (size_t i = 0; i < type.inputs.size(); ++i) {
    const ValueInfo* info = type.inputs[i];
    if (info == nullptr)
      inputs.emplace_back();
    else if (info->kind == ValueKind::constant)
      inputs.push_back(parts.constant(info->constant));
    else
      inputs.push_back(parts.input("operand" + std::to_string(i), info->dtype, info->dims));
  }
  const std::vector<Value> results = node.op->decompose({parts, node, inputs});
  for (size_t i = 0; i < results.size(); ++i) parts.output("result" + std::to_string(i), results[i]);
  return parts;
}

class Lowering {
 public:
  Lowering(const std::vector<DevicePtr>& devices, const LowerOptions& options)
      : devices_(devices), options_(options) {}

  // Nullopt when a node found no device among `candidates`; `refused` then says which and why.
  std::optional<Lowered> run(const Graph& source, const std::vector<uint32_t>& candidates,
                             std::vector<Refusal>& refused) {
    Lowered result;
    ir::Rewriter rewriter(source);
    result.graph = rewriter.target();
    bool complete = true;
    for (NodeId id = 0; id < source.node_count(); ++id) {
      const Node& node = source.node(id);
      if (!rewriter.is_live(id)) continue;
      Declined declined;
      if (!place(result, rewriter, source, node, pinned(node, candidates), declined)) {
        complete = false;
        refused.push_back({node.op->name, node.name, types_text(node_type(source, node)), declined});
        if (!refuse_all_) return std::nullopt;
        rewriter.copy(id);  // keep going, to list every refused node
        annotate(result, 0, declined);
      }
    }
    if (!complete) return std::nullopt;
    rewriter.finish();
    return result;
  }

  void list_every_refusal(bool on) { refuse_all_ = on; }

 private:
  // Where the node may run: a pin names one device, by what it was opened as or by its name.
  std::vector<uint32_t> pinned(const Node& node, const std::vector<uint32_t>& candidates) const {
    if (node.device.empty()) return candidates;
    std::string names;
    std::vector<uint32_t> named;
    for (uint32_t d = 0; d < devices_.size(); ++d) {
      if (devices_[d]->spec() == node.device) return {d};
      if (devices_[d]->name() == node.device) named.push_back(d);
      names += (d ? ", " : "") + devices_[d]->spec();
    }
    if (named.size() == 1) return named;
    if (named.size() > 1)
      throw Error(ErrorCode::invalid_argument, node.name + " is pinned to '" + node.device +
                                                   "', which several devices of the session are called: " +
                                                   names + "; pin it to one of these");
    throw Error(ErrorCode::not_found,
                node.name + " is pinned to device '" + node.device + "', but the session has: " + names);
  }

  // Extends the per-node facts to the nodes added to the graph since.
  static void annotate(Lowered& result, uint32_t device, const Declined& declined) {
    result.device.resize(result.graph.node_count(), device);
    result.declined.resize(result.graph.node_count(), declined);
  }

  bool place(Lowered& result, ir::Rewriter& rewriter, const Graph& source, const Node& node,
             const std::vector<uint32_t>& candidates, Declined& declined) {
    const NodeId id = source.info(node.outputs[0]).producer;
    const NodeType type = node_type(source, node);
    for (uint32_t d : candidates) {
      if (take_whole(result, rewriter, id, type, node, d, declined)) return true;
      if (take_parts(result, rewriter, id, type, node, {d}, declined)) return true;
    }
    // No single device takes all parts; with fallback they may be spread.
    return candidates.size() > 1 && take_parts(result, rewriter, id, type, node, candidates, declined);
  }

  bool take_whole(Lowered& result, ir::Rewriter& rewriter, NodeId id, NodeType type, const Node& node,
                  uint32_t d, Declined& declined) {
    if (node.op->is_composite() && !options_.composites) {
      add_answer(declined, {devices_[d]->spec(), "composites are switched off"});
      return false;
    }
    const ScalarProgramPtr* body = nullptr;
    if (const AttributeValue* v = node.attributes.find("body")) body = std::get_if<ScalarProgramPtr>(v);
    const bool elementary_only = body && !options_.composites;
    if (!elementary_only) {
      const device::OfferAnswer answer = devices_[d]->offer(encode_node(type).graph(), 0);
      if (answer.accepted) {
        rewriter.copy(id);
        annotate(result, d, declined);
        return true;
      }
      add_answer(declined, {devices_[d]->spec(), answer.reason});
    }
    if (!body) return false;
    // A pointwise node with compound steps has parts too: the elementary steps.
    const ScalarProgram expanded = expand_compounds(**body);
    if (expanded == **body && !elementary_only) return false;
    Attributes attributes = node.attributes;
    attributes.set("body", std::make_shared<const ScalarProgram>(expanded));
    type.attributes = &attributes;
    const device::OfferAnswer answer = devices_[d]->offer(encode_node(type).graph(), 0);
    if (!answer.accepted) {
      add_answer(declined, {devices_[d]->spec(), answer.reason});
      return false;
    }
    rewriter.replace(id, result.graph.add(*node.op, rewriter.inputs(id), attributes, node.name));
    annotate(result, d, declined);
    return true;
  }

  bool take_parts(Lowered& result, ir::Rewriter& rewriter, NodeId id, const NodeType& type, const Node& node,
                  const std::vector<uint32_t>& candidates, Declined& declined) {
    if (!node.op->is_composite()) return false;
    const Graph parts = decomposition(type, node);
    std::vector<Refusal> refused;
    const bool listing = std::exchange(refuse_all_, false);
    const std::optional<Lowered> lowered = run(parts, candidates, refused);
    refuse_all_ = listing;
    if (!lowered) {
      for (const Refusal& part : refused)
        for (const Explanation::Declined& d : part.declined)
          add_answer(declined, {d.device, d.reason,
                                "its part '" + part.name + "' (" + part.op + ")" +
                                    (d.what.empty() ? "" : ", " + d.what)});
      return false;
    }
    inline_parts(result, rewriter, id, node, *lowered, declined);
    return true;
  }

  static void inline_parts(Lowered& result, ir::Rewriter& rewriter, NodeId id, const Node& node,
                           const Lowered& lowered, const Declined& declined) {
    const Graph& parts = lowered.graph;
    std::vector<Value> map(parts.value_count());
    const std::vector<Value> operands = rewriter.inputs(id);
    // parts' inputs are the operands in order, less the missing and constant ones (those are constants of
    // parts).
    for (ValueId v = 0; v < parts.value_count(); ++v) {
      const ValueInfo& info = parts.info(v);
      if (info.kind == ValueKind::constant) map[v] = result.graph.constant(info.constant);
      if (info.kind == ValueKind::input) map[v] = operands[std::stoul(info.name.substr(7))];
    }
    for (NodeId p = 0; p < parts.node_count(); ++p) {
      const Node& part = parts.node(p);
      std::vector<Value> inputs;
      for (ValueId v : part.inputs) inputs.push_back(v == no_value ? Value() : map[v]);
      const std::vector<Value> outputs =
          result.graph.add(*part.op, inputs, part.attributes, node.name + "/" + part.name);
      for (size_t i = 0; i < outputs.size(); ++i) map[part.outputs[i]] = outputs[i];
      Declined all;
      const std::string whole = std::string(node.op->name) + " '" + node.name + "'";
      for (const Explanation::Declined& d : declined)
        add_answer(all, {d.device, d.reason, whole + (d.what.empty() ? " as a whole" : ", " + d.what)});
      for (const Explanation::Declined& d : lowered.declined[p]) add_answer(all, d);
      annotate(result, lowered.device[p], all);
    }
    std::vector<Value> results;
    for (const NamedValue& o : parts.outputs()) results.push_back(map[o.value]);
    rewriter.replace(id, results);
  }

  const std::vector<DevicePtr>& devices_;
  const LowerOptions& options_;
  bool refuse_all_ = false;
};

}  // namespace

Lowered lower(const Graph& graph, const std::vector<DevicePtr>& devices, const LowerOptions& options) {
  std::vector<uint32_t> candidates;
  for (uint32_t d = 0; d < (options.fallback ? devices.size() : 1); ++d) candidates.push_back(d);
  Lowering lowering(devices, options);
  lowering.list_every_refusal(true);
  std::vector<Refusal> refused;
  if (std::optional<Lowered> lowered = lowering.run(graph, candidates, refused)) return *std::move(lowered);
  const std::string remedy =
      options.fallback ? "add a device that offers them, or change the nodes"
      : devices.size() > 1
          ? "allow it (SessionOptions{.fallback = Fallback::allow}), or change the nodes"
          : "pass a second device and SessionOptions{.fallback = Fallback::allow}, or change "
            "the nodes";
  throw Error(ErrorCode::unsupported,
              "device " + devices[0]->spec() + " refuses " +
                  (refused.size() == 1 ? "a node" : std::to_string(refused.size()) + " nodes") +
                  " of the graph" +
                  (options.fallback ? " and so do the others" : ", and fallback is forbidden") + "; " +
                  remedy + ":" + refusals_text(refused));
}

}  // namespace heddle::plan
