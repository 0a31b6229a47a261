// A Heddle device in one file: matmul, add and relu, in float32, on the host's memory.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "heddle/backend.h"

namespace {

using namespace heddle::backend;

// An offer is a promise: what is accepted here must compile and run, with these shapes and attributes. The
// reason of a refusal is what users read in `heddle explain`, so it says what would help. Reports group equal
// reasons: name the dtype or the attribute, not the shape.
Offer need_float32(const NodeRef& node) {
  for (uint32_t i = 0; i < node.inputs(); ++i)
    if (node.input(i).dtype() != HD_DTYPE_FLOAT32)
      return no(std::string("needs float32, got ") + dtype_text(node.input(i).dtype()));
  return yes();
}

// ---- matmul: y = a @ b

Offer offer_matmul(const NodeRef& node) {
  if (node.input(0).rank() != 2 || node.input(1).rank() != 2)
    return no("multiplies matrices, not batches of them");
  if (node.integer("transpose_a") != 0 || node.integer("transpose_b") != 0)
    return no("takes no transposed operands");
  return need_float32(node);
}

// Called once, when a partition is compiled: shapes and attributes go into the kernel. What runs later gets
// addresses, and must not allocate.
Kernel make_matmul(const NodeRef& node) {
  const int64_t m = node.input(0).dim(0), k = node.input(0).dim(1), n = node.input(1).dim(1);
  return {.name = "toy.matmul", .run = [=](const Arguments& arguments) {
            const float *a = arguments.in<float>(0), *b = arguments.in<float>(1);
            float* y = arguments.out<float>(0);
            std::fill_n(y, m * n, 0.0f);
            for (int64_t i = 0; i < m; ++i)
              for (int64_t l = 0; l < k; ++l)
                for (int64_t j = 0; j < n; ++j) y[i * n + j] += a[i * k + l] * b[l * n + j];
          }};
}

// ---- pointwise: one node holds a scalar program; this device knows two programs of one step

Offer offer_pointwise(const NodeRef& node) {
  const std::string step(single_step(node));  // empty for longer programs, x + x and x + 1
  if (step != "add" && step != "relu") return no("knows add and relu, one at a time");
  for (uint32_t i = 0; i < node.inputs(); ++i)
    if (node.input(i).elements() != node.output(0).elements()) return no("does not broadcast");
  return need_float32(node);
}

Kernel make_pointwise(const NodeRef& node) {
  const int64_t count = node.output(0).elements();
  // Either operand may be overwritten by the result, when nobody reads it later.
  if (single_step(node) == "add")
    return {.name = "toy.add",
            .run =
                [=](const Arguments& a) {
                  for (int64_t i = 0; i < count; ++i)
                    a.out<float>(0)[i] = a.in<float>(0)[i] + a.in<float>(1)[i];
                },
            .in_place = {{0, 0}, {0, 1}}};
  return {.name = "toy.relu",
          .run =
              [=](const Arguments& a) {
                // NaN stays NaN: std::max(0, x) would lose it.
                for (int64_t i = 0; i < count; ++i)
                  a.out<float>(0)[i] = a.in<float>(0)[i] <= 0 ? 0 : a.in<float>(0)[i];
              },
          .in_place = {{0, 0}}};
}

// ---- the device

std::vector<DeviceFactory> devices() {
  return {{"toy", [](const Options& options) {
             options.expect({"memory"});  // toy:memory=1000000 refuses to allocate more
             DeviceFacts facts{.name = "toy", .description = "three plain kernels, one thread"};
             facts.memory_bytes = static_cast<uint64_t>(options.integer("memory", 0, 0, INT64_MAX));
             return std::make_unique<KernelDevice>(
                 facts, KernelTable{{"matmul", {offer_matmul, make_matmul}},
                                    {"pointwise", {offer_pointwise, make_pointwise}}});
           }}};
}

}  // namespace

// The one symbol of a backend library.
extern "C" const hd_plugin* heddle_plugin_v1() { return plugin<devices>("toy", "0.1"); }
