// The simulated NeuronCore for authors of kernels: emit instructions in NKI's vocabulary, run them on
// tensors, read a timed report. Start with systolic/builder.h; docs/systolic.md is the guide.
#pragma once

#include "heddle/systolic/builder.h"      // NeuronCore: pools, tiles, instructions
#include "heddle/systolic/description.h"  // the device as data: trn1, trn2, trn3, a TOML file
#include "heddle/systolic/program.h"      // compile, run, report
#include "heddle/systolic/timing.h"       // when every instruction ran, and what it waited for
