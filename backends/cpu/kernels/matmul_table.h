// Which implementation multiplies what: a fixed table, so that the same build, libraries, processor and
// thread count give the same bits.
#pragma once

#include "cpu/isa.h"
#include "cpu/kernels/matmul.h"

namespace heddle::cpu {

struct MatmulLibraries {
  bool onednn = false;
  bool openblas = false;
};

// The libraries that this process has; opens OpenBLAS on first use.
const MatmulLibraries& matmul_libraries();

// Pure. `threads` are the device's.
MatmulKind choose_matmul(const MatmulShape& shape, Threads threads, Isa isa,
                         const MatmulLibraries& libraries);

// How many of the device's threads the work is worth: starting them costs as much as about a million
// operations.
Threads matmul_threads(const MatmulShape& shape, Threads threads);

}  // namespace heddle::cpu
