// Reading a partition: values, nodes and attributes of an hd_graph.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "heddle/device_abi.h"

namespace heddle::backend {

inline uint64_t dtype_bytes(uint32_t dtype) {
  switch (dtype) {
    case HD_DTYPE_FLOAT64:
    case HD_DTYPE_INT64:
    case HD_DTYPE_UINT64:
      return 8;
    case HD_DTYPE_FLOAT32:
    case HD_DTYPE_INT32:
    case HD_DTYPE_UINT32:
      return 4;
    case HD_DTYPE_BFLOAT16:
    case HD_DTYPE_FLOAT16:
    case HD_DTYPE_INT16:
    case HD_DTYPE_UINT16:
      return 2;
    default:
      return 1;
  }
}
inline const char* dtype_text(uint32_t dtype) {
  static constexpr const char* names[] = {
      "?",     "float64", "float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2", "int8",
      "int16", "int32",   "int64",   "uint8",    "uint16",  "uint32",      "uint64",      "bool"};
  return dtype < std::size(names) ? names[dtype] : "?";
}

// One value of a partition.
class ValueRef {
 public:
  ValueRef(const hd_value* value, uint32_t index) : value_(value), index_(index) {}
  explicit operator bool() const { return value_ != nullptr; }  // false: a missing optional operand
  uint32_t index() const { return index_; }
  uint32_t dtype() const { return value_->type.dtype; }
  int rank() const { return static_cast<int>(value_->type.rank); }
  int64_t dim(int axis) const { return value_->type.dim[axis < 0 ? axis + rank() : axis]; }
  std::span<const int64_t> dims() const { return {value_->type.dim, value_->type.rank}; }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : dims()) n *= d;
    return n;
  }
  uint64_t bytes() const { return static_cast<uint64_t>(elements()) * dtype_bytes(dtype()); }
  hd_value_kind kind() const { return static_cast<hd_value_kind>(value_->kind); }
  const void* constant() const { return value_->kind == HD_VALUE_CONSTANT ? value_->data : nullptr; }
  std::string text() const {  // "float32[2,3]"
    std::string s = std::string(dtype_text(dtype())) + "[";
    for (int i = 0; i < rank(); ++i) s += (i ? "," : "") + std::to_string(dim(i));
    return s + "]";
  }
  const hd_value* get() const { return value_; }

 private:
  const hd_value* value_;
  uint32_t index_;
};

// One node of a partition with typed access to its attributes. Valid during offer and compile only.
class NodeRef {
 public:
  NodeRef(const hd_graph* graph, uint32_t index) : graph_(graph), node_(graph->node[index]), index_(index) {}
  const char* op() const { return node_->op; }
  const char* name() const { return node_->name; }
  uint32_t index() const { return index_; }
  uint32_t inputs() const { return node_->n_in; }
  uint32_t outputs() const { return node_->n_out; }
  ValueRef input(uint32_t i) const {
    return i < node_->n_in ? ref(node_->in[i]) : ValueRef(nullptr, HD_NO_VALUE);
  }
  ValueRef output(uint32_t i) const { return ref(node_->out[i]); }
  const hd_graph* graph() const { return graph_; }
  const hd_node* get() const { return node_; }

  const hd_attr* find(std::string_view attribute) const {
    for (uint32_t i = 0; i < node_->n_attr; ++i)
      if (attribute == node_->attr[i]->name) return node_->attr[i];
    return nullptr;
  }
  int64_t integer(std::string_view a, int64_t fallback = 0) const {
    const hd_attr* at = find(a);
    return at && at->kind == HD_ATTR_INT ? at->ints[0] : fallback;
  }
  double real(std::string_view a, double fallback = 0) const {
    const hd_attr* at = find(a);
    return at && at->kind == HD_ATTR_FLOAT ? at->floats[0] : fallback;
  }
  std::string_view text(std::string_view a, std::string_view fallback = "") const {
    const hd_attr* at = find(a);
    return at && at->kind == HD_ATTR_STRING ? std::string_view(at->text) : fallback;
  }
  std::span<const int64_t> ints(std::string_view a) const {
    const hd_attr* at = find(a);
    return at && at->kind == HD_ATTR_INTS ? std::span<const int64_t>(at->ints, at->n)
                                          : std::span<const int64_t>();
  }
  // The scalar program of a pointwise node, or nullptr.
  const hd_graph* program(std::string_view a = "body") const {
    const hd_attr* at = find(a);
    return at && at->kind == HD_ATTR_GRAPH ? at->graph : nullptr;
  }

 private:
  ValueRef ref(uint32_t i) const {
    return i == HD_NO_VALUE ? ValueRef(nullptr, i) : ValueRef(graph_->value[i], i);
  }
  const hd_graph* graph_;
  const hd_node* node_;
  uint32_t index_;
};

// The op of a pointwise node whose program is one step, from its operands in order to its only result ("add",
// "relu"); "" for every other program, such as x + x, b - a and x + 1.
inline std::string_view single_step(const NodeRef& node) {
  const hd_graph* body = node.program();
  if (body == nullptr || body->n_node != 1 || body->n_output != 1) return {};
  const hd_node* step = body->node[0];
  if (body->output[0] != step->out[0] ||
      !std::equal(step->in, step->in + step->n_in, body->input, body->input + body->n_input))
    return {};
  return step->op;
}

}  // namespace heddle::backend
