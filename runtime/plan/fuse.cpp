// Fusion of pointwise chains, and of pointwise programs into the matmul that feeds them. Every fused node is
// a proposal: the device that runs the parts is asked, and keeps the parts when it refuses.
#include <algorithm>
#include <optional>

#include "heddle/schema.h"
#include "ir/rewrite.h"
#include "ir/scalar_program.h"
#include "kernels/catalogue.h"
#include "plan/encode.h"
#include "plan/lower.h"
#include "plan/refusal.h"

namespace heddle::plan {
namespace {

using device::DevicePtr;

// Bounds on a fused node, so that its operands stay in registers and its program in the first-level cache.
constexpr size_t max_inputs = 24, max_outputs = 8, max_steps = 96;

// A node of the graph under fusion. Value ids stay those of the source graph: a fused node produces what its
// parts produced.
struct WorkNode {
  const OpSchema* op;
  std::string name;
  std::vector<ValueId> in, out;
  Attributes attributes;
  uint32_t device;
  std::vector<Explanation::Declined> declined;
  bool dead = false;
};

const ScalarProgram& body(const WorkNode& n) { return *n.attributes.get<ScalarProgramPtr>("body"); }

class Fusion {
 public:
  Fusion(const Lowered& lowered, const std::vector<DevicePtr>& devices)
      : source_(lowered.graph),
        devices_(devices),
        producer_(lowered.graph.value_count(), -1),
        readers_(lowered.graph.value_count()),
        bound_(lowered.graph.value_count(), false) {
    for (NodeId id = 0; id < source_.node_count(); ++id) {
      const Node& n = source_.node(id);
      nodes_.push_back(
          {n.op, n.name, n.inputs, n.outputs, n.attributes, lowered.device[id], lowered.declined[id], false});
      for (ValueId v : n.outputs) producer_[v] = static_cast<int>(id);
      for (ValueId v : n.inputs)
        if (v != no_value) readers_[v].push_back(id);
    }
    for (const NamedValue& o : source_.outputs()) bound_[o.value] = true;
    for (const Update& u : source_.updates()) bound_[u.value] = true;
  }

  Lowered run() {
    const OpSchema* pointwise = find_op("pointwise");
    const OpSchema* matmul = find_op("matmul");
    for (uint32_t c = 0; c < nodes_.size(); ++c)
      if (nodes_[c].op == pointwise)
        while (absorb_one(c, pointwise, pointwise)) {
        }
    for (uint32_t c = 0; c < nodes_.size(); ++c)
      if (nodes_[c].op == pointwise) absorb_one(c, matmul, find_op("matmul_pointwise"));
    return rebuild();
  }

 private:
  // Merges one producer of node `c` (of op `kind`) into it, as a node of op `fused`. False when none fits.
  bool absorb_one(uint32_t c, const OpSchema* kind, const OpSchema* fused) {
    for (ValueId v : nodes_[c].in) {
      if (producer_[v] < 0) continue;
      const uint32_t p = static_cast<uint32_t>(producer_[v]);
      const WorkNode& producer = nodes_[p];
      if (producer.op != kind || producer.device != nodes_[c].device || !same_shape(v, nodes_[c].out[0]))
        continue;
      if (std::find(refused_.begin(), refused_.end(), std::pair(p, c)) != refused_.end()) continue;
      // The fused node stands where the consumer stood, so nobody may need the producer before.
      if (!first_reader_is(producer, c)) continue;
      std::optional<WorkNode> merged = kind == fused ? merge_chain(p, c) : merge_epilogue(p, c, fused);
      if (!merged || !offered(*merged)) {
        refused_.emplace_back(p, c);
        continue;
      }
      commit(p, c, *std::move(merged));
      return true;
    }
    return false;
  }

  bool same_shape(ValueId a, ValueId b) const { return source_.info(a).dims == source_.info(b).dims; }

  bool first_reader_is(const WorkNode& producer, uint32_t c) const {
    for (ValueId v : producer.out)
      for (uint32_t r : readers_[v])
        if (r < c) return false;
    return true;
  }

  // Results of `p` that somebody besides `c` needs, as output positions.
  std::vector<uint32_t> kept_outputs(uint32_t p, uint32_t c) const {
    std::vector<uint32_t> keep;
    for (uint32_t i = 0; i < nodes_[p].out.size(); ++i) {
      const ValueId v = nodes_[p].out[i];
      const bool other =
          std::any_of(readers_[v].begin(), readers_[v].end(), [&](uint32_t r) { return r != c; });
      if (other || bound_[v]) keep.push_back(i);
    }
    return keep;
  }

  std::optional<WorkNode> merge_chain(uint32_t p, uint32_t c) const {
    const WorkNode &a = nodes_[p], &b = nodes_[c];
    std::vector<int> wiring;
    std::vector<ValueId> in = a.in;
    for (ValueId v : b.in) {
      const auto it = std::find(a.out.begin(), a.out.end(), v);
      wiring.push_back(it == a.out.end() ? -1 : static_cast<int>(it - a.out.begin()));
      if (wiring.back() < 0) in.push_back(v);
    }
    const std::vector<uint32_t> keep = kept_outputs(p, c);
    ScalarProgram program = heddle::fuse(body(a), body(b), wiring, keep);
    std::vector<ValueId> out;
    for (uint32_t i : keep) out.push_back(a.out[i]);
    out.insert(out.end(), b.out.begin(), b.out.end());
    merge_equal_inputs(in, program);
    program = simplify(program);
    if (in.size() > max_inputs || out.size() > max_outputs || program.steps.size() > max_steps)
      return std::nullopt;
    return assemble(b.op, a, b, in, out, program, b.attributes);
  }

