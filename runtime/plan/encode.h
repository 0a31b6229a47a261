// Encoding: a part of a concrete graph as the hd_graph that devices read.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "heddle/device_abi.h"
#include "heddle/schema.h"
#include "ir/abi_codec.h"

namespace heddle::plan {

// Owns an hd_graph and everything it points to. Addresses are stable; move-only.
class EncodedGraph {
 public:
  EncodedGraph() = default;
  EncodedGraph(EncodedGraph&&) = default;
  EncodedGraph& operator=(EncodedGraph&&) = default;

  // Returns the value's index. `type` must be concrete. `data` is borrowed (constants).
  uint32_t add_value(hd_value_kind kind, DType dtype, const Dims& dims, const std::string& name,
                     const void* data = nullptr);
  hd_value& value(uint32_t index) { return values_[index]; }
  void add_node(const OpSchema& op, const std::string& name, const Attributes& attributes,
                std::vector<uint32_t> in, std::vector<uint32_t> out);
  void add_update(uint32_t variable, uint32_t output) { updates_.push_back({variable, output}); }

  uint32_t value_count() const { return static_cast<uint32_t>(values_.size()); }
  // Valid until the next add_*.
  const hd_graph& graph();

 private:
  std::deque<hd_value> values_;
  std::deque<hd_node> nodes_;
  std::deque<EncodedAttributes> attributes_;
  std::deque<std::vector<uint32_t>> lists_;
  std::deque<std::string> names_;
  std::vector<hd_pair> updates_;
  std::vector<const hd_value*> value_pointers_;
  std::vector<const hd_node*> node_pointers_;
  std::vector<uint32_t> inputs_, outputs_;
  hd_graph graph_{};
};

// What a node is to a device that is asked for an offer, or to a fusion that is only proposed.
struct NodeType {
  const OpSchema* op;
  std::string name;
  const Attributes* attributes;
  std::vector<const ValueInfo*> inputs;  // null: missing optional operand
  std::vector<ValueType> outputs;
};

// A graph of this one node; operands are inputs, or constants where they are constant.
EncodedGraph encode_node(const NodeType& node);
NodeType node_type(const Graph& graph, const Node& node);

}  // namespace heddle::plan
