// backend.h: write a Heddle device in C++. Header-only, over device_abi.h alone; link nothing.
//
// A device that runs kernel by kernel fills a table and is done:
//
//   std::vector<DeviceFactory> devices() {
//     return {{"toy", [](const Options& options) {
//                options.expect({"memory"});  // toy:memory=1000000 refuses to allocate more
//                DeviceFacts facts{.name = "toy", .description = "three plain kernels, one thread"};
//                facts.memory_bytes = static_cast<uint64_t>(options.integer("memory", 0, 0, INT64_MAX));
//                return std::make_unique<KernelDevice>(
//                    facts, KernelTable{{"matmul", {offer_matmul, make_matmul}},
//                                       {"pointwise", {offer_pointwise, make_pointwise}}});
//              }}};
//   }
//   extern "C" const hd_plugin* heddle_plugin_v1() { return plugin<devices>("toy", "0.1"); }
//
// where each entry is an op with two functions: one answers with an offer, one makes the kernel. The whole
// file is examples/backend_toy/toy.cpp (installed under share/doc/heddle/examples): copy it and change it.
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
