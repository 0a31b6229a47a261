// The backends that are part of libheddle. They are reached through the same hd_plugin that a library
// exports.
#pragma once

#include "heddle/device_abi.h"

extern "C" {
const hd_plugin* heddle_reference_plugin(void);
const hd_plugin* heddle_cpu_plugin(void);
const hd_plugin* heddle_systolic_plugin(void);
}
