// Nodes to kernels: each nodes/<family>.cpp prepares the kernels of kernels/<family>.h for the nodes of its
// family. Ops, dtypes and shapes without a kernel here run on the double-precision oracle, under the name
// "cpu.oracle.OP".
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "cpu/threads.h"
#include "heddle/backend/kernel.h"
#include "heddle/dtype.h"
#include "heddle/shape.h"

namespace heddle::cpu {

// What a kernel may know of its device.
struct NodeContext {
  Threads threads;
};

// A prepared kernel, or nullopt when the family's kernels do not cover the node.
using Prepare =
    std::function<std::optional<backend::Kernel>(const backend::NodeRef& node, const NodeContext& context)>;
using PrepareTable = std::map<std::string, Prepare, std::less<>>;

void add_attention_nodes(PrepareTable& table);
void add_convert_nodes(PrepareTable& table);
void add_dropout_nodes(PrepareTable& table);
void add_gather_nodes(PrepareTable& table);
void add_layout_nodes(PrepareTable& table);
void add_loss_nodes(PrepareTable& table);
void add_matmul_nodes(PrepareTable& table);
void add_normalize_nodes(PrepareTable& table);
void add_optimizer_nodes(PrepareTable& table);
void add_pointwise_nodes(PrepareTable& table);
void add_random_nodes(PrepareTable& table);
void add_reduce_nodes(PrepareTable& table);
void add_rope_nodes(PrepareTable& table);
void add_softmax_nodes(PrepareTable& table);
void add_sort_nodes(PrepareTable& table);

inline Shape shape_of(const backend::ValueRef& value) {
  Shape shape;
  for (const int64_t d : value.dims()) shape.push_back(d);
  return shape;
}
inline DType dtype_of_value(const backend::ValueRef& value) { return static_cast<DType>(value.dtype()); }

// The float dtypes that kernels compute with; the eight-bit ones are for storage.
inline bool is_kernel_float(DType dtype) {
  return dtype == DType::float64 || dtype == DType::float32 || dtype == DType::bfloat16 ||
         dtype == DType::float16;
}
// Threads for a kernel that streams over `elements`: fewer are done before a second thread has woken, or
// would wait for one that another program has taken off its core.
inline Threads streaming_threads(int64_t elements, Threads all) {
  return elements < (1 << 18) ? Threads{1} : all;
}

// By the largest of the node's operands and results.
inline Threads streaming_threads(const backend::NodeRef& node, const NodeContext& context) {
  int64_t most = 0;
  for (uint32_t i = 0; i < node.inputs(); ++i)
    if (node.input(i)) most = std::max(most, node.input(i).elements());
  for (uint32_t i = 0; i < node.outputs(); ++i) most = std::max(most, node.output(i).elements());
  return streaming_threads(most, context.threads);
}

}  // namespace heddle::cpu
