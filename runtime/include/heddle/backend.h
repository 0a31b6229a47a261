// backend.h: write a Heddle device in C++. Header-only, over device_abi.h alone; link nothing.
//
// A device that runs kernel by kernel fills a table and is done:
//
//   using namespace heddle::backend;
//   Offer offer_relu(const NodeRef& n) {
//     if (single_step(n) != "relu") return no("only relu");
//     return n.input(0).dtype() == HD_DTYPE_FLOAT32 ? yes() : no("needs float32");
//   }
//   Kernel make_relu(const NodeRef& n) {
//     const int64_t count = n.output(0).elements();
//     return {"toy.relu", [count](const Arguments& a) {
//               for (int64_t i = 0; i < count; ++i) a.out<float>(0)[i] = std::max(a.in<float>(0)[i], 0.f);
//               }};
//   }
//   std::vector<DeviceFactory> devices() {
//     return {{"toy", [](const Options& options) {
//                options.expect_none();
//                return std::make_unique<KernelDevice>(DeviceFacts{.name = "toy"},
//                                                      KernelTable{{"pointwise", {offer_relu, make_relu}}});
//                                                      }}};
//   }
//   extern "C" const hd_plugin* heddle_plugin_v1() { return plugin<devices>("toy", "0.1"); }
//
// A device that compiles whole partitions derives from Device instead. Both may throw Failure (or any
// std::exception) anywhere. Threads: as device_abi.h says.
#pragma once

#include "heddle/backend/device.h"
#include "heddle/backend/failure.h"
#include "heddle/backend/kernel.h"
#include "heddle/backend/kernel_device.h"
#include "heddle/backend/options.h"
#include "heddle/backend/partition.h"
#include "heddle/backend/plugin.h"