  std::optional<WorkNode> merge_epilogue(uint32_t p, uint32_t c, const OpSchema* fused) const {
    const WorkNode &a = nodes_[p], &b = nodes_[c];
    // The matmul's result must be the program's first input; move it there.
    ScalarProgram program = body(b);
    const auto at = std::find(b.in.begin(), b.in.end(), a.out[0]);
    if (std::count(b.in.begin(), b.in.end(), a.out[0]) != 1) return std::nullopt;
    const uint32_t position = static_cast<uint32_t>(at - b.in.begin());
    const auto moved = [&](uint32_t r) {
      if (r == position) return 0u;
      return r < position ? r + 1 : r;
    };
    std::rotate(program.inputs.begin(), program.inputs.begin() + position,
                program.inputs.begin() + position + 1);
    for (ScalarStep& s : program.steps)
      for (int i = 0; i < scalar_op_info(s.op).operands; ++i) s.operand[i] = moved(s.operand[i]);
    for (uint32_t& r : program.outputs) r = moved(r);
    std::vector<ValueId> in = a.in, out;
    for (ValueId v : b.in)
      if (v != a.out[0]) in.push_back(v);
    if (!kept_outputs(p, c).empty()) {
      out.push_back(a.out[0]);
      program.outputs.insert(program.outputs.begin(), 0u);
    }
    out.insert(out.end(), b.out.begin(), b.out.end());
    if (in.size() > max_inputs || out.size() > max_outputs) return std::nullopt;
    return assemble(fused, a, b, in, out, program, a.attributes);
  }

  static WorkNode assemble(const OpSchema* op, const WorkNode& a, const WorkNode& b, std::vector<ValueId> in,
                           std::vector<ValueId> out, const ScalarProgram& program, Attributes attributes) {
    attributes.set("body", std::make_shared<const ScalarProgram>(program));
    WorkNode merged{op,
                    a.name + "+" + b.name.substr(b.name.rfind('/') + 1),
                    std::move(in),
                    std::move(out),
                    std::move(attributes),
                    b.device,
                    a.declined,
                    false};
    if (merged.name.size() > 80) merged.name = b.name;
    for (const Explanation::Declined& d : b.declined) add_answer(merged.declined, d);
    return merged;
  }

  // An operand that both parts read is one operand of the fused node.
  static void merge_equal_inputs(std::vector<ValueId>& in, ScalarProgram& program) {
    std::vector<uint32_t> map(program.registers());
    std::vector<ValueId> unique;
    ScalarProgram merged;
    for (uint32_t i = 0; i < in.size(); ++i) {
      const auto it = std::find(unique.begin(), unique.end(), in[i]);
      map[i] = static_cast<uint32_t>(it - unique.begin());
      if (it == unique.end()) {
        unique.push_back(in[i]);
        merged.inputs.push_back(program.inputs[i]);
      }
    }
    const uint32_t shift = static_cast<uint32_t>(in.size() - unique.size());
    for (uint32_t r = static_cast<uint32_t>(in.size()); r < program.registers(); ++r) map[r] = r - shift;
    merged.steps = program.steps;
    for (ScalarStep& s : merged.steps)
      for (int i = 0; i < scalar_op_info(s.op).operands; ++i) s.operand[i] = map[s.operand[i]];
    for (uint32_t r : program.outputs) merged.outputs.push_back(map[r]);
    in = std::move(unique);
    program = std::move(merged);
  }

  bool offered(const WorkNode& n) const {
    NodeType type{n.op, n.name, &n.attributes, {}, {}};
    for (ValueId v : n.in) type.inputs.push_back(v == no_value ? nullptr : &source_.info(v));
    for (ValueId v : n.out) type.outputs.push_back({source_.info(v).dtype, source_.info(v).dims});
    return devices_[n.device]->offer(encode_node(type).graph(), 0).accepted;
  }

  void commit(uint32_t p, uint32_t c, WorkNode merged) {
    const auto forget = [&](uint32_t n) {
      for (ValueId v : nodes_[n].in)
        if (v != no_value) std::erase(readers_[v], n);
    };
    forget(p);
    forget(c);
    nodes_[p].dead = true;
    nodes_[c] = std::move(merged);
    for (ValueId v : nodes_[c].in)
      if (v != no_value) readers_[v].push_back(c);
    for (ValueId v : nodes_[c].out) producer_[v] = static_cast<int>(c);
  }

  Lowered rebuild() const {
    Lowered result;
    ir::Rewriter rewriter(source_);
    result.graph = rewriter.target();
    for (const WorkNode& n : nodes_) {
      if (n.dead) continue;
      std::vector<Value> in;
      for (ValueId v : n.in) in.push_back(v == no_value ? Value() : rewriter.map(v));
      const std::vector<Value> out = result.graph.add(*n.op, in, n.attributes, n.name);
      for (size_t i = 0; i < out.size(); ++i) rewriter.set(n.out[i], out[i]);
      result.device.push_back(n.device);
      result.declined.push_back(n.declined);
    }
    rewriter.finish();
    return result;
  }

  const Graph source_;
  const std::vector<DevicePtr>& devices_;
  std::vector<WorkNode> nodes_;
  std::vector<int> producer_;                   // per value: its node, or -1
  std::vector<std::vector<uint32_t>> readers_;  // per value: nodes that read it
  std::vector<bool> bound_;                     // per value: an output or an update of the graph
  std::vector<std::pair<uint32_t, uint32_t>> refused_;
};

}  // namespace

Lowered fuse(const Lowered& lowered, const std::vector<DevicePtr>& devices) {
  return Fusion(lowered, devices).run();
}

}  // namespace heddle::plan
