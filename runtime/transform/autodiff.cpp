#include "heddle/autodiff.h"

#include <string>
#include <utility>

#include "heddle/error.h"
#include "heddle/ops/layout.h"
#include "heddle/ops/pointwise.h"
#include "ir/graph_data.h"

namespace heddle {
namespace {

// New nodes are named after, and pinned like, the node whose gradient they compute.
class Placement {
 public:
  Placement(ir::GraphData& data, const Node& node)
      : data_(data),
        scope_(std::exchange(data.scope, node.name + "/grad/")),
        device_(std::exchange(data.device, node.device)) {}
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;
  ~Placement() {
    data_.scope = std::move(scope_);
    data_.device = std::move(device_);
  }

 private:
  ir::GraphData& data_;
  std::string scope_, device_;
};

std::string described(Value v) {
  return "'" + v.name() + "' (" + to_string(ValueType{v.dtype(), v.dims()}) + ")";
}

void check_arguments(Value loss, std::span<const Value> wrt) {
  if (!loss) throw Error(ErrorCode::invalid_argument, "gradients: the loss is no value");
  if (loss.rank() != 0) {
    throw Error(ErrorCode::shape_mismatch,
                "gradients: the loss " + described(loss) + " is not rank 0; reduce it with sum or mean");
  }
  if (!is_float(loss.dtype())) {
    throw Error(ErrorCode::dtype_mismatch, "gradients: the loss " + described(loss) + " is not a float");
  }
  for (const Value& v : wrt) {
    if (!v || v.graph().data() != loss.graph().data()) {
      throw Error(ErrorCode::invalid_argument,
                  "gradients: a value to derive by is not of the graph of the loss");
    }
    if (!is_float(v.dtype())) {
      throw Error(ErrorCode::dtype_mismatch,
                  "gradients: " + described(v) + " is not a float, so nothing can be derived by it");
    }
  }
}

class Backward {
 public:
  Backward(Value loss, std::span<const Value> wrt)
      : graph_(loss.graph()),
        nodes_(graph_.node_count()),
        depends_(graph_.value_count(), false),
        adjoint_(graph_.value_count()) {
    for (const Value& v : wrt) depends_[v.id()] = true;
    for (NodeId id = 0; id < nodes_; ++id) {
      const Node& node = graph_.node(id);
      if (!any_depends(node)) continue;
      for (const ValueId v : node.outputs) depends_[v] = true;
    }
    adjoint_[loss.id()] = graph_.scalar(1, loss.dtype());
  }

  void run() {
    for (NodeId id = nodes_; id-- > 0;) {
      const Node& node = graph_.node(id);
      std::vector<Value> given;
      bool some = false;
      for (const ValueId v : node.outputs) {
        given.push_back(adjoint_[v]);
        some = some || adjoint_[v];
      }
      if (some && any_depends(node)) visit(node, given);
    }
  }

  Value of(Value v) {
    const Value g = adjoint_[v.id()];
    return g ? g : zeros(graph_, v.dims(), v.dtype());
  }

 private:
  bool any_depends(const Node& node) const {
    for (const ValueId v : node.inputs)
      if (v != no_value && depends_[v] && is_float(graph_.info(v).dtype)) return true;
    return false;
  }

  void visit(const Node& node, const std::vector<Value>& given) {
    if (node.op->gradient == nullptr) {
      throw Error(ErrorCode::unsupported, std::string("gradients: the way to the loss leads through ") +
                                              node.op->name + " '" + node.name +
                                              "', which has no gradient: " + node.op->no_gradient);
    }
    std::vector<Value> inputs, outputs;
    for (const ValueId v : node.inputs) inputs.push_back(v == no_value ? Value() : graph_.value(v));
    for (const ValueId v : node.outputs) outputs.push_back(graph_.value(v));
    const Placement placement(*graph_.data(), node);
    const std::vector<Value> taken = node.op->gradient({graph_, node, inputs, outputs, given});
    if (taken.size() != inputs.size()) {
      throw Error(ErrorCode::internal, std::string("the gradient rule of ") + node.op->name + " '" +
                                           node.name + "' returned " + std::to_string(taken.size()) +
                                           " values for " + std::to_string(inputs.size()) + " operands");
    }
    for (size_t i = 0; i < taken.size(); ++i) {
      if (!taken[i] || !inputs[i] || !is_float(inputs[i].dtype()) || !depends_[inputs[i].id()]) continue;
      if (taken[i].dtype() != inputs[i].dtype() || taken[i].dims() != inputs[i].dims()) {
        throw Error(ErrorCode::internal, std::string("the gradient rule of ") + node.op->name + " '" +
                                             node.name + "' returned " + described(taken[i]) +
                                             " for operand " + described(inputs[i]));
      }
      Value& sum = adjoint_[inputs[i].id()];
      sum = sum ? add(sum, taken[i]) : taken[i];
    }
  }

  Graph graph_;
  NodeId nodes_;  // of the forward graph; those added later are not walked
  std::vector<bool> depends_;
  std::vector<Value> adjoint_;
};

}  // namespace

std::vector<Value> gradients(Value loss, std::span<const Value> wrt) {
  check_arguments(loss, wrt);
  Backward backward(loss, wrt);
  backward.run();
  std::vector<Value> results;
  for (const Value& v : wrt) results.push_back(backward.of(v));
  return results;
}

}  // namespace heddle
