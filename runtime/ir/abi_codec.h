// Attributes and scalar programs as device_abi.h has them, and back.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "heddle/attributes.h"
#include "heddle/device_abi.h"
#include "heddle/schema.h"
#include "ir/scalar_program.h"

namespace heddle {

// A scalar program as an hd_graph of rank-0 values: inputs, then one value per step. Addresses are stable.
class EncodedProgram {
 public:
  explicit EncodedProgram(const ScalarProgram& program);
  EncodedProgram(EncodedProgram&&) = default;
  EncodedProgram& operator=(EncodedProgram&&) = default;
  const hd_graph& graph() const { return graph_; }

 private:
  std::deque<hd_value> values_;
  std::deque<hd_node> nodes_;
  std::deque<hd_attr> attrs_;
  std::deque<int64_t> integers_;
  std::deque<const hd_attr*> attr_pointers_;
  std::deque<std::vector<uint32_t>> lists_;
  std::deque<std::vector<std::byte>> constants_;
  std::vector<const hd_value*> value_pointers_;
  std::vector<const hd_node*> node_pointers_;
  std::vector<uint32_t> inputs_, outputs_;
  hd_graph graph_{};
};

// A node's attributes: bool and dtype become INT, dims (numbers all) INTS, programs GRAPH.
class EncodedAttributes {
 public:
  explicit EncodedAttributes(const Attributes& attributes);
  EncodedAttributes(EncodedAttributes&&) = default;
  EncodedAttributes& operator=(EncodedAttributes&&) = default;
  const hd_attr* const* data() const { return pointers_.data(); }
  uint32_t size() const { return static_cast<uint32_t>(pointers_.size()); }

 private:
  std::deque<hd_attr> attrs_;
  std::deque<std::string> texts_;
  std::deque<std::vector<int64_t>> ints_;
  std::deque<std::vector<double>> floats_;
  std::deque<EncodedProgram> programs_;
  std::vector<const hd_attr*> pointers_;
};

// The attributes in the kinds and the order that `op` documents, with its defaults where the sender left them
// out. Throws corrupt for unknown and missing attributes, kinds that do not fit, malformed programs and
// unknown steps: what comes across the contract is checked, never trusted.
Attributes decode_attributes(const hd_node& node, const OpSchema& op);
ScalarProgram decode_program(const hd_graph& graph);

}  // namespace heddle
